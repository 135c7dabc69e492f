package daemon

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
)

// listening is a dialer whose agent's end is handed out.
type listening struct {
	nowhere
	agent chan net.Conn
}

func (l listening) Agent(context.Context, backend.Endpoint) (net.Conn, error) {
	a, b := net.Pipe()
	l.agent <- b
	return a, nil
}

// TestPathToTheAgent: what is encoded in the path of a stream stays a path, and no second request or header.
func TestPathToTheAgent(t *testing.T) {
	d := openDoor(t)
	l := listening{agent: make(chan net.Conn, 1)}
	d.s.dialer = l
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	path := "/v1/instances/vision/agent/v1/x%20HTTP/1.1%0d%0aInjected:%20yes%0d%0aX:%20y"
	r, err := http.NewRequestWithContext(ctx, "POST", d.url+path, http.NoBody)
	require.NoError(t, err)
	r.Header.Set("Upgrade", api.StreamProtocol)
	r.Header.Set("Connection", "Upgrade")
	go func() {
		if res, err := http.DefaultClient.Do(r); err == nil {
			_ = res.Body.Close()
		}
	}()
	agent := <-l.agent
	defer agent.Close()
	buf := make([]byte, 4096)
	n, err := agent.Read(buf)
	require.NoError(t, err)
	require.NotContains(t, string(buf[:n]), "\r\nInjected: yes")
	require.Regexp(t, `^POST /v1/x%20HTTP/1\.1%0D%0AInjected:%20yes%0D%0AX:%20y HTTP/1\.1\r\n`, string(buf[:n]))
}
