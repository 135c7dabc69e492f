package ssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"berth/backend/api"
)

// errTooSlow means that a host did not answer within its limit.
var errTooSlow = errors.New("no answer in time")

// signInLimit is how long the server may take for each step after it has named its version, not
// counting the time that a person takes to answer.
const signInLimit = 30 * time.Second

// open connects to t, through via if it has a jump host, and signs in.
func (m *Manager) open(ctx context.Context, t *target, via *Conn) (transport, error) {
	if t.ssh.Transport == "openssh" {
		return m.openOpenSSH(ctx, t)
	}
	var wrong, last error
	for _, only := range pinnedTypes(t) {
		n, keys, err := m.signIn(ctx, t, via, only)
		if err == nil {
			return n, nil
		}
		// A server shows one key; the pinned one may be of another type, which it may not have.
		var neg *gossh.AlgorithmNegotiationError
		switch {
		case keys.wrong:
			if wrong == nil {
				wrong = err
			}
		case len(t.pins) > 0 && errors.As(err, &neg) && neg.What == "host key":
			last = err
		default:
			return nil, err
		}
	}
	if wrong == nil {
		wrong = last
	}
	if t.jump {
		// The pins are of other hosts on the way: this one is judged as any other.
		plain := *t
		plain.pins = nil
		n, _, err := m.signIn(ctx, &plain, via, nil)
		if err != nil {
			return nil, err
		}
		return n, nil
	}
	return nil, wrong
}

// pinnedTypes is what to offer as host key algorithms, one attempt each. Without a pin that is one
// attempt with the order of known keys (nil).
func pinnedTypes(t *target) [][]string {
	if len(t.pins) == 0 {
		return [][]string{nil}
	}
	return [][]string{
		{gossh.KeyAlgoED25519},
		{gossh.KeyAlgoECDSA256, gossh.KeyAlgoECDSA384, gossh.KeyAlgoECDSA521},
		{gossh.KeyAlgoRSASHA512, gossh.KeyAlgoRSASHA256},
	}
}

// signIn makes one attempt, and more where the server is too busy to begin.
func (m *Manager) signIn(ctx context.Context, t *target, via *Conn, only []string) (n *native, keys *hostKeys,
	err error) {
	err = m.whenNotBusy(ctx, func() (err error) {
		n, keys, err = m.signInOnce(ctx, t, via, only)
		return err
	})
	if err == nil {
		return n, keys, nil
	}
	return nil, keys, connectError(ctx, t, t.limit(), err)
}

// signInOnce makes one attempt; a second one where the server lost its patience while a person answered.
func (m *Manager) signInOnce(ctx context.Context, t *target, via *Conn, only []string) (*native, *hostKeys, error) {
	sec := m.secretsOf(t)
	for attempt := 0; ; attempt++ {
		place, err := m.hands.acquire(ctx)
		if err != nil {
			return nil, &hostKeys{}, err
		}
		n, keys, asked, err := m.handshake(ctx, t, via, only, sec, place)
		place.release()
		if err == nil {
			return n, keys, nil
		}
		var e *api.Error
		if asked && attempt == 0 && ctx.Err() == nil && !errors.As(err, &e) {
			continue
		}
		// Who waits for a machine that Berth made tries again anyway: it may be starting.
		// What was closed from here, because its time was over, looks the same through a command or a jump host.
		if keys.seen == "" && !asked && !t.ssh.Made && closedEarly(err) && !errors.Is(err, errTooSlow) {
			err = fmt.Errorf("%w (%w)", errBusy, err)
		}
		return nil, keys, err
	}
}

func (m *Manager) handshake(ctx context.Context, t *target, via *Conn, only []string, sec *secrets,
	place *slot) (n *native, keys *hostKeys, asked bool, err error) {
	w := &watch{limit: t.limit()}
	pause := func() func() {
		w.pause()
		place.lend()
		return func() {
			place.retake()
			w.resume(signInLimit)
		}
	}
	keys = newHostKeys(ctx, t, pause)
	keys.only = only
	if keys.command != nil {
		return nil, keys, false, keys.command
	}
	for _, warning := range keys.db.Warnings {
		m.o.Log.Warn("known hosts", "problem", warning)
	}
	algorithms, err := algorithmsOf(t, keys)
	if err != nil {
		return nil, keys, false, err
	}
	conn, err := m.connect(ctx, t, via)
	if err != nil {
		return nil, keys, false, err
	}
	w.start(conn)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	auth := &authenticator{ctx: ctx, t: t, secrets: sec, pause: pause}
	defer auth.done()
	cfg := &gossh.ClientConfig{
		Config: gossh.Config{Ciphers: algorithms.Ciphers, MACs: algorithms.MACs, KeyExchanges: algorithms.KeyExchanges},
		User:   t.host.User, HostKeyCallback: keys.check, HostKeyAlgorithms: algorithms.HostKeys, AuthCallback: auth.next,
		ClientVersion: "SSH-2.0-Berth",
	}
	first := &firstByte{Conn: conn, w: w}
	c, chans, reqs, err := gossh.NewClientConn(first, t.host.Addr(), cfg)
	if keys.unkept != nil {
		m.o.Log.Warn("keeping a host key", "host", t.where(), "error", keys.unkept)
	}
	if err != nil && auth.refused != nil {
		err = auth.refused // the server may have hung up while the answer was waited for
	}
	late := w.stop()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	asked = keys.asked || auth.asked
	if err != nil {
		_ = conn.Close()
		if late && auth.refused == nil {
			err = fmt.Errorf("%w (%w)", errTooSlow, err)
		}
		return nil, keys, asked, err
	}
	return newNative(gossh.NewClient(c, chans, reqs), conn, first), keys, asked, nil
}

// connect makes the byte stream below SSH.
func (m *Manager) connect(ctx context.Context, t *target, via *Conn) (net.Conn, error) {
	addr := net.JoinHostPort(t.host.Hostname, strconv.Itoa(t.host.Port))
	dctx, cancel := context.WithTimeout(ctx, t.limit())
	defer cancel()
	dial := func(ctx context.Context) (net.Conn, error) {
		if via != nil {
			return via.tr.dial(ctx, "tcp", addr)
		}
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	}
	if t.ssh.Made {
		plain := dial
		dial = func(ctx context.Context) (net.Conn, error) { return hedged(ctx, hedgeAfter, plain) }
	}
	switch {
	case via != nil:
		conn, err := dial(dctx)
		switch {
		case errors.Is(err, errProhibited):
			return nil, api.Errorf(api.CodeUnreachable, "%s can't be reached: the jump host %s forbids forwarding", t.where(),
				via.t.host.Alias).
				WithHint("AllowTcpForwarding must be on at the jump host, or use a ProxyCommand that runs nc there")
		case errors.Is(err, errNoSocket):
			return nil, api.Errorf(api.CodeUnreachable, "%s can't be reached from the jump host: %w", t.where(), err).
				WithHint("check the address and port, as seen from %s", via.t.host.Alias)
		}
		return conn, err
	case t.host.ProxyCommand != "":
		return m.proxyCommand(ctx, t.host.ProxyCommand)
	}
	return dial(dctx)
}

// firstByte tells a watch when the server has said its first word, hurries the first exchanges, and notes when
// something came.
type firstByte struct {
	net.Conn
	w     *watch
	once  sync.Once
	reads int
	heard atomic.Int64 // Unix nanoseconds
}

// hurried is how many reads are acknowledged at once: those of signing in and of the first request.
const hurried = 64

func (f *firstByte) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if f.reads < hurried {
		f.reads++
		quickAck(f.Conn)
	}
	if n > 0 {
		f.heard.Store(time.Now().UnixNano())
		f.once.Do(func() { f.w.resume(signInLimit) })
	}
	return n, err
}

// watch closes a connection that makes no progress. It is paused while a person is asked.
type watch struct {
	mu    sync.Mutex
	timer *time.Timer
	limit time.Duration
	late  bool
	over  bool
}

func (w *watch) start(conn net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(w.limit, func() {
		w.mu.Lock()
		w.late = !w.over
		w.mu.Unlock()
		_ = conn.Close()
	})
}

func (w *watch) pause() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
}

func (w *watch) resume(limit time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.timer.Reset(max(limit, w.limit))
	}
}

// stop ends the watch and reports whether it had closed the connection.
func (w *watch) stop() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.timer.Stop()
	return w.late
}

// slots limits how many handshakes run at once.
type slots chan struct{}

// slot is one handshake's place in slots.
type slot struct {
	in   slots
	held bool
}

func (s slots) acquire(ctx context.Context) (*slot, error) {
	select {
	case s <- struct{}{}:
		return &slot{s, true}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// lend gives the place away while a person is asked.
func (s *slot) lend() { s.release() }

// retake takes a place again if there is one. It does not wait: the handshake is on its way, and one
// more than the limit is better than a server that loses patience.
func (s *slot) retake() {
	select {
	case s.in <- struct{}{}:
		s.held = true
	default:
	}
}

func (s *slot) release() {
	if s.held {
		s.held = false
		<-s.in
	}
}

// proxyLine makes a ProxyCommand for sh: exec saves a process where the command is a simple one.
func proxyLine(command string) string {
	if slices.ContainsFunc(strings.Fields(command), func(f string) bool { return strings.ContainsAny(f, ";|&()<>`$") }) {
		return command
	}
	return "exec " + strings.TrimPrefix(command, "exec ")
}
