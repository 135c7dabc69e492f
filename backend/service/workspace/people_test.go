package workspace

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/store"
)

// TestAssignmentsOfOlderRecords: what was another's alone before the upgrade, whose owner they are as well, stays so,
// and what is assigned to the person is theirs once their backend says who they are.
func TestAssignmentsOfOlderRecords(t *testing.T) {
	e := newEnv(t)
	st, err := store.Open(t.Context(), e.path)
	require.NoError(t, err)
	c := &store.Change{}
	for _, r := range []struct{ name, owner, assigned string }{{"bobs", "bob", "bob"}, {"of-bob", "bob", ""},
		{"hers", "me", "me"}, {"carols", "carol", ""}} {
		c.Instances = append(c.Instances, store.Instance{Instance: api.Instance{ID: "i-" + r.name, Name: r.name,
			Backend: "mem", Owner: r.owner, AssignedTo: r.assigned, State: api.StateRunning}})
	}
	require.NoError(t, st.Apply(t.Context(), c))
	require.NoError(t, st.Close())
	e.opts = func(o *Options) { o.Person = backend.Principal{ID: "local:1"} }
	w, _ := e.open()
	may := func(name string) bool {
		in := mustRecord(t, w, name).Instance
		return w.May(e.ctx(), api.ActionAccess, &in) == nil
	}
	require.False(t, may("bobs"), "it was bob's alone before the upgrade")
	require.True(t, may("carols"), "it could be opened before the upgrade")
	w.Reconciler.Reconcile(e.ctx())
	require.True(t, may("hers"))
	require.False(t, may("bobs"))
}

// TestNameThatCouldNotBeKept: the store fails in the moment in which it is learned what the person is called. What they
// make with that name is theirs, and the name is kept as soon as the store can be written.
func TestNameThatCouldNotBeKept(t *testing.T) {
	e := newEnv(t)
	e.mem.Me = "arn:ada"
	var full atomic.Bool
	w, _ := e.openFull(func(c *store.Change) bool { return full.Load() && c.Settings[aliasSetting] != "" })
	w.opts.Person = backend.Principal{ID: "local:1"}
	full.Store(true)
	e.create(w, "vision")
	in := mustRecord(t, w, "vision").Instance
	require.Equal(t, "arn:ada", in.Owner)
	require.NoError(t, w.May(e.ctx(), api.ActionAccess, &in))
	full.Store(false)
	w.Reconciler.Reconcile(e.ctx())
	kept, err := w.opts.Store.Setting(t.Context(), aliasSetting)
	require.NoError(t, err)
	require.Equal(t, `["mem/arn:ada"]`, kept)
	require.NoError(t, w.May(e.ctx(), api.ActionAccess, &in))
}
