package workspace

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/mem"
	"berth/backend/service/store"
)

// start opens the workspace of a world and returns its shells.
func (w *world) start() (a, b *shell) {
	w.opened, _ = w.open()
	return w.shells[0], w.shells[1]
}

// made makes an instance of a shell.
func (w *world) made(s *shell, name string) api.Instance {
	w.t.Helper()
	op, err := w.opened.Create(s.ctx(w.opened), api.CreateRequest{Name: name})
	require.NoError(w.t, err)
	op = ended(w.t, w.opened, op)
	require.Equal(w.t, api.OpSucceeded, op.State, op.Error)
	in, err := w.opened.Instance(context.Background(), name)
	require.NoError(w.t, err)
	return in
}

// TestAnothersInstanceIsNotChanged tries all that changes an instance under another account: nothing is asked of the
// provider but the account, nothing is stored, and the refusal says both accounts and how to sign in.
func TestAnothersInstanceIsNotChanged(t *testing.T) {
	w := newWorld(t, newLines(t), true)
	a, b := w.start()
	in := w.made(a, "a-1")
	require.Equal(t, "111", in.Account)
	before, err := w.opened.Events(t.Context(), api.EventOptions{})
	require.NoError(t, err)
	calls := w.mem.Calls()
	ws, ctx := w.opened, b.ctx(w.opened)
	for name, f := range map[string]func() error{
		"start":   func() error { _, err := ws.Action(ctx, "a-1", "start", api.ActionRequest{}); return err },
		"stop":    func() error { _, err := ws.Action(ctx, "a-1", "stop", api.ActionRequest{Force: true}); return err },
		"restart": func() error { _, err := ws.Action(ctx, "a-1", "restart", api.ActionRequest{}); return err },
		"delete":  func() error { _, err := ws.Action(ctx, "a-1", "delete", api.ActionRequest{}); return err },
		"setup": func() error {
			_, err := ws.Setups.Begin(ctx, "a-1", api.SetupRequest{Setup: "true"})
			return err
		},
		"snapshot": func() error {
			_, err := ws.Snapshots.Take(ctx, "a-1", api.SnapshotRequest{Name: "one"})
			return err
		},
		"restore": func() error {
			_, err := ws.Snapshots.Restore(ctx, "a-1", api.SnapshotRequest{Name: "one"})
			return err
		},
		"snapshot rm": func() error { return ws.Snapshots.Delete(ctx, "a-1", "one") },
		"image": func() error {
			_, err := ws.Images.Build(ctx, api.ImageRequest{From: "a-1", Name: "mine"})
			return err
		},
		"clone":   func() error { _, err := ws.Create(ctx, api.CreateRequest{Name: "b-1", From: "a-1"}); return err },
		"console": func() error { _, err := ws.Catalogue.Console(ctx, "a-1"); return err },
	} {
		err := f()
		require.Error(t, err, name)
		e := api.AsError(err)
		require.Equal(t, api.CodeForbidden, e.Code, "%s: %v", name, err)
		require.Contains(t, e.Message, "111", name)
		require.Contains(t, e.Message, "222", name)
		require.Contains(t, e.Hint, "AWS_PROFILE=a", name)
	}
	after, err := w.opened.Events(t.Context(), api.EventOptions{})
	require.NoError(t, err)
	require.Equal(t, before, after)
	now := w.mem.Calls()
	now["Account"] = calls["Account"]
	require.Equal(t, calls, now)
	require.Empty(t, mem.Violations(w.mem))
	same, err := w.opened.Instance(context.Background(), "a-1")
	require.NoError(t, err)
	require.Equal(t, in.State, same.State)

	// Who can't sign in at all is told so.
	nobody := newShell("c", "333")
	_, err = ws.Action(nobody.ctx(ws), "a-1", "stop", api.ActionRequest{})
	require.Equal(t, api.CodeAuth, api.AsError(err).Code)
	_, err = ws.Create(nobody.ctx(ws), api.CreateRequest{Name: "c-1"})
	require.Equal(t, api.CodeAuth, api.AsError(err).Code)
	_, err = ws.Reconciler.Refresh(nobody.ctx(ws), "a-1")
	require.Equal(t, api.CodeAuth, api.AsError(err).Code)
}

// TestAnInstanceOfAnUnknownAccount, which an older build made, gets its account from the first list or look that has
// it. A list without it says that nothing is known.
func TestAnInstanceOfAnUnknownAccount(t *testing.T) {
	w := newWorld(t, newLines(t), false)
	a, b := w.start()
	for _, name := range []string{"a-1", "a-2", "a-3"} {
		in := w.made(a, name)
		require.NoError(t, w.opened.keep(t.Context(), in.ID, func(rec *store.Instance) { rec.Account = "" }))
	}
	w.opened.Reconciler.Reconcile(b.ctx(w.opened))
	in, err := w.opened.Instance(context.Background(), "a-1")
	require.NoError(t, err)
	require.Equal(t, api.StateUnknown, in.State)
	require.Contains(t, in.StateReason, "not in 222")
	_, err = w.opened.Action(b.ctx(w.opened), "a-1", "stop", api.ActionRequest{})
	require.Equal(t, api.CodeForbidden, api.AsError(err).Code)
	op, err := w.opened.Action(b.ctx(w.opened), "a-3", "delete", api.ActionRequest{})
	require.NoError(t, err)
	require.Equal(t, api.OpSucceeded, ended(t, w.opened, op).State, "it can be forgotten")
	_, err = w.opened.Reconciler.Refresh(a.ctx(w.opened), "a-1")
	require.NoError(t, err)
	w.opened.Reconciler.Reconcile(a.ctx(w.opened))
	for _, name := range []string{"a-1", "a-2"} {
		in, err = w.opened.Instance(context.Background(), name)
		require.NoError(t, err)
		require.Equal(t, "111", in.Account)
		require.Equal(t, api.StateRunning, in.State)
	}
}

// TestWhoOneIsInEachAccount: people are known by account, without the name of a session, and what a list has that
// nobody knows is taken in with its account.
func TestWhoOneIsInEachAccount(t *testing.T) {
	w := newWorld(t, newLines(t), false)
	for i, s := range w.shells {
		w.mem.Accounts[s.name] = mem.Account{ID: s.account, Me: []string{"arn:aws:sts::111:assumed-role/Admin/s-1", "anna"}[i]}
	}
	a, b := w.start()
	for s, me := range map[*shell]string{a: "arn:aws:sts::111:assumed-role/Admin", b: "anna"} {
		w.made(s, s.name+"-1")
		for _, info := range w.opened.Catalogue.Backends(s.ctx(w.opened)) {
			require.Equal(t, me, info.Whoami)
		}
	}
	_, err := w.mem.Create(b.ctx(w.opened), backend.Spec{Token: "op-9", Name: "b-9",
		Tags: map[string]string{backend.TagWorkspace: w.opened.id}})
	require.NoError(t, err)
	w.opened.Reconciler.Reconcile(t.Context())
	in, err := w.opened.Instance(context.Background(), "b-9")
	require.NoError(t, err)
	require.Equal(t, "222", in.Account)
	for _, c := range w.opened.Doctor.Check(b.ctx(w.opened)) {
		if c.Area == "backend" && c.Name == "mem" && c.Status == "ok" {
			require.Equal(t, "acts for anna in the account 222", c.Message)
		}
	}
}

// TestAProfileThatHasMoved signs in to another account from one call to the next: what was there is not gone, and what
// is made is made there.
func TestAProfileThatHasMoved(t *testing.T) {
	w := newWorld(t, newLines(t), false)
	a, _ := w.start()
	w.made(a, "a-1")
	mem.Move(w.mem, "a", mem.Account{ID: "222"})
	require.Equal(t, "222", w.made(a, "a-2").Account)
	mem.Move(w.mem, "a", mem.Account{ID: "333"})
	w.opened.Reconciler.Reconcile(a.ctx(w.opened))
	w.opened.Reconciler.Reconcile(t.Context())
	_, err := w.opened.Reconciler.Refresh(a.ctx(w.opened), "a-1")
	require.NoError(t, err)
	for _, in := range w.opened.Instances(context.Background(), api.ListOptions{}) {
		require.Equal(t, api.StateRunning, in.State, "%s: %s", in.Name, in.StateReason)
	}
	_, err = w.opened.Action(a.ctx(w.opened), "a-1", "delete", api.ActionRequest{})
	require.Equal(t, api.CodeForbidden, api.AsError(err).Code)
	require.Empty(t, mem.Violations(w.mem))
}

// TestAProfileThatMoves signs in to another account in the middle of a deletion: that the machine is not there proves
// nothing.
func TestAProfileThatMoves(t *testing.T) {
	w := newWorld(t, newLines(t), false)
	w.mem.Delay = time.Hour
	a, _ := w.start()
	in := api.Instance{}
	_, err := w.opened.Create(a.ctx(w.opened), api.CreateRequest{Name: "a-1"})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		in, err = w.opened.Instance(context.Background(), "a-1")
		return err == nil && in.ProviderID != ""
	}, time.Minute, time.Millisecond)
	moved := make(chan struct{})
	w.mem.After = func(_ context.Context, method string) error {
		if method == "Delete" {
			mem.Move(w.mem, "a", mem.Account{ID: "222"})
			close(moved)
		}
		return nil
	}
	op, err := w.opened.Action(a.ctx(w.opened), "a-1", "delete", api.ActionRequest{})
	require.NoError(t, err)
	<-moved
	op = ended(t, w.opened, op)
	require.Equal(t, api.OpFailed, op.State)
	require.Equal(t, api.CodeForbidden, op.Error.Code)
	_, err = w.opened.Instance(context.Background(), "a-1")
	require.NoError(t, err, "it is not forgotten")
	account, ok := mem.AccountOf(w.mem, in.ProviderID)
	require.True(t, ok)
	require.Equal(t, "111", account)
}

// TestParkedStart ends the daemon in the middle of a start whose credentials nobody keeps.
func TestParkedStart(t *testing.T) {
	for _, ends := range []string{"a call", "a deletion", "the account"} {
		t.Run(ends, func(t *testing.T) {
			w := newWorld(t, newLines(t), true)
			a, b := w.start()
			in := w.made(a, "a-1")
			op, err := w.opened.Action(a.ctx(w.opened), "a-1", "stop", api.ActionRequest{})
			require.NoError(t, err)
			ended(t, w.opened, op)
			w.mem.Delay = time.Hour // it is under way
			op, err = w.opened.Action(a.ctx(w.opened), "a-1", "start", api.ActionRequest{})
			require.NoError(t, err)
			require.Equal(t, 1, w.opened.Busy())
			w.opened.Close()
			w.mem.Delay = 0
			parked := func() bool {
				now, err := w.opened.Operation(t.Context(), op.ID)
				require.NoError(t, err)
				for _, s := range now.Steps {
					if s.State == api.OpRunning && s.Message == "needs AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, HTTPS_PROXY, "+
						"which the call that asked for it had: any berth call with it goes on" {
						return w.opened.operations.Parked() == 1
					}
				}
				return false
			}
			w.opened, _ = w.open()
			require.Eventually(t, parked, time.Minute, time.Millisecond)
			require.Zero(t, w.opened.Busy(), "no daemon stays for it")
			b.ctx(w.opened)
			w.opened.Reconciler.Reconcile(t.Context())
			require.True(t, parked())
			switch ends {
			case "a call":
				w.mem.Put(api.StateRunning)
				a.ctx(w.opened)
				op = ended(t, w.opened, op)
				require.Equal(t, api.OpSucceeded, op.State, op.Error)
			case "a deletion":
				del, err := w.opened.Action(a.ctx(w.opened), "a-1", "delete", api.ActionRequest{})
				require.NoError(t, err)
				require.Equal(t, api.OpSucceeded, ended(t, w.opened, del).State)
				_, ok := mem.AccountOf(w.mem, in.ProviderID)
				require.False(t, ok)
			case "the account":
				mem.Move(w.mem, "a", mem.Account{ID: "222", Key: a.env["AWS_SECRET_ACCESS_KEY"]})
				w.pass(2 * accountFresh)
				a.ctx(w.opened)
				require.Eventually(t, func() bool {
					now, err := w.opened.Operation(t.Context(), op.ID)
					require.NoError(t, err)
					return w.opened.operations.Parked() == 1 && !now.State.Done()
				}, time.Minute, time.Millisecond)
			}
			require.Empty(t, mem.Violations(w.mem))
		})
	}
}

// TestWhoIsThereIsToldAtOnce: an operation that was not resumed fails where the provider signs nobody in any more.
func TestWhoIsThereIsToldAtOnce(t *testing.T) {
	w := newWorld(t, newLines(t), true)
	a, _ := w.start()
	w.made(a, "a-1")
	w.mem.Hook = func(_ context.Context, method string) error {
		if method == "Stop" {
			return api.Errorf(api.CodeAuth, "the session has expired")
		}
		return nil
	}
	op, err := w.opened.Action(a.ctx(w.opened), "a-1", "stop", api.ActionRequest{})
	require.NoError(t, err)
	op = ended(t, w.opened, op)
	require.Equal(t, api.OpFailed, op.State)
	require.Equal(t, api.CodeAuth, op.Error.Code)
}

// TestTheNextDaemonKnowsHowAnAccountWasCalled, and nothing secret of it.
func TestTheNextDaemonKnowsHowAnAccountWasCalled(t *testing.T) {
	w := newWorld(t, newLines(t), false)
	a, b := w.start()
	w.made(a, "a-1")
	w.made(b, "b-1")
	later := &shell{a.name, a.account, map[string]string{"AWS_PROFILE": "a", "PATH": "/new"}}
	later.ctx(w.opened)
	_, err := w.opened.Reconciler.Refresh(later.ctx(w.opened), "a-1")
	require.NoError(t, err)
	w.opened.Close()
	w.opened, _ = w.open()
	for account, want := range map[string]map[string]string{"111": {"AWS_PROFILE": "a", "PATH": "/new"}, "222": b.kept(),
		"333": {"AWS_PROFILE": "nobody", "PATH": "/sbin"}} {
		require.Equal(t, want, w.opened.accounts.environment("mem", account))
	}
	doc, err := w.opened.opts.Store.Setting(t.Context(), callsKey)
	require.NoError(t, err)
	require.NotContains(t, doc, secret)
	require.True(t, json.Valid([]byte(doc)))
}

// TestAWatchersOwnEnvironmentLooks: while somebody whose credentials nobody keeps looks at the fleet, its machines are
// looked at with these; afterwards nothing is known anew, and nothing is called lost.
func TestAWatchersOwnEnvironmentLooks(t *testing.T) {
	w := newWorld(t, newLines(t), true)
	a, _ := w.start()
	w.made(a, "a-1")
	leave := w.opened.Reconciler.Watch(a.ctx(w.opened))
	w.mem.Put(api.StateStopped)
	w.opened.Reconciler.Reconcile(t.Context())
	in, err := w.opened.Instance(context.Background(), "a-1")
	require.NoError(t, err)
	require.Equal(t, api.StateStopped, in.State)
	leave()
	w.mem.Put(api.StateRunning)
	w.opened.Reconciler.Reconcile(t.Context())
	in, err = w.opened.Instance(context.Background(), "a-1")
	require.NoError(t, err)
	require.Equal(t, api.StateStopped, in.State)
	// Nor by a daemon that does not know how the account was called.
	w.opened.accounts.mu.Lock()
	clear(w.opened.accounts.calls)
	w.opened.accounts.mu.Unlock()
	w.opened.Reconciler.Reconcile(t.Context())
	require.Error(t, w.opened.observe(w.opened.background(t.Context()), in.ID, nil, false))
	in, err = w.opened.Instance(context.Background(), "a-1")
	require.NoError(t, err)
	require.Equal(t, api.StateStopped, in.State, in.StateReason)
}
