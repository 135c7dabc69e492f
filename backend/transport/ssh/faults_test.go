//go:build linux

package ssh

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/transport/ssh/sshdtest"
)

// fullListener is a port whose queue of connections is full: more are neither accepted nor refused,
// as by a firewall that drops packets.
func fullListener(t *testing.T) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = syscall.Close(fd) })
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, syscall.Listen(fd, 0))
	sa, err := syscall.Getsockname(fd)
	require.NoError(t, err)
	port := sa.(*syscall.SockaddrInet4).Port
	for range 3 {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 200*time.Millisecond)
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
		}
	}
	return port
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	for name, c := range map[string]struct {
		port int
		want string
		more []string
	}{
		"closed port":               {sshdtest.FreePort(t), "nothing listens on port", nil},
		"silent after the connect":  {sshdtest.Mute(t), "no answer within 1s", []string{"ConnectTimeout 1"}},
		"black hole":                {fullListener(t), "no answer within 1s", []string{"ConnectTimeout 1"}},
		"a command that ends":       {22, "ended", []string{"ProxyCommand echo no way >&2; exit 3"}},
		"a command that is missing": {22, "not found", []string{"ProxyCommand no-such-program"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t).trust(s)
			w.hosts(stanzaFor(s, w, "box", c.port, c.more...))
			// of the user's own, some may be closed to him
			_, err := w.m.Conn(w.ctx(nil, "PATH=/usr/bin:/bin"), "i", backend.SSHTarget{Host: "box"})
			require.Equal(t, api.CodeUnreachable, code(t, err), err)
			require.Equal(t, 6, api.ExitCode(err))
			require.Contains(t, err.Error(), c.want)
			require.Contains(t, err.Error(), "box")
		})
	}
}

func TestUnknownName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hosts("Host *\n    ConnectTimeout 5\n")
	_, err := w.m.Conn(w.ctx(nil), "i", backend.SSHTarget{Host: "no-such-host.invalid"})
	require.Equal(t, api.CodeUnreachable, code(t, err))
	require.Contains(t, err.Error(), "no-such-host.invalid")
}

func TestGivingUpWaiting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := sshdtest.Start(t, sshdtest.Options{})
	w.hosts(stanzaFor(s, w, "box", sshdtest.Mute(t), "ConnectTimeout 50"))
	ctx, cancel := context.WithCancel(w.ctx(nil))
	done := make(chan error, 1)
	go func() {
		_, err := w.m.Conn(ctx, "i", backend.SSHTarget{Host: "box"})
		done <- err
	}()
	eventually(t, "it connects", func() bool { return w.m.State("i").Phase == Connecting })
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)

	// Closing the manager ends what is under way.
	go func() {
		_, err := w.m.Conn(w.ctx(nil), "j", backend.SSHTarget{Host: "box"})
		done <- err
	}()
	eventually(t, "it connects", func() bool { return w.m.State("j").Phase == Connecting })
	w.m.Close()
	require.Equal(t, api.CodeCancelled, api.AsError(<-done).Code)
}

func TestServerKilledDuringExec(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	w := newWorld(t, itself).reach(s)
	ctx := w.ctx(nil)
	type step struct {
		name string
		open func() *api.Stream
	}
	for _, x := range []step{
		{"plain", func() *api.Stream {
			return stream(t, func(st *api.Stream) {
				w.conn(ctx, "box").ServeExec(ctx, st, api.ExecRequest{Argv: []string{"sh", "-c", "echo up; exec cat"}})
			})
		}},
		{"agent", func() *api.Stream {
			cat := api.ExecRequest{Argv: []string{"sh", "-c", "echo up; exec cat"}}
			st, err := agentClient(t, w.conn(ctx, "box")).OpenExec(ctx, cat)
			require.NoError(t, err)
			return st
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			st := x.open()
			up := make(chan struct{})
			var once sync.Once
			done := make(chan error, 1)
			go func() {
				_, err := st.Run(ctx, api.StreamIO{Stdin: newInput2(),
					Stdout: writer(func(p []byte) { once.Do(func() { close(up) }) }), Stderr: writer(func([]byte) {})})
				done <- err
			}()
			<-up
			s.Kill()
			err := <-done
			require.Equal(t, api.CodeUnreachable, api.AsError(err).Code, err)
			if x.name == "plain" {
				require.Contains(t, api.AsError(err).Hint, "it may run on")
			}
			eventually(t, "it is seen to be lost", func() bool { return w.m.State("i-box").Phase != Ready })
			_, err = w.m.Conn(ctx, "i-box", backend.SSHTarget{Host: "box"})
			require.Equal(t, api.CodeUnreachable, code(t, err))
			s.Restart()
			require.NoError(t, poll(func() error {
				_, err := w.m.Conn(ctx, "i-box", backend.SSHTarget{Host: "box"})
				return err
			}))
		})
	}
}

// A machine that goes down ends the session in the middle of what is looked at there, before it ends the line: that is
// no host where nothing can be run.
func TestSessionEndsUnderTheLookAround(t *testing.T) {
	t.Parallel()
	tools := t.TempDir()
	down := filepath.Join(tools, "down")
	require.NoError(t, os.WriteFile(down, nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(tools, "cksum"), fmt.Appendf(nil,
		"#!/bin/sh\n[ ! -e '%s' ] || kill -9 0\necho 1 2\n", down), 0o755))
	s := sshdtest.Start(t, sshdtest.Options{
		ForceCommand: fmt.Sprintf(`PATH='%s':$PATH; export PATH; exec sh -c "$SSH_ORIGINAL_COMMAND"`, tools),
	})
	w := newWorld(t, itself).reach(s)
	c := w.conn(w.ctx(nil), "box")
	_, err := c.EnsureAgent(w.ctx(nil))
	require.Equal(t, api.CodeUnreachable, api.AsError(err).Code, err)
	require.ErrorContains(t, err, "the server ended the session")
	_, broken := c.agent.known()
	require.Nil(t, broken)
	require.NoError(t, os.Remove(down))
	_, err = c.EnsureAgent(w.ctx(nil))
	require.NoError(t, err)
	require.NoError(t, c.RemoveAgent(w.ctx(nil)))
}

func TestLostLineComesBack(t *testing.T) {
	t.Parallel()
	s, w, _, c := box(t, sshdtest.Options{})
	s.Kill()
	eventually(t, "the loss is noticed", func() bool {
		return w.m.State("i-box").Phase == Lost && !w.m.State("i-box").Retry.IsZero()
	})
	s.Restart()
	eventually(t, "the line is back", func() bool { return w.m.State("i-box").Phase == Ready })
	require.False(t, c.alive())
	require.NoError(t, w.conn(w.ctx(nil), "box").Ping(w.ctx(nil)))
	require.Equal(t, 1, s.Connections())

	w.m.Drop("i-box")
	eventually(t, "a dropped line is closed", func() bool { return s.Connections() == 0 })
	require.Equal(t, State{}, w.m.State("i-box"))
}

// TestSilenceIsShort: by default a word is said within 15 s of the last one, and there is time to ask what has become
// of what ran.
func TestSilenceIsShort(t *testing.T) {
	m := NewManager(Options{})
	defer m.Close()
	require.Equal(t, 15*time.Second, m.o.Silence)
	require.LessOrEqual(t, m.o.patience(), m.o.Silence-time.Second)
	require.Less(t, m.o.keepalive(), m.o.patience()/3, "it is asked several times")
}

func TestSilentLineIsGivenUp(t *testing.T) {
	t.Parallel()
	s, w, _, c := box(t, sshdtest.Options{}, func(o *Options) {
		o.Silence, o.Backoff = 250*time.Millisecond, time.Hour
	})
	thaw := s.Freeze()
	defer thaw()
	<-c.Done()
	eventually(t, "the reason is told", func() bool { return w.m.State("i-box").Reason == "it no longer answers" })
}

func TestOneConnectionForAll(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	w := newWorld(t).trust(s)
	w.hosts(s.Stanza("box", w.known), s.Stanza("alias", w.known))
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			_, err := w.m.Conn(w.ctx(nil), fmt.Sprint("i", i), backend.SSHTarget{Host: []string{"box", "alias"}[i%2]})
			require.NoError(t, err)
		})
	}
	wg.Wait()
	require.Equal(t, 1, strings.Count(s.Log(), "Accepted publickey"))
}

// An attempt that nobody could help with must not decide for a caller who can answer.
func TestACallerWithAnswersIsNotTurnedAway(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	port, _ := sshdtest.Relay(t, s.Addr(), 300*time.Millisecond)
	w := newWorld(t)
	w.hosts(stanzaFor(s, w, "box", port))
	first := make(chan error, 1)
	go func() {
		_, err := w.m.Conn(w.ctx(nil), "i", backend.SSHTarget{Host: "box"})
		first <- err
	}()
	eventually(t, "the first connects",
		func() bool { w.m.mu.Lock(); defer w.m.mu.Unlock(); return len(w.m.attempts) == 1 })
	_, err := w.m.Conn(w.ctx(&asked{answers: []string{"yes"}}), "j", backend.SSHTarget{Host: "box"})
	require.NoError(t, err)
	require.Equal(t, api.CodeNoAnswer, code(t, <-first))
}

func TestSlowBanner(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{Banner: strings.Repeat("welcome\n", 2000)})
	port, _ := sshdtest.Relay(t, s.Addr(), 1500*time.Millisecond)
	w := newWorld(t)
	w.hosts(stanzaFor(s, w, "box", port, "StrictHostKeyChecking accept-new"))
	ctx := w.ctx(nil)
	r := plain(t, ctx, w.conn(ctx, "box"), api.ExecRequest{Argv: []string{"echo", "in"}}, "")
	require.Equal(t, "in\n", r.out)
}
