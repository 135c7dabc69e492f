package ssh

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/transport/forward"
	"berth/backend/transport/ssh/sshdtest"
)

// TestForwardWithoutAnAgent goes by the SSH server itself, which may forbid it.
func TestForwardWithoutAnAgent(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // the answer comes after the question's end
				defer conn.Close()
				b, _ := io.ReadAll(conn)
				_, _ = io.WriteString(conn, "got "+string(b))
			}()
		}
	}()
	port := l.Addr().(*net.TCPAddr).Port
	for _, x := range []struct {
		o      sshdtest.Options
		target forward.Target
		says   string // of a failure
	}{
		{sshdtest.Options{}, forward.Target{Port: port}, ""},
		{sshdtest.Options{}, forward.Target{Port: sshdtest.FreePort(t)}, "nothing listens on port "},
		{sshdtest.Options{}, forward.Target{Socket: "/run/berth-none.sock"}, "nothing listens on the socket /run/berth-none"},
		{sshdtest.Options{}, forward.Target{Socket: "~/x"}, "is no absolute path"},
		{sshdtest.Options{NoForwarding: true}, forward.Target{Port: port}, "its SSH server forbids to forward"},
	} {
		_, _, ctx, c := box(t, x.o)
		said := make(chan error, 10)
		var served sync.WaitGroup
		f, err := forward.Listen(forward.Options{Spec: forward.Spec{Target: x.target}, Instance: "box",
			Failed: func(err error) { said <- err }, Open: func(context.Context) (*api.Stream, error) {
				return stream(t, func(s *api.Stream) {
					if err := c.ServeForward(ctx, s, x.target.Request()); err != nil {
						s.Fail(err)
					}
				}), nil
			}})
		require.NoError(t, err)
		served.Go(func() { _ = f.Serve(ctx) })
		conn, err := net.Dial("tcp", f.Local().Address)
		var got []byte
		if err == nil {
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			_, werr := io.WriteString(conn, strings.Repeat("x", 3<<20)) // a reset is told once
			_ = conn.(*net.TCPConn).CloseWrite()
			got, err = io.ReadAll(conn)
			err = errors.Join(werr, err)
			_ = conn.Close()
		}
		if x.says == "" {
			require.NoError(t, err)
			require.Len(t, got, 3<<20+len("got "))
		} else {
			require.Error(t, err, "%+v: %s", x, got)
			require.ErrorContains(t, <-said, x.says)
		}
		require.NoError(t, f.Close())
		served.Wait()
	}
}
