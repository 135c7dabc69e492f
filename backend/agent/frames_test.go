package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/transport/wire"
)

// frame makes the bytes of one frame.
func frame(k wire.Kind, p string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{byte(k)}, uint32(len(p))), p...)
}

// TestGarbageFrames sends the agent's streams what no client sends, then what any client sends. Each
// stream ends when its client goes, no command of it is left, and the agent serves on.
func TestGarbageFrames(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	a, c := serve(t, o)
	rnd := rand.New(rand.NewPCG(1, 2))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return b
	}
	start := frame(wire.Request, `{"argv":["sleep","1000"]}`)
	term := frame(wire.Request, `{"rows":1,"cols":1,"argv":["sleep","1000"]}`)
	cases := map[string][]byte{
		"no request":             nil,
		"another kind first":     frame(wire.Stdin, "hi"),
		"a request of no JSON":   frame(wire.Request, "}{"),
		"an empty request":       frame(wire.Request, "{}"),
		"half a header":          []byte("R\x00"),
		"half a payload":         []byte("R\x00\x00\x00\x09{"),
		"a frame of 4 GiB":       []byte("R\xff\xff\xff\xff"),
		"a NUL in the arguments": frame(wire.Request, `{"argv":["echo","a\u0000b"]}`),
		"an unknown kind":        append(start[:len(start):len(start)], frame('?', "what")...),
		"a server's frames": append(start[:len(start):len(start)],
			append(frame(wire.Exit, "{}"), frame(wire.Started, "[]")...)...),
		"an unknown signal": append(start[:len(start):len(start)], frame(wire.Signal, "\x1b]0;x\x07")...),
		"a size of no JSON": append(term[:len(term):len(term)], frame(wire.Resize, "1x1")...),
		"a huge size":       append(term[:len(term):len(term)], frame(wire.Resize, `{"rows":65535,"cols":65535}`)...),
		"more than the window": func() []byte {
			b := start[:len(start):len(start)]
			for range 4 {
				b = append(b, frame(wire.Stdin, string(make([]byte, 1<<20)))...)
			}
			return b
		}(),
		"input after its end": append(append(start[:len(start):len(start)], frame(wire.StdinEOF, "")...),
			frame(wire.Stdin, "more")...),
		"two requests": append(start[:len(start):len(start)], start...),
	}
	for i := range 6 {
		cases[fmt.Sprintf("noise %d", i)] = noise(1 << (3 * i))
		cases[fmt.Sprintf("noise %d after a start", i)] = append(start[:len(start):len(start)], noise(1<<(2*i))...)
	}
	t.Run("streams", func(t *testing.T) {
		for _, path := range []string{"/v1/exec", "/v1/terminal"} {
			for name, b := range cases {
				t.Run(path[4:]+"/"+name, func(t *testing.T) {
					t.Parallel()
					conn, err := net.Dial("unix", o.Socket)
					require.NoError(t, err)
					defer conn.Close()
					require.NoError(t, conn.SetDeadline(time.Now().Add(2*time.Minute)))
					_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: berth\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", path,
						api.StreamProtocol)
					require.NoError(t, err)
					written := make(chan struct{})
					go func() {
						defer close(written)
						_, _ = conn.Write(b) // the agent may hang up before it has read all
						_ = conn.(*net.UnixConn).CloseWrite()
					}()
					_, err = io.Copy(io.Discard, conn) // the agent answers what it likes, and ends
					var timeout net.Error
					if err != nil {
						require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "the stream does not end")
					}
					_ = conn.Close()
					<-written
				})
			}
		}
	})
	eventually(t, "no command is left", func() bool { return a.Info().Execs == 0 })
	ts, err := c.Terminals(t.Context())
	require.NoError(t, err)
	for _, x := range ts { // a terminal outlives its client
		require.NoError(t, c.KillTerminal(t.Context(), x.ID))
	}
	r, err := execute(t, c, sh("echo fine"), "")
	require.NoError(t, err)
	require.Equal(t, "fine\n", r.Stdout)
}
