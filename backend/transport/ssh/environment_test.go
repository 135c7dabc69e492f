package ssh

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/transport/ssh/sshdtest"
)

// byAgent is the stanza of a host that is signed in to with what an ssh-agent has.
func byAgent(w *world, alias string, k *sshdtest.Key, port int, s *sshdtest.Server, more ...string) string {
	more = append(more, "StrictHostKeyChecking accept-new")
	x := strings.Replace(stanzaFor(s, w, alias, port, more...), "IdentityAgent none", "IdentityAgent SSH_AUTH_SOCK", 1)
	x = strings.Replace(x, "IdentitiesOnly yes", "IdentitiesOnly no", 1)
	return strings.Replace(x, "IdentityFile "+k.File, "IdentityFile /nonexistent", 1)
}

// TestNobodyFailsByAnothersAgent has calls with and without an ssh-agent reach one slow host at the same moment,
// straight and through a jump host: each gets in, or does not, by what it has itself.
func TestNobodyFailsByAnothersAgent(t *testing.T) {
	t.Parallel()
	k := sshdtest.NewKey(t, "ed25519", "")
	s := sshdtest.Start(t, sshdtest.Options{Authorized: []*sshdtest.Key{k}})
	sock := sshAgent(t, "", k)
	port, _ := sshdtest.Relay(t, s.Addr(), 300*time.Millisecond)
	for _, jump := range []bool{false, true} {
		for _, withFirst := range []bool{false, true} {
			t.Run(fmt.Sprintf("jump=%v,first=%v", jump, withFirst), func(t *testing.T) {
				w := newWorld(t).trust(s)
				stanzas := []string{byAgent(w, "box", k, port, s)}
				if jump {
					stanzas = append(stanzas, byAgent(w, "inner", k, s.Port, s, "ProxyJump box"))
				}
				w.hosts(stanzas...)
				host := map[bool]string{false: "box", true: "inner"}[jump]
				errs := map[bool]error{}
				var mu sync.Mutex
				var wg sync.WaitGroup
				reach := func(with bool) {
					env := "SSH_AUTH_SOCK=/nonexistent"
					if with {
						env = "SSH_AUTH_SOCK=" + sock
					}
					_, err := w.m.Conn(w.ctx(nil, env), fmt.Sprint("i-", with), backend.SSHTarget{Host: host})
					mu.Lock()
					defer mu.Unlock()
					errs[with] = err
				}
				wg.Go(func() { reach(withFirst) })
				eventually(t, "the first is under way", func() bool {
					w.m.mu.Lock()
					defer w.m.mu.Unlock()
					return len(w.m.attempts) > 0
				})
				wg.Go(func() { reach(!withFirst) })
				wg.Wait()
				require.NoError(t, errs[true])
				if errs[false] != nil { // it shares the other's connection where that was there in time
					require.Contains(t, []api.Code{api.CodeAuth, api.CodeUnreachable}, code(t, errs[false]))
				}
			})
		}
	}
}

// TestALostLineComesBackAsItWasMade: a call without an agent that uses a connection which is there changes nothing in
// how it is made again, and nothing secret is kept for it.
func TestALostLineComesBackAsItWasMade(t *testing.T) {
	t.Parallel()
	k := sshdtest.NewKey(t, "ed25519", "")
	s := sshdtest.Start(t, sshdtest.Options{Authorized: []*sshdtest.Key{k}})
	sock := sshAgent(t, "", k)
	w := newWorld(t).trust(s)
	w.hosts(byAgent(w, "box", k, s.Port, s))
	c := w.conn(w.ctx(nil, "SSH_AUTH_SOCK="+sock, "AWS_SECRET_ACCESS_KEY=secret"), "box")
	require.Same(t, c, w.conn(w.ctx(nil), "box"), "it is shared")
	s.Disconnect()
	<-c.Done()
	var env map[string]string
	eventually(t, "the line is back", func() bool {
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		l := w.m.lines["i-box"]
		env = l.env
		return l.conn != nil && l.conn != c
	})
	require.Equal(t, map[string]string{"SSH_AUTH_SOCK": sock, "BERTH_SSH_CONFIG": w.config}, env)
}

// TestTheBackgroundReachesALineAsItWasMade, though the last call had no agent.
func TestTheBackgroundReachesALineAsItWasMade(t *testing.T) {
	t.Parallel()
	k := sshdtest.NewKey(t, "ed25519", "")
	s := sshdtest.Start(t, sshdtest.Options{Authorized: []*sshdtest.Key{k}})
	w := newWorld(t, func(o *Options) { o.Backoff = time.Hour }).trust(s)
	w.hosts(byAgent(w, "box", k, s.Port, s))
	c := w.conn(w.ctx(nil, "SSH_AUTH_SOCK="+sshAgent(t, "", k)), "box")
	s.Disconnect()
	<-c.Done()
	ctx := backend.WithCaller(context.Background(), &backend.Caller{Principal: backend.System,
		Env: map[string]string{"BERTH_SSH_CONFIG": w.config}})
	_, err := w.m.Conn(ctx, "i-box", backend.SSHTarget{Host: "box"})
	require.NoError(t, err)
}

// TestACallThatFailsLeavesTheLineToOthers: the line to a host that was away comes back by itself, as it was made,
// though somebody without an agent called meanwhile.
func TestACallThatFailsLeavesTheLineToOthers(t *testing.T) {
	t.Parallel()
	k := sshdtest.NewKey(t, "ed25519", "")
	s := sshdtest.Start(t, sshdtest.Options{Authorized: []*sshdtest.Key{k}})
	w := newWorld(t).trust(s)
	w.hosts(byAgent(w, "box", k, s.Port, s))
	c := w.conn(w.ctx(nil, "SSH_AUTH_SOCK="+sshAgent(t, "", k)), "box")
	s.Kill()
	<-c.Done()
	is := func(f func(l *line) bool) func() bool {
		return func() bool {
			w.m.mu.Lock()
			defer w.m.mu.Unlock()
			return f(w.m.lines["i-box"])
		}
	}
	eventually(t, "it is tried again", is(func(l *line) bool { return l.retry != nil }))
	_, err := w.m.Conn(w.ctx(nil), "i-box", backend.SSHTarget{Host: "box"})
	require.Error(t, err)
	s.Restart()
	eventually(t, "the line is back", is(func(l *line) bool { return l.conn != nil && l.conn != c }))
}

// TestAProxyCommandHasTheCallersVariablesOnly: what this process has in its own environment is nobody's who calls.
func TestAProxyCommandHasTheCallersVariablesOnly(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "the daemon's")
	t.Setenv("SSH_AUTH_SOCK", "/the/daemons")
	t.Setenv("LANG", "C.UTF-8")
	s := sshdtest.Start(t, sshdtest.Options{})
	out := filepath.Join(t.TempDir(), "env")
	w := newWorld(t).trust(s)
	w.hosts(s.Stanza("box", w.known, fmt.Sprintf("ProxyCommand env > %s; exec nc %s %d", out, s.Host, s.Port)))
	ctx := backend.WithCaller(t.Context(), &backend.Caller{Env: map[string]string{"BERTH_SSH_CONFIG": w.config,
		"AWS_PROFILE": "mine"}})
	_, _ = w.m.Conn(ctx, "i-box", backend.SSHTarget{Host: "box"}) // there may be no nc
	b, err := os.ReadFile(out)
	require.NoError(t, err)
	require.Contains(t, string(b), "AWS_PROFILE=mine\n")
	require.Contains(t, string(b), "LANG=C.UTF-8\n")
	require.Contains(t, string(b), "PATH=")
	require.NotContains(t, string(b), "daemon")
}
