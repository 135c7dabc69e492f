package ssh

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/transport/ssh/sshdtest"
)

// A server that is busy with others (MaxStartups) is tried again, by our client and by the user's own.
func TestABusyServerIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"", "openssh"} {
		t.Run("transport "+transport, func(t *testing.T) {
			t.Parallel()
			s := sshdtest.Start(t, sshdtest.Options{Lines: []string{"MaxStartups 1:100:1"}})
			w := newWorld(t, func(o *Options) { o.Backoff = time.Second }).reach(s)
			other, err := net.Dial("tcp", s.Addr()) // somebody who is slow to sign in
			require.NoError(t, err)
			_, err = other.Read(make([]byte, 1))
			require.NoError(t, err)
			done := make(chan error, 1)
			go func() {
				_, err := w.m.Conn(w.ctx(nil), "i-box", backend.SSHTarget{Host: "box", Transport: transport})
				done <- err
			}()
			eventually(t, "the server refuses", func() bool { return strings.Contains(s.Log(), "drop connection") })
			require.NoError(t, other.Close())
			require.NoError(t, <-done)
		})
	}
}

// One that refuses always is tried six times, and one that does not let somebody in once.
func TestHowOftenAServerIsTried(t *testing.T) {
	t.Parallel()
	var came atomic.Int32
	full := sshdtest.Accept(t, func(c net.Conn) {
		came.Add(1)
		_, _ = c.Write([]byte("Exceeded MaxStartups\r\n"))
		_ = c.Close()
	})
	s := sshdtest.Start(t, sshdtest.Options{Authorized: []*sshdtest.Key{}})
	s.Key = sshdtest.NewKey(t, "ed25519", "")
	w := newWorld(t).trust(s)
	w.hosts(stanzaFor(s, w, "full", full), s.Stanza("closed", w.known))
	ctx, cancel := context.WithCancel(w.ctx(nil))
	defer cancel()
	_, err := w.m.Conn(ctx, "i-full", backend.SSHTarget{Host: "full"})
	require.Equal(t, api.CodeUnreachable, code(t, err))
	require.ErrorContains(t, err, "6 times in a row")
	require.EqualValues(t, 1+busyTries, came.Load())

	_, err = w.m.Conn(ctx, "i-closed", backend.SSHTarget{Host: "closed"})
	require.Equal(t, api.CodeAuth, code(t, err))
	require.Equal(t, 1, strings.Count(s.Log(), "Connection from "))
}

// One that says nothing is given up after its limit, once: it is not busy, also where our own end of the wait is seen
// as the end of a command or of a jump host's channel.
func TestAServerThatSaysNothingIsTriedOnce(t *testing.T) {
	t.Parallel()
	var came atomic.Int32
	port := sshdtest.Accept(t, func(net.Conn) { came.Add(1) })
	exe, err := os.Executable()
	require.NoError(t, err)
	s := sshdtest.Start(t, sshdtest.Options{})
	w := newWorld(t).trust(s)
	w.hosts(s.Stanza("jump", w.known),
		stanzaFor(s, w, "direct", port, "ConnectTimeout 1"),
		stanzaFor(s, w, "command", port, "ConnectTimeout 1", fmt.Sprintf("ProxyCommand %s relay %%h %%p", exe)),
		stanzaFor(s, w, "behind", port, "ConnectTimeout 1", "ProxyJump jump"))
	for n, host := range []string{"direct", "command", "behind"} {
		_, err := w.m.Conn(w.ctx(nil), "i-"+host, backend.SSHTarget{Host: host})
		require.Equal(t, api.CodeUnreachable, code(t, err), host)
		require.ErrorContains(t, err, "no answer within 1s", host)
		require.EqualValues(t, n+1, came.Load(), host)
	}
}
