package workspace

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/store"
)

// TestHostKeyIsRenewed: the new key is pinned before it is in use, and alone after that. What the machine can't
// do leaves the first key; an agent that is too old is asked again later.
func TestHostKeyIsRenewed(t *testing.T) {
	const public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n"
	const print = "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA"
	for name, c := range map[string]struct {
		answer func(step string) (api.HostKey, error)
		keys   string
		sealed bool
		kept   string // why the first one stays
		level  string // of the event of the operation's end
	}{
		"made":  {func(string) (api.HostKey, error) { return api.HostKey{PublicKey: public}, nil }, print, true, "", "info"},
		"older": {nil, "SHA256:first", false, "", "warn"},
		"no root": {func(string) (api.HostKey, error) {
			return api.HostKey{}, api.Errorf(api.CodeForbidden,
				"renewing the host key needs root, which can't be had here without a question (sudo: a password is required)")
		}, "SHA256:first", false, "keeps the host key that was handed in with its first boot: renewing the host key needs root", "info"},
		"no sshd": {func(step string) (api.HostKey, error) {
			if step == api.HostKeyUse {
				return api.HostKey{}, api.Errorf(api.CodeFailed, "the script ended with exit status 1")
			}
			return api.HostKey{PublicKey: public}, nil
		}, "SHA256:first," + print, false, "exit status 1", "info"},
		"leaving": {func(string) (api.HostKey, error) {
			return api.HostKey{}, api.Errorf(api.CodeConflict, "the agent is being replaced or stopped")
		}, "SHA256:first", false, "", "warn"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			e.mem.Line = backend.Line{SSH: &backend.SSHTarget{Host: "192.0.2.1", Made: true}}
			e.opts = func(o *Options) { o.Limits.Agent = 30 * time.Second }
			w, _ := e.open()
			in := e.create(w, "vision")
			var mu sync.Mutex
			var steps []string
			var pinned []string // what was pinned at each step
			e.lines.setup.mu.Lock()
			if c.answer != nil {
				e.lines.setup.hostKey = func(step string) (api.HostKey, error) {
					rec, err := w.Record(in.ID)
					if err != nil {
						return api.HostKey{}, err
					}
					mu.Lock()
					defer mu.Unlock()
					steps, pinned = append(steps, step), append(pinned, rec.HostKeys)
					return c.answer(step)
				}
			}
			e.lines.setup.mu.Unlock()
			require.NoError(t, w.keep(t.Context(), in.ID, func(rec *store.Instance) { rec.HostKeys = "SHA256:first" }))
			op, err := w.Action(e.ctx(), "vision", "restart", api.ActionRequest{})
			require.NoError(t, err)
			require.Equal(t, api.OpSucceeded, ended(t, w, op).State)
			var end *api.Event
			require.Eventually(t, func() bool {
				evs, err := w.Events(e.ctx(), api.EventOptions{})
				require.NoError(t, err)
				for _, ev := range evs {
					if ev.Kind == "operation.done" && strings.HasPrefix(ev.Message, opHostKey) {
						end = &ev
					}
				}
				return end != nil
			}, 2*time.Minute, 10*time.Millisecond)
			require.Equal(t, c.level, end.Level, end.Message)
			rec, err := w.Record(in.ID)
			require.NoError(t, err)
			require.Equal(t, c.keys, rec.HostKeys)
			require.Equal(t, c.sealed, rec.Sealed)
			if c.kept == "" {
				require.Empty(t, rec.KeyKept)
			} else {
				require.Contains(t, rec.KeyKept, c.kept)
			}
			mu.Lock()
			defer mu.Unlock()
			switch name {
			case "made":
				require.Equal(t, []string{api.HostKeyNew, api.HostKeyUse}, steps)
				require.Equal(t, []string{"SHA256:first", "SHA256:first," + print}, pinned, "both count until it is in use")
				require.Equal(t, 1, e.mem.Calls()["Seal"])
			case "older":
				require.Contains(t, end.Message, "the agent there is older than this Berth and can't renew a host key")
			}
		})
	}
}
