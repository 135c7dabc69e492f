package ssh

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/transport/ssh/sshdtest"
)

// asks is a caller who is asked by ask.
func (w *world) asks(client string, ask func(context.Context, api.Question) (string, error)) context.Context {
	c := *backend.CallerFrom(w.ctx(nil))
	c.Client, c.Ask = client, ask
	return backend.WithCaller(w.t.Context(), &c)
}

func unanswered(q api.Question) error {
	return api.Errorf(api.CodeNoAnswer, "%s: nobody answered", q.Title).WithHint("answer")
}

// A question that is not answered ends the attempt: nothing else is tried or asked, nor is it asked again where the
// server has lost its patience meanwhile.
func TestAnUnansweredQuestionEndsTheAttempt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		key   string
		known bool
		line  string
		want  string
	}{
		"passphrase":                        {"open sesame", true, "PasswordAuthentication yes", "passphrase"},
		"passphrase, the server hangs up":   {"open sesame", true, "LoginGraceTime 1", "passphrase"},
		"password":                          {"", true, "AuthenticationMethods password", "code"},
		"password, with further tries":      {"", true, "AuthenticationMethods publickey,password", "code"},
		"host key":                          {"", false, "PasswordAuthentication yes", "host key"},
		"host key, and the server hangs up": {"", false, "LoginGraceTime 1", "host key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := sshdtest.NewKey(t, "ed25519", c.key)
			s := sshdtest.Start(t, sshdtest.Options{Authorized: []*sshdtest.Key{k}, Lines: []string{c.line,
				"PasswordAuthentication yes"}})
			w := newWorld(t)
			if c.known {
				w.trust(s)
			}
			w.hosts(s.Stanza("box", w.known))
			var asked atomic.Int64
			ctx := w.asks("c1", func(ctx context.Context, q api.Question) (string, error) {
				asked.Add(1)
				if strings.Contains(c.line, "Grace") {
					eventually(t, "the server hangs up", func() bool { return s.Connections() == 0 })
				}
				return "", unanswered(q)
			})
			_, err := w.m.Conn(ctx, "i-box", backend.SSHTarget{Host: "box"})
			require.Equal(t, api.CodeNoAnswer, code(t, err), err)
			require.Contains(t, err.Error(), "nobody answered")
			require.EqualValues(t, 1, asked.Load())
			require.Equal(t, c.want, w.m.State("i-box").Reason)
			eventually(t, "no connection is left", func() bool { return s.Connections() == 0 })
		})
	}
}

// Of two callers that want one host, the second is asked itself where the first does not answer.
func TestWhoDoesNotAnswerStopsNobodyElse(t *testing.T) {
	t.Parallel()
	k := sshdtest.NewKey(t, "ed25519", "open sesame")
	s := sshdtest.Start(t, sshdtest.Options{Authorized: []*sshdtest.Key{k}})
	w := newWorld(t).reach(s)
	at, leave := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		_, err := w.m.Conn(w.asks("c1", func(_ context.Context, q api.Question) (string, error) {
			close(at)
			<-leave
			return "", unanswered(q)
		}), "i-1", backend.SSHTarget{Host: "box"})
		first <- err
	}()
	<-at
	second := make(chan error, 1)
	go func() {
		_, err := w.m.Conn(w.asks("c2", func(context.Context, api.Question) (string, error) { return "open sesame", nil }),
			"i-2", backend.SSHTarget{Host: "box"})
		second <- err
	}()
	eventually(t, "the second waits for the first", func() bool { return w.m.State("i-2").Phase == Connecting })
	time.Sleep(20 * time.Millisecond) // it is about to
	close(leave)
	require.Equal(t, api.CodeNoAnswer, code(t, <-first))
	require.NoError(t, <-second)
}

// A caller who goes while a question waits ends the attempt.
func TestACallerWhoGoesEndsTheAttempt(t *testing.T) {
	t.Parallel()
	k := sshdtest.NewKey(t, "ed25519", "open sesame")
	s := sshdtest.Start(t, sshdtest.Options{Authorized: []*sshdtest.Key{k}})
	w := newWorld(t).reach(s)
	at := make(chan struct{})
	ctx, cancel := context.WithCancel(w.asks("c1", func(ctx context.Context, _ api.Question) (string, error) {
		close(at)
		<-ctx.Done()
		return "", context.Cause(ctx)
	}))
	ended := make(chan error, 1)
	go func() {
		_, err := w.m.Conn(ctx, "i-box", backend.SSHTarget{Host: "box"})
		ended <- err
	}()
	<-at
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	eventually(t, "no connection is left", func() bool { return s.Connections() == 0 })
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	require.Empty(t, w.m.attempts)
}
