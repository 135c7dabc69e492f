package filecopy

import (
	"bufio"
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

// ends are the two ends of a stream over a unix socket.
func ends(t testing.TB) (a, b *api.Stream) {
	t.Helper()
	dir, err := os.MkdirTemp("", "c") // a socket's path is short
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	require.NoError(t, err)
	defer l.Close()
	x, err := net.Dial("unix", l.Addr().String())
	require.NoError(t, err)
	y, err := l.Accept()
	require.NoError(t, err)
	stream := func(c net.Conn) *api.Stream { return api.NewStream(c, bufio.NewReaderSize(c, 64<<10)) }
	return stream(x), stream(y)
}

// ended is how both sides of a copy ended.
type ended struct {
	sent, received       Result
	sendErr, receiveErr  error
	sendSays, receiveSay []string
}

// run copies from one side to the other.
func run(t testing.TB, s Sender, r Receiver) ended {
	t.Helper()
	a, b := ends(t)
	var e ended
	s.Problem = func(text string) { e.sendSays = append(e.sendSays, text) }
	r.Problem = func(text string) { e.receiveSay = append(e.receiveSay, text) }
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.received, e.receiveErr = r.Receive(context.Background(), b)
	}()
	e.sent, e.sendErr = s.Send(context.Background(), a)
	<-done
	return e
}

func (e ended) ok(t testing.TB) {
	t.Helper()
	require.NoError(t, e.sendErr)
	require.NoError(t, e.receiveErr)
	require.Zero(t, e.sent.Problems, e.sendSays)
	require.Zero(t, e.received.Problems, e.receiveSay)
}

func write(t testing.TB, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

// TestOneFile goes to each kind of target.
func TestOneFile(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/src", "hello")
	require.NoError(t, os.Mkdir(dir+"/into", 0o755))
	write(t, dir+"/old", "was there")
	for target, want := range map[string]string{"/new": "/new", "/into": "/into/src", "/into/": "/into/src", "/old": "/old",
		"/into/name": "/into/name"} {
		run(t, Sender{Source: dir + "/src"}, Receiver{Target: dir + target, Name: "src"}).ok(t)
		require.Equal(t, "hello", read(t, dir+want), target)
	}
}
