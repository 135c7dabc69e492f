package sshdtest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Line is a relay whose speed can be set.
type Line struct {
	Port int
	gate sync.RWMutex // held to write while the line is away

	mu    sync.Mutex
	conns []net.Conn
}

// Relay passes connections on to addr, holding back the server's first bytes for delay. It returns
// its own port and a function that cuts all connections, which leaves both ends without a word.
func Relay(t testing.TB, addr string, delay time.Duration) (port int, cut func()) {
	t.Helper()
	l := relay(t, addr, delay, 0)
	return l.Port, l.cut
}

// Slow passes connections on to addr, and what the server sends at no more than rate bytes a second (0: at once).
// The sockets hold little, so that the sender feels it.
func Slow(t testing.TB, addr string, rate int) *Line {
	t.Helper()
	return relay(t, addr, 0, rate)
}

// Far passes connections on to addr, as if it were oneWay away: each byte arrives so much later, both ways, and any
// number of them are on their way. It returns its own port.
func Far(t testing.TB, addr string, oneWay time.Duration) (port int) {
	t.Helper()
	l := between(t, addr, func(_ *Line, wg *sync.WaitGroup, _ <-chan struct{}, in, out net.Conn) {
		wg.Go(func() { late(out, in, oneWay) })
		wg.Go(func() { late(in, out, oneWay) })
	})
	return l.Port
}

// late copies each piece some time after it came, until one side ends, and then ends the other.
func late(to, from net.Conn, by time.Duration) {
	type piece struct {
		b   []byte
		due time.Time
	}
	// What a line of 10 Gbit/s holds in 50 ms, in pieces of 64 KiB.
	way := make(chan piece, 1000)
	go func() {
		defer close(way)
		for {
			b := make([]byte, 64<<10)
			n, err := from.Read(b)
			if n > 0 {
				way <- piece{b[:n], time.Now().Add(by)}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range way {
		time.Sleep(time.Until(p.due))
		if _, err := to.Write(p.b); err != nil {
			break
		}
	}
	_ = to.Close()
	_ = from.Close()
	for range way { // the reader ends
	}
}

func relay(t testing.TB, addr string, delay time.Duration, rate int) *Line {
	t.Helper()
	return between(t, addr, func(line *Line, wg *sync.WaitGroup, stop <-chan struct{}, in, out net.Conn) {
		if rate > 0 {
			_ = out.(*net.TCPConn).SetReadBuffer(64 << 10)
		}
		wg.Go(func() { line.pass(out, in, 0) })
		wg.Go(func() {
			select {
			case <-time.After(delay):
			case <-stop:
			}
			line.pass(in, out, rate)
		})
	})
}

// between connects each connection to addr, and has pass start, in wg, what copies between the two; stop is closed when
// the test ends.
func between(t testing.TB, addr string,
	pass func(line *Line, wg *sync.WaitGroup, stop <-chan struct{}, in, out net.Conn)) *Line {
	t.Helper()
	line := &Line{}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	t.Cleanup(func() { line.cut(); wg.Wait() }) // nothing is accepted any more
	line.Port = Accept(t, func(in net.Conn) {
		out, err := net.Dial("tcp", addr)
		if err != nil {
			_ = in.Close()
			return
		}
		line.mu.Lock()
		line.conns = append(line.conns, in, out)
		line.mu.Unlock()
		pass(line, &wg, stop, in, out)
	})
	t.Cleanup(func() { close(stop) })
	return line
}

// pass copies until one side ends, and then ends the other.
func (l *Line) pass(to, from net.Conn, rate int) {
	defer to.Close()
	buf := make([]byte, 8<<10)
	for {
		n, err := from.Read(buf)
		l.gate.RLock()
		_, werr := to.Write(buf[:n])
		l.gate.RUnlock()
		if err != nil || werr != nil {
			return
		}
		if rate > 0 {
			time.Sleep(time.Duration(n) * time.Second / time.Duration(rate))
		}
	}
}

func (l *Line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		_ = c.Close()
	}
	l.conns = nil
}

// Away lets nothing pass, either way, until back is called.
func (l *Line) Away() (back func()) {
	l.gate.Lock()
	return l.gate.Unlock
}

// Mute listens and accepts, but never says a word: it returns its port.
func Mute(t testing.TB) int {
	t.Helper()
	return Accept(t, func(net.Conn) {})
}

// Accept listens and hands each connection to each, one after the other; those that are open are closed when the test
// ends. It returns its port.
func Accept(t testing.TB, each func(net.Conn)) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var conns []net.Conn // of the goroutine, and of the cleanup after it
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns = append(conns, c)
			each(c)
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
		for _, c := range conns {
			_ = c.Close() // again, where each or a cut has done so
		}
	})
	return l.Addr().(*net.TCPAddr).Port
}
