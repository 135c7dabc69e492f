package forward

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/transport/wire"
)

// eventually polls until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// line is both ends of streams in this process, over unix sockets as they are in life, with Answer at the far one.
type line struct {
	t       *testing.T
	to      string // where the far end connects
	far     *Memory
	mu      sync.Mutex
	streams []*api.Stream // of the near end
	ended   chan error    // of each Answer
}

func newLine(t *testing.T, to string) *line {
	return &line{t: t, to: to, far: NewMemory(), ended: make(chan error, 2000)}
}

// open implements Opener.
func (l *line) open(ctx context.Context) (*api.Stream, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, err
	}
	var ends [2]*api.Stream
	for i, fd := range fds {
		syscall.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "stream")
		conn, err := net.FileConn(f)
		_ = f.Close()
		if err != nil {
			return nil, err
		}
		ends[i] = api.NewStream(conn, nil)
	}
	go func() {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", l.to)
		if err != nil {
			ends[1].Fail(api.Errorf(api.CodeFailed, "nothing listens there: %w", err))
			_ = ends[1].Close()
			l.ended <- err
			return
		}
		l.ended <- Answer(l.t.Context(), ends[1], conn, l.far, func() {})
	}()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.streams = append(l.streams, ends[0])
	return ends[0], nil
}

// cut breaks the streams that are open.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.streams {
		_ = s.Close()
	}
	l.streams = nil
}

// far listens where a forward leads to, and gives each connection to serve.
func far(t *testing.T, serve func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				serve(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); conns.Wait() })
	return l.Addr().String()
}

// failed collects what a forward says.
type failed struct {
	mu  sync.Mutex
	all []error
}

func (f *failed) add(err error) {
	f.mu.Lock()
	f.all = append(f.all, err)
	f.mu.Unlock()
}

func (f *failed) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprint(f.all)
}

// near listens and serves until the test ends.
func near(t *testing.T, o Options) *Forward {
	t.Helper()
	if o.Instance == "" {
		o.Instance = "vision"
	}
	f, err := Listen(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
		open, _ := f.Connections()
		require.Zero(t, open)
	})
	return f
}

func dial(t *testing.T, f *Forward) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", f.Local().Address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c.(*net.TCPConn)
}

// refused makes a connection that is reset, which may come before its dial has returned.
func refused(t *testing.T, f *Forward) {
	t.Helper()
	c, err := net.Dial("tcp", f.Local().Address)
	if err == nil {
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		_, err = io.ReadAll(c)
	}
	require.Error(t, err, "it ended as if all were well")
	if !errors.Is(err, syscall.EPIPE) {
		require.ErrorIs(t, err, syscall.ECONNRESET)
	}
}

const much = 64 << 20

// pour writes much and returns its sum.
func pour(w io.Writer, seed byte) ([]byte, error) {
	h := sha256.New()
	_, err := io.CopyN(io.MultiWriter(w, h), rand.NewChaCha8([32]byte{seed}), much)
	return h.Sum(nil), err
}

// TestBytesBothWaysAtOnce: 64 MiB each way, byte for byte, with an end of its own for each.
func TestBytesBothWaysAtOnce(t *testing.T) {
	there := make(chan []byte, 2)
	to := far(t, func(c *net.TCPConn) {
		sent := make(chan []byte, 1)
		go func() {
			sum, _ := pour(c, 1)
			_ = c.CloseWrite()
			sent <- sum
		}()
		h := sha256.New()
		_, _ = io.Copy(h, c)
		there <- <-sent
		there <- h.Sum(nil)
	})
	l := newLine(t, to)
	c := dial(t, near(t, Options{Open: l.open}))
	sent := make(chan []byte, 1)
	go func() {
		sum, _ := pour(c, 2)
		_ = c.CloseWrite()
		sent <- sum
	}()
	h := sha256.New()
	n, err := io.Copy(h, c)
	require.NoError(t, err)
	require.EqualValues(t, much, n)
	require.Equal(t, <-there, h.Sum(nil))
	require.Equal(t, <-sent, <-there)
	require.NoError(t, <-l.ended)
}

// TestEachEndComesAlone: one side's end leaves the other direction open, whichever is first.
func TestEachEndComesAlone(t *testing.T) {
	// The caller ends first, as `nc -N` does: the answer comes after it.
	to := far(t, func(c *net.TCPConn) {
		b, _ := io.ReadAll(c)
		_, _ = fmt.Fprintf(c, "got %s", b)
	})
	l := newLine(t, to)
	c := dial(t, near(t, Options{Open: l.open}))
	_, _ = io.WriteString(c, "a question")
	require.NoError(t, c.CloseWrite())
	b, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "got a question", string(b))
	require.NoError(t, <-l.ended)

	// What listens ends first, and reads on.
	got := make(chan string, 1)
	to = far(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "all I say")
		_ = c.CloseWrite()
		b, _ := io.ReadAll(c)
		got <- string(b)
	})
	l = newLine(t, to)
	c = dial(t, near(t, Options{Open: l.open}))
	b, err = io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "all I say", string(b))
	_, err = io.WriteString(c, "and still I speak")
	require.NoError(t, err)
	require.NoError(t, c.CloseWrite())
	require.Equal(t, "and still I speak", <-got)
	require.NoError(t, <-l.ended)
}

// TestADirectionThatIsStuckDoesNotHoldTheOther: nobody reads what comes, and what goes still goes.
func TestADirectionThatIsStuckDoesNotHoldTheOther(t *testing.T) {
	sum := make(chan []byte, 1)
	to := far(t, func(c *net.TCPConn) {
		go func() { _, _ = pour(c, 3) }() // is never read
		h := sha256.New()
		_, _ = io.CopyN(h, c, much)
		sum <- h.Sum(nil)
	})
	l := newLine(t, to)
	c := dial(t, near(t, Options{Open: l.open}))
	want, err := pour(c, 4)
	require.NoError(t, err)
	require.Equal(t, want, <-sum)
}

// TestSlowReadersTakeBoundedMemory: hundreds of connections into which all is poured that goes, and nobody reads.
func TestSlowReadersTakeBoundedMemory(t *testing.T) {
	const conns = 200
	var poured atomic.Int64
	to := far(t, func(c *net.TCPConn) {
		b := make([]byte, 64<<10)
		for {
			n, err := c.Write(b)
			poured.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	l := newLine(t, to)
	f := near(t, Options{Open: l.open})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range conns {
		_ = dial(t, f).SetReadBuffer(4 << 10)
	}
	last, same := int64(0), 0
	eventually(t, "all to stand still", func() bool {
		time.Sleep(50 * time.Millisecond)
		if now := poured.Load(); now == last && now > conns<<18 {
			same++
		} else {
			last, same = now, 0
		}
		return same > 10
	})
	runtime.GC()
	runtime.ReadMemStats(&after)
	held := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d connections hold %d MiB; %d MiB were poured", conns, held>>20, last>>20)
	// A first window, a frame being read at either end and one being sent, and the wide ones of both ends.
	require.Less(t, held, int64(conns*(wire.ForwardWindow+3*chunk)+2*wideOnes*(wideWindow+chunk)))
	l.cut()
}

// TestACutResets: what is cut off is never taken for the whole, at either end, and the next connection goes through.
func TestACutResets(t *testing.T) {
	broke := make(chan error, 2)
	to := far(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "the first half")
		_, err := io.ReadAll(c)
		broke <- err
	})
	l, said := newLine(t, to), &failed{}
	f := near(t, Options{Open: l.open, Spec: Spec{Target: Target{Port: 8888}}, Failed: said.add})
	address := f.Local().Address
	c := dial(t, f)
	b := make([]byte, 14)
	_, err := io.ReadFull(c, b)
	require.NoError(t, err)
	l.cut()
	_, err = c.Read(b)
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.ErrorIs(t, <-broke, syscall.ECONNRESET)
	eventually(t, "the failure to be said", func() bool {
		return strings.Contains(said.String(), "a connection to vision:8888 failed: the line broke")
	})
	require.Equal(t, address, f.Local().Address)
	c = dial(t, f)
	_, err = io.ReadFull(c, b)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	<-broke
}

// TestEitherSidesResetReachesTheOther and says whose it was where somebody here wants to know.
func TestEitherSidesResetReachesTheOther(t *testing.T) {
	read := make(chan error, 1)
	to := far(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "x")
		_, err := io.ReadAll(c)
		read <- err
	})
	l, said := newLine(t, to), &failed{}
	c := dial(t, near(t, Options{Open: l.open, Failed: said.add}))
	_, err := io.ReadFull(c, make([]byte, 1))
	require.NoError(t, err)
	_ = c.SetLinger(0)
	require.NoError(t, c.Close())
	require.ErrorIs(t, <-read, syscall.ECONNRESET)
	require.Error(t, <-l.ended)
	require.Equal(t, "[]", said.String(), "who ended it knows")

	to = far(t, func(c *net.TCPConn) {
		_, _ = io.ReadFull(c, make([]byte, 1))
		_ = c.SetLinger(0)
	})
	l = newLine(t, to)
	c = dial(t, near(t, Options{Open: l.open, Failed: said.add}))
	_, _ = io.WriteString(c, "x")
	_, err = c.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
	eventually(t, "it to be said", func() bool {
		return strings.Contains(said.String(), "what listens on the instance ended the connection: read: connection reset")
	})
}

// TestWhatCanNotBeOpened resets the connection and is said; the forward lives on.
func TestWhatCanNotBeOpened(t *testing.T) {
	var down atomic.Bool
	down.Store(true)
	l, said := newLine(t, far(t, func(c *net.TCPConn) { _, _ = io.WriteString(c, "here") })), &failed{}
	f := near(t, Options{Failed: said.add, Spec: Spec{Target: Target{Socket: "/run/x"}},
		Open: func(ctx context.Context) (*api.Stream, error) {
			if down.Load() {
				return nil, api.Errorf(api.CodeUnreachable, "vision is stopped").WithHint("berth start vision")
			}
			return l.open(ctx)
		}})
	refused(t, f)
	eventually(t, "it to be said", func() bool {
		return strings.Contains(said.String(), "a connection to vision:/run/x failed: vision is stopped")
	})
	down.Store(false)
	b, err := io.ReadAll(dial(t, f))
	require.NoError(t, err)
	require.Equal(t, "here", string(b))

	none := newLine(t, "127.0.0.1:1") // nothing listens there
	refused(t, near(t, Options{Failed: said.add, Open: none.open}))
	eventually(t, "it to be said", func() bool { return strings.Contains(said.String(), "nothing listens there") })
}

// TestManyAtOnce: 200 connections, each with an answer of its own.
func TestManyAtOnce(t *testing.T) {
	l := newLine(t, far(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) }))
	f := near(t, Options{Open: l.open})
	var all sync.WaitGroup
	errs := make(chan error, 200)
	for i := range 200 {
		c := dial(t, f)
		all.Go(func() {
			want := bytes.Repeat([]byte(strconv.Itoa(i)+" "), 20000)
			go func() {
				_, _ = c.Write(want)
				_ = c.CloseWrite()
			}()
			got, err := io.ReadAll(c)
			if err == nil && !bytes.Equal(got, want) {
				err = fmt.Errorf("%d: %d bytes, not %d", i, len(got), len(want))
			}
			errs <- err
		})
	}
	all.Wait()
	for range 200 {
		require.NoError(t, <-errs)
	}
	_, n := f.Connections()
	require.Equal(t, 200, n)
}

// TestHostileFrames: an end that breaks the rules costs its connection, not more.
func TestHostileFrames(t *testing.T) {
	for name, hostile := range map[string]func(*wire.Writer) error{
		"too much": func(w *wire.Writer) error { return w.Write(wire.Stdout, make([]byte, wire.ForwardWindow+1)) },
		"bytes after the end": func(w *wire.Writer) error {
			return errors.Join(w.Write(wire.StdoutEOF, nil), w.Write(wire.Stdout, []byte("x")))
		},
		"an end in the middle": func(w *wire.Writer) error { return w.WriteJSON(wire.Exit, wire.ExitStatus{}) },
		"no number":            func(w *wire.Writer) error { return w.Write(wire.Window, []byte("many")[:3]) },
		"endless room": func(w *wire.Writer) error {
			return errors.Join(w.WriteWindow(1<<31), w.WriteWindow(1<<31))
		},
		"no reason": func(w *wire.Writer) error { return w.Write(wire.Error, []byte("{}")) },
	} {
		t.Run(name, func(t *testing.T) {
			said := &failed{}
			var served sync.WaitGroup
			t.Cleanup(served.Wait)
			f := near(t, Options{Failed: said.add, Open: func(context.Context) (*api.Stream, error) {
				a, b := net.Pipe()
				served.Go(func() {
					w := wire.NewWriter(b)
					_ = w.WriteJSON(wire.Started, wire.Start{})
					_ = hostile(w)
					_, _ = io.Copy(io.Discard, b)
				})
				return api.NewStream(a, nil), nil
			}})
			if name == "bytes after the end" { // which may have been passed on by then
				if c, err := net.Dial("tcp", f.Local().Address); err == nil {
					_, _ = io.ReadAll(c)
					_ = c.Close()
				}
			} else {
				refused(t, f)
			}
			eventually(t, "it to be said", func() bool { return said.String() != "[]" })
		})
	}
}

// TestAPortThatIsTaken: another one is used, and it is said who holds the wanted one.
func TestAPortThatIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	f, err := Listen(Options{Spec: Spec{Local: port, Target: Target{Port: 80}}, Instance: "vision"})
	require.NoError(t, err)
	defer f.Close()
	at := f.Local()
	require.NotEqual(t, port, at.Port)
	require.Equal(t, fmt.Sprintf("127.0.0.1:%d", at.Port), at.Address)
	require.Equal(t, "http://"+at.Address, at.URL)
	require.Contains(t, at.Taken, fmt.Sprintf("port %d of this computer is held by this program itself (process %d)", port,
		os.Getpid()))

	g, err := Listen(Options{Spec: Spec{Local: 0, Target: Target{Port: 80}}, Instance: "vision"})
	require.NoError(t, err)
	defer g.Close()
	require.Empty(t, g.Local().Taken)
}

// TestOnABastion: a socket that only its user can reach, the line that leads there, the same one the next time, another
// while the first is in use, and none in the way of what a killed one left.
func TestOnABastion(t *testing.T) {
	run, err := os.MkdirTemp("/tmp", "bf")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(run) })
	env := map[string]string{"SSH_CONNECTION": "10.0.0.2 50000 10.0.0.7 2222", "USER": "ada"}
	getenv := func(k string) string { return env[k] }
	require.Empty(t, PlaceHere(getenv, run, true), "--tcp")
	require.Empty(t, PlaceHere(func(string) string { return "" }, run, false), "no bastion")
	place := PlaceHere(getenv, run, false)
	l := newLine(t, far(t, func(c *net.TCPConn) { _, _ = io.WriteString(c, "hello") }))
	o := Options{Spec: Spec{Local: 8888, Target: Target{Port: 8888}}, Instance: "vision", Place: place, Open: l.open}
	f, err := Listen(o)
	require.NoError(t, err)
	at := f.Local()
	require.Equal(t, filepath.Join(run, "forward", "vision-8888.sock"), at.Address)
	require.Equal(t, "ssh -L 8888:"+at.Address+" -N -p 2222 ada@10.0.0.7", at.SSH)
	require.Equal(t, "http://127.0.0.1:8888", at.URL)
	fi, err := os.Stat(at.Address)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), fi.Mode().Perm())
	fi, err = os.Stat(filepath.Dir(at.Address))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), fi.Mode().Perm())
	second, err := Listen(o)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(run, "forward", "vision-8888-2.sock"), second.Local().Address)
	require.NoError(t, second.Close())
	go func() { _ = f.Serve(t.Context()) }()
	c, err := net.Dial("unix", at.Address)
	require.NoError(t, err)
	b, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "hello", string(b))
	require.NoError(t, c.Close())
	require.NoError(t, f.Close())
	require.NoFileExists(t, at.Address)
	require.NoError(t, os.WriteFile(at.Address, nil, 0o600)) // as a killed one leaves its socket
	again, err := Listen(o)
	require.NoError(t, err)
	require.Equal(t, at.Address, again.Local().Address)
	require.NoError(t, again.Close())

	long := Options{Instance: strings.Repeat("x", 24), Place: place, Spec: Spec{Target: Target{Socket: "/run/'; a:b/c.sock"}}}
	f, err = Listen(long)
	require.NoError(t, err)
	require.Regexp(t, `^ssh -L 8888:[A-Za-z0-9/.-]+ -N `, f.Local().SSH)
	require.Less(t, len(filepath.Base(f.Local().Address)), 48)
	require.NoError(t, f.Close())
}

func TestLogin(t *testing.T) {
	for conn, want := range map[string]string{"1.2.3.4 5 10.0.0.7 22": "ada@10.0.0.7", "::1 5 ::1 2200": "-p 2200 ada@::1",
		"::ffff:1.2.3.4 5 ::ffff:10.0.0.7 22": "ada@10.0.0.7", "$(reboot)": "ada@THIS-HOST", "a b c; d": "ada@THIS-HOST"} {
		require.Equal(t, want, login(func(k string) string {
			return map[string]string{"SSH_CONNECTION": conn, "USER": "ada"}[k]
		}), conn)
	}
	require.Equal(t, "10.0.0.7", login(func(k string) string {
		return map[string]string{"SSH_CONNECTION": "1.2.3.4 5 10.0.0.7 22", "USER": "a$(b)"}[k]
	}))
}

// FuzzTheSSHLine: whatever names and variables there are, the line that is printed is one that a shell takes as it is
// meant, and the socket's path is short.
func FuzzTheSSHLine(f *testing.F) {
	f.Add("10.0.0.2 50000 10.0.0.7 22", "ada", "vision", "/run/a.sock", 1)
	f.Add("$(x) ; y z", "a b", "local/vision", "/run/'\"", 2)
	f.Fuzz(func(t *testing.T, conn, user, instance, socket string, n int) {
		l := login(func(k string) string { return map[string]string{"SSH_CONNECTION": conn, "USER": user}[k] })
		if strings.Trim(l, safe) != "" {
			t.Fatalf("%q", l)
		}
		name := socketName(instance, Target{Socket: socket}, n)
		if strings.Trim(name, safe) != "" || len(name) > 36+len("-9223372036854775808.sock") {
			t.Fatalf("%q", name)
		}
	})
}

const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.@: "

// TestASetKeepsForwards by instance and target, until they are ended or it is closed.
func TestASetKeepsForwards(t *testing.T) {
	l := newLine(t, far(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) }))
	s := NewSet(Place{})
	o := func(port int) Options {
		return Options{Spec: Spec{Target: Target{Port: port}}, Instance: "vision", Open: l.open}
	}
	var all sync.WaitGroup
	for range 20 { // at once
		all.Go(func() {
			_, err := s.Begin("i-1", o(80))
			require.NoError(t, err)
		})
	}
	all.Wait()
	_, err := s.Begin("i-1", o(81))
	require.NoError(t, err)
	other, err := s.Begin("i-2", o(80))
	require.NoError(t, err)
	require.Len(t, s.Of("i-1"), 2)
	first := s.Of("i-1")[0]
	require.Equal(t, Target{Port: 80}, first.Target)
	again, err := s.Begin("i-1", o(80))
	require.NoError(t, err)
	require.Equal(t, first.Local, again)

	c, err := net.Dial("tcp", first.Address)
	require.NoError(t, err)
	defer c.Close()
	_, _ = io.WriteString(c, "x")
	_, err = io.ReadFull(c, make([]byte, 1))
	require.NoError(t, err)
	require.Equal(t, 1, s.Of("i-1")[0].Open)
	s.End("i-1", Target{Port: 80})
	s.End("i-1", Target{Port: 99})
	_, err = io.ReadAll(c)
	require.Error(t, err, "its connections end with it")
	_, err = net.Dial("tcp", first.Address)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.Len(t, s.Of("i-1"), 1)
	s.Close()
	_, err = net.Dial("tcp", other.Address)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	_, err = s.Begin("i-1", o(82))
	require.Error(t, err)
}
