package servertest

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/agenttest"
	"berth/backend/api"
	"berth/backend/transport/wire"
)

// Person is a client attached to a terminal. Once Done is closed, End or Fail says how it ended.
type Person struct {
	Stream *api.Stream
	ID     string
	PID    int
	Done   chan struct{}
	End    *wire.ExitStatus
	Fail   *api.Error

	t   testing.TB
	mu  sync.Mutex
	out bytes.Buffer
}

// Attach attaches a client to a terminal, until it leaves or the test ends.
func Attach(t testing.TB, c *api.AgentClient, req api.TerminalRequest) *Person {
	t.Helper()
	s, err := c.OpenTerminal(t.Context(), req)
	require.NoError(t, err)
	k, b, err := s.Reader.Next()
	require.NoError(t, err)
	require.Equal(t, string(rune(wire.Started)), string(rune(k)), "%s", b)
	var st wire.Start
	require.NoError(t, json.Unmarshal(b, &st))
	p := &Person{t: t, Stream: s, ID: st.Terminal, PID: st.PID, Done: make(chan struct{})}
	go p.read()
	t.Cleanup(p.Leave)
	return p
}

func (p *Person) read() {
	defer close(p.Done)
	for {
		k, b, err := p.Stream.Reader.Next()
		if err != nil {
			return
		}
		p.mu.Lock()
		switch k {
		case wire.Stdout:
			p.out.Write(b)
		case wire.Exit:
			p.End = &wire.ExitStatus{}
			_ = json.Unmarshal(b, p.End)
		case wire.Error:
			p.Fail = &api.Error{}
			_ = json.Unmarshal(b, p.Fail)
		}
		p.mu.Unlock()
	}
}

// Leave hangs up.
func (p *Person) Leave() { _ = p.Stream.Close(); <-p.Done }

// Types sends what is typed.
func (p *Person) Types(s string) {
	p.t.Helper()
	require.NoError(p.t, p.Stream.Writer.Write(wire.Stdin, []byte(s)))
}

// Seen is all that was shown.
func (p *Person) Seen() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// Sees waits until something is shown.
func (p *Person) Sees(what string) {
	p.t.Helper()
	agenttest.Eventually(p.t, what+" in "+p.ID, func() bool { return strings.Contains(p.Seen(), what) })
}
