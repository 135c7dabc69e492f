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

func relay(t testing.TB, addr string, delay time.Duration, rate int) *Line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	line := &Line{Port: l.Addr().(*net.TCPAddr).Port}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", addr)
			if err != nil {
				_ = in.Close()
				continue
			}
			if rate > 0 {
				_ = out.(*net.TCPConn).SetReadBuffer(64 << 10)
			}
			line.mu.Lock()
			line.conns = append(line.conns, in, out)
			line.mu.Unlock()
			wg.Go(func() { line.pass(out, in, 0) })
			wg.Go(func() {
				select {
				case <-time.After(delay):
				case <-stop:
				}
				line.pass(in, out, rate)
			})
		}
	})
	t.Cleanup(func() { close(stop); _ = l.Close(); line.cut(); wg.Wait() })
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
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
		for _, c := range conns {
			_ = c.Close()
		}
	})
	return l.Addr().(*net.TCPAddr).Port
}
