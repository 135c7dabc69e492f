package main

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/transport/wire"
)

// TestGarbageToTheDaemon speaks to the daemon as no client does: bytes that are no HTTP, odd requests,
// and streams of rubbish that it passes on to an agent. Each connection ends, and the same daemon and
// the same agent serve on.
func TestGarbageToTheDaemon(t *testing.T) {
	w := newWorld(t)
	w.ok("create", "vision")
	pid := w.pid()
	rnd := rand.New(rand.NewPCG(3, 4))
	noise := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return string(b)
	}
	frame := func(k wire.Kind, p string) string {
		return string(binary.BigEndian.AppendUint32([]byte{byte(k)}, uint32(len(p)))) + p
	}
	upgrade := func(path, rest string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: berth\r\nConnection: Upgrade\r\nUpgrade: " + api.StreamProtocol +
			"\r\n\r\n" + rest
	}
	start := frame(wire.Request, `{"argv":["sleep","1000"]}`)
	cases := map[string]string{
		"nothing":          "",
		"noise":            noise(4000),
		"no HTTP":          "SSH-2.0-OpenSSH_9.2\r\n\r\n",
		"half a request":   "POST /v1/instances HTTP/1.1\r\nHost: berth\r\nContent-Length: 100\r\n\r\n{",
		"a name with dots": "GET /v1/instances/..%2f..%2fetc HTTP/1.1\r\nHost: berth\r\nConnection: close\r\n\r\n",
		"a bad caller": "GET /v1/instances HTTP/1.1\r\nHost: berth\r\n" + api.CallerHeader +
			": %%%\r\nConnection: close\r\n\r\n",
		"an endless header": "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 2<<20),
		"an unknown upgrade": strings.ReplaceAll(upgrade("/v1/instances/vision/agent/v1/exec", ""), api.StreamProtocol,
			"h2c"),
	}
	for _, path := range []string{"/v1/instances/vision/agent/v1/exec", "/v1/instances/vision/agent/v1/terminal",
		"/v1/instances/none/agent/v1/exec"} {
		cases[path+" without a request"] = upgrade(path, "")
		cases[path+" with noise"] = upgrade(path, noise(70_000))
		cases[path+" with a frame too large"] = upgrade(path, "R\xff\xff\xff\xff")
		cases[path+" with noise after a start"] = upgrade(path, start+noise(3000))
		cases[path+" with a server's frames"] = upgrade(path, start+frame(wire.Exit, "{}")+frame(wire.Error, "{}"))
	}
	for name, text := range cases {
		t.Run(strings.ReplaceAll(strings.TrimPrefix(name, "/v1/instances/"), "/", "_"), func(t *testing.T) {
			conn, err := net.Dial("unix", w.at().DaemonSocket())
			require.NoError(t, err)
			defer conn.Close()
			require.NoError(t, conn.SetDeadline(time.Now().Add(2*time.Minute)))
			written := make(chan struct{})
			go func() {
				defer close(written)
				_, _ = io.WriteString(conn, text) // the daemon may hang up before it has read all
				_ = conn.(*net.UnixConn).CloseWrite()
			}()
			_, err = io.Copy(io.Discard, conn)
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the connection does not end")
			_ = conn.Close()
			<-written
		})
	}
	agent := w.client().Agent("vision")
	eventually(t, "no command is left", func() bool {
		// Terminals outlive their clients, also odd ones. One may be opened after its client has gone.
		terminals, err := agent.Terminals(t.Context())
		require.NoError(t, err)
		for _, x := range terminals {
			require.NoError(t, agent.KillTerminal(t.Context(), x.ID))
		}
		return !slices.ContainsFunc(processes(t, w.home), func(p string) bool { return strings.Contains(p, "sleep 1000") })
	})
	require.Equal(t, pid, w.pid(), "the same daemon serves on")
	require.Equal(t, "fine\n", w.ok("exec", "vision", "--", "echo", "fine"))
	log, err := os.ReadFile(w.at().Log())
	require.NoError(t, err)
	require.NotContains(t, string(log), "panic", string(log))
}
