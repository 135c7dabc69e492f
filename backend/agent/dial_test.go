package agent

import (
	"bufio"
	"context"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/hashicorp/yamux"
	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

// dialer runs `agent dial` as a process and returns a client of it, as an SSH exec channel gives one.
func dialer(t *testing.T, o Options) *yamux.Session {
	t.Helper()
	argv := Command(testProgram(t), append([]string{"dial"}, o.Args()...)...)
	cmd := exec.Command(argv[0], argv[1:]...)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	conf := yamux.DefaultConfig()
	conf.LogOutput, conf.EnableKeepAlive = io.Discard, false
	s, err := yamux.Client(stdioConn{out, in, in.Close}, conf)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = in.Close() // the process ends with its input
		require.NoError(t, cmd.Wait())
		_ = s.Close()
	})
	return s
}

func openTarget(t *testing.T, s *yamux.Session, target string) (*yamux.Stream, *bufio.Reader, string) {
	t.Helper()
	c, err := s.OpenStream()
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = io.WriteString(c, target+"\n")
	require.NoError(t, err)
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	require.NoError(t, err)
	return c, r, strings.TrimSuffix(line, "\n")
}

func TestDialCarriesTheAgentsStreams(t *testing.T) {
	o := testOptions(t)
	serve(t, o)
	s := dialer(t, o)
	c := &api.AgentClient{Dial: func(context.Context) (net.Conn, error) {
		c, r, answer := openTarget(t, s, "agent")
		require.Equal(t, "ok", answer)
		require.Zero(t, r.Buffered())
		return c, nil
	}}
	info, err := c.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, o.State, info.StateDir)
	big := strings.Repeat("x", 3<<20)
	r, err := execute(t, c, api.ExecRequest{Argv: []string{"cat"}}, big)
	require.NoError(t, err)
	require.True(t, big == r.Stdout)
	c.Close()
}

func TestDialForwardsWithHalfClose(t *testing.T) {
	o := testOptions(t)
	s := dialer(t, o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	go func() { // answers only after the end of what it is sent
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b, _ := io.ReadAll(c)
			_, _ = c.Write([]byte("got " + string(b)))
			_ = c.Close()
		}
	}()
	c, r, answer := openTarget(t, s, "tcp "+l.Addr().String())
	require.Equal(t, "ok", answer)
	_, err = io.WriteString(c, "all of it")
	require.NoError(t, err)
	require.NoError(t, c.Close()) // of yamux: the writing half
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "got all of it", string(b))
}

func TestDialSaysWhatItCannotReach(t *testing.T) {
	o := testOptions(t)
	s := dialer(t, o)
	for target, want := range map[string]string{
		"agent":             "error dial unix " + o.Socket,
		"unix /no/such":     "error dial unix /no/such",
		"unix relative":     "error the target",
		"tcp nonsense":      "error the target",
		"tcp 127.0.0.1:1":   "error dial tcp",
		"exec rm -rf /":     "error the target",
		"":                  "error the target",
		"agent with a word": "error the target",
	} {
		_, _, answer := openTarget(t, s, target)
		require.Contains(t, answer, want, target)
	}
}

func FuzzParseTarget(f *testing.F) {
	f.Add("agent")
	f.Add("unix /tmp/x")
	f.Add("tcp [::1]:80")
	f.Fuzz(func(t *testing.T, line string) {
		network, address, err := parseTarget(line, "/a")
		if err == nil && (network != "unix" && network != "tcp" || address == "") {
			t.Fatalf("%q gave %q %q", line, network, address)
		}
	})
}
