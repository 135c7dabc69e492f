package workspace

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/machine/keys"
	"berth/backend/mem"
)

// tagging is a provider whose tags can be changed.
type tagging struct{ *mem.Backend }

func (t tagging) Retag(ctx context.Context, ref backend.Ref, tags map[string]string) error {
	m, err := t.Get(ctx, ref)
	if err != nil {
		return err
	}
	m.Tags = tags
	t.Add(m)
	return nil
}

// home opens another home's workspace at the provider of e.
func (e *env) home(t *testing.T) *Workspace {
	o := &env{t: e.t, path: filepath.Join(t.TempDir(), "x.db"), mem: e.mem, lines: e.lines}
	o.opts = func(o *Options) {
		o.Backends = map[string]backend.Backend{"mem": tagging{e.mem}}
		o.KeyPath = filepath.Join(t.TempDir(), "keys", "workspace")
	}
	w, _ := o.open()
	return w
}

// names are those of the fleet after a look.
func (e *env) names(w *Workspace) (out []string) {
	w.Reconciler.Reconcile(e.ctx())
	for _, in := range w.Instances(e.ctx(), api.ListOptions{}) {
		out = append(out, in.Name)
	}
	return out
}

// said is what doctor says of machines and leftovers that no instance has.
func (e *env) said(w *Workspace) (out []api.Check) {
	for _, c := range w.Doctor.Check(e.ctx()) {
		if c.Area == "leftover" || strings.Contains(c.Message, "machine ") {
			out = append(out, c)
		}
	}
	return out
}

func TestTwoHomesJoin(t *testing.T) {
	e := newEnv(t)
	e.mem.Line = backend.Line{SSH: &backend.SSHTarget{Host: "127.0.0.1", Port: 2222, User: "debian", Made: true}}
	a, b := e.home(t), e.home(t)
	e.create(a, "from-a")
	e.create(b, "from-b")
	require.Equal(t, []string{"from-a"}, e.names(a))
	require.Equal(t, []string{"from-b"}, e.names(b))
	for _, w := range []*Workspace{a, b} {
		said := e.said(w)
		require.Len(t, said, 1)
		require.Contains(t, said[0].Message, "another home")
		require.Empty(t, said[0].OrphanID, "it is shown, never offered for deletion")
	}

	id, _ := a.IDs()
	was, _ := b.IDs()
	for _, bad := range []string{"", "x", id + "0", strings.ToUpper(id[:15]) + "g", "../../" + id} {
		_, err := b.Membership.Join(e.ctx(), api.JoinRequest{ID: bad})
		require.ErrorIs(t, err, &api.Error{Code: api.CodeUsage}, bad)
	}
	j, err := b.Membership.Join(e.ctx(), api.JoinRequest{ID: id})
	require.NoError(t, err)
	require.Equal(t, api.Joined{ID: id, Former: []string{was}, Imported: []string{"from-a"}}, j)
	both := []string{"from-a", "from-b"}
	require.Equal(t, both, e.names(b))
	require.Equal(t, both, e.names(a), "what the other made before has the tag of the workspace now")
	for _, w := range []*Workspace{a, b} {
		require.Empty(t, e.said(w), "nobody's machine is called left behind")
	}
	again, err := b.Membership.Join(e.ctx(), api.JoinRequest{ID: id})
	require.NoError(t, err)
	require.Equal(t, j, again, "it joins once")
	other, err := b.Record("from-a")
	require.NoError(t, err)
	require.True(t, other.Foreign)
	require.Contains(t, other.Notes, foreignNote)
	require.False(t, other.Line.SSH.Made, "it is known as any host is: nobody told this home its key")
	require.Empty(t, other.Line.SSH.IdentityFile)
	own, err := b.Record("from-b")
	require.NoError(t, err)
	require.True(t, own.Line.SSH.Made)

	// The key of the other home, where it is handed over.
	_, err = b.Membership.Join(e.ctx(), api.JoinRequest{ID: id, KeyPath: filepath.Join(t.TempDir(), "none")})
	require.ErrorIs(t, err, &api.Error{Code: api.CodeUsage})
	_, err = b.Membership.Join(e.ctx(), api.JoinRequest{ID: id, KeyPath: a.opts.KeyPath})
	require.NoError(t, err)
	e.names(b)
	other, err = b.Record("from-a")
	require.NoError(t, err)
	theirs, err := keys.Open(other.Line.SSH.IdentityFile)
	require.NoError(t, err)
	first, err := keys.Open(a.opts.KeyPath)
	require.NoError(t, err)
	require.Equal(t, first.Authorized(), theirs.Authorized())
	fi, err := os.Stat(other.Line.SSH.IdentityFile)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), fi.Mode().Perm())
	mine, err := keys.Open(b.opts.KeyPath)
	require.NoError(t, err)
	require.NotEqual(t, first.Authorized(), mine.Authorized(), "this home's own machines keep their key")

	// What one deletes is gone for both.
	op, err := b.Action(e.ctx(), "from-a", "delete", api.ActionRequest{})
	require.NoError(t, err)
	require.Equal(t, api.OpSucceeded, ended(t, b, op).State)
	require.Equal(t, []string{"from-b"}, e.names(b))
	require.Eventually(t, func() bool { // not before the first home has renewed its host key, or given that up
		e.names(a)
		gone, err := a.Instance(e.ctx(), "from-a")
		return err == nil && gone.State == api.StateUnusable
	}, 2*time.Minute, 20*time.Millisecond)
}

func TestAJoinedHomeStaysJoined(t *testing.T) {
	e := newEnv(t)
	first := e.home(t)
	e.create(first, "theirs")
	id, _ := first.IDs()
	w, done := e.open() // its provider's tags can't be changed
	e.create(w, "mine")
	was, _ := w.IDs()
	_, err := w.Membership.Join(e.ctx(), api.JoinRequest{ID: id})
	require.NoError(t, err)
	done()
	w, _ = e.open()
	now, _ := w.IDs()
	require.Equal(t, id, now)
	require.Equal(t, []string{"mine", "theirs"}, e.names(w))
	said := fmt.Sprint(w.Doctor.Check(e.ctx()))
	require.Contains(t, said, "mine still has the tag of the workspace "+was)
	evs, err := w.Events(e.ctx(), api.EventOptions{})
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(evs, func(ev api.Event) bool { return ev.Kind == "workspace.joined" }))
}

// TestHomesThatJoinSeeTheSame lets homes make, join and look in any order.
func TestHomesThatJoinSeeTheSame(t *testing.T) {
	for seed := range uint64(25) {
		r := rand.New(rand.NewPCG(seed, 12))
		e := newEnv(t)
		homes := []*Workspace{e.home(t), e.home(t), e.home(t)}
		made := make([][]string, len(homes))
		group := []int{0, 1, 2} // which workspace each belongs to
		ids := make([]string, len(homes))
		for i, w := range homes {
			ids[i], _ = w.IDs()
		}
		for n := range 1 + r.IntN(8) {
			i := r.IntN(len(homes))
			switch r.IntN(3) {
			case 0:
				name := fmt.Sprintf("m-%d", n)
				e.create(homes[i], name)
				made[i] = append(made[i], name)
			case 1:
				to := r.IntN(len(homes))
				_, err := homes[i].Membership.Join(e.ctx(), api.JoinRequest{ID: ids[group[to]]})
				require.NoError(t, err)
				group[i] = group[to]
			case 2:
				e.names(homes[i])
			}
		}
		for _, w := range homes {
			e.names(w) // what was made before a join gets its tag
		}
		for i, w := range homes {
			has := e.names(w)
			for k := range homes {
				for _, name := range made[k] {
					if group[k] == group[i] {
						require.Contains(t, has, name, "seed %d: home %d of workspace %d", seed, i, group[i])
					}
				}
			}
			for _, c := range e.said(w) {
				require.Empty(t, c.OrphanID, "seed %d", seed)
			}
		}
	}
}
