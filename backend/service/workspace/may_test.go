package workspace

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/store"
)

func as(id string) context.Context {
	return backend.WithCaller(context.Background(), &backend.Caller{Principal: backend.Principal{ID: id, Name: id}})
}

// TestRuleZero asks for a shell as the person, as somebody else and as Berth itself, on machines of all kinds of
// owners.
func TestRuleZero(t *testing.T) {
	w := &Workspace{opts: Options{Policy: Everything, Person: backend.Principal{ID: "local:7", Name: "ada"}},
		aliases: map[string]bool{"cloud/arn:ada": true, "cloud/unknown": true}}
	for _, c := range []struct {
		what            string
		owner, assigned string
		may             bool
	}{
		{"hers", "arn:ada", "", true},
		{"hers, by her id", "local:7", "", true},
		{"hers, assigned to her", "arn:ada", "arn:ada", true},
		{"hers, assigned to another", "arn:ada", "arn:bob", false},
		{"another's, assigned to her", "arn:bob", "arn:ada", true},
		{"another's", "arn:bob", "", false},
		{"found, of nobody known", api.OwnerUnknown, "", false},
		{"of an old record without an owner", "", "", true},
	} {
		t.Run(c.what, func(t *testing.T) {
			in := &api.Instance{Name: "vision", Backend: "cloud", Owner: c.owner, AssignedTo: c.assigned}
			err := w.May(as("local:7"), api.ActionAccess, in)
			require.Equal(t, c.may, err == nil, "%v", err)
			if err != nil {
				require.Equal(t, api.CodeForbidden, api.AsError(err).Code)
			}
			sys := backend.WithCaller(context.Background(), &backend.Caller{Principal: backend.System})
			require.Equal(t, c.may, w.May(sys, api.ActionAccess, in) == nil, "Berth acts for the person")
			if c.owner != "" {
				require.Error(t, w.May(as("local:8"), api.ActionAccess, in), "another principal has none of her names")
			}
			require.NoError(t, w.May(as("local:7"), api.ActionStop, in), "who may manage all may stop it")
			elsewhere := *in
			elsewhere.Backend = "other"
			if c.owner == "arn:ada" {
				require.Error(t, w.May(as("local:7"), api.ActionAccess, &elsewhere), "a name counts at its backend alone")
			}
			w.view(backend.Principal{ID: "local:7"}, in)
			require.Equal(t, c.may, in.Mine)
			require.Equal(t, !c.may, slices.Contains(in.Denied, api.ActionAccess))
		})
	}
}

// TestRowsThatMayNotBeSeen has two principals look at one fleet of which each may see one half.
func TestRowsThatMayNotBeSeen(t *testing.T) {
	e := newEnv(t)
	e.opts = func(o *Options) {
		o.Policy = func(p backend.Principal, a api.Action, in *api.Instance) bool {
			return in == nil || p.Kind == backend.PrincipalSystem || a != api.ActionRead || in.Name == p.ID
		}
	}
	w, _ := e.open()
	e.create(w, "left")
	e.create(w, "right")
	sub, all := w.Subscribe()
	defer sub.Close()
	for _, who := range []string{"left", "right"} {
		list := w.Instances(as(who), api.ListOptions{})
		require.Len(t, list, 1)
		require.Equal(t, who, list[0].Name)
		seen := w.Seen(as(who), slices.Clone(all))
		require.Len(t, seen, 1)
		require.Equal(t, who, seen[0].Name)
	}
	right, err := w.Record("right")
	require.NoError(t, err)
	require.True(t, w.MaySee(as("right"), right.ID))
	require.False(t, w.MaySee(as("left"), right.ID))
	require.True(t, w.MaySee(as("left"), "i-gone"))
	op := api.Operation{ID: "op-1", InstanceID: right.ID}
	for _, c := range []api.Change{{Instance: &right.Instance}, {Event: &api.Event{InstanceID: right.ID}},
		{Operation: &op}} {
		require.Empty(t, w.For(as("left"), []api.Change{c}))
		require.Len(t, w.For(as("right"), []api.Change{c}), 1)
	}
	require.Len(t, w.For(as("left"), []api.Change{{Removed: "i-gone"}}), 1)
}

// TestOwnerIsTheStores changes a machine's tags behind Berth's back: they change nothing of whose it is.
func TestOwnerIsTheStores(t *testing.T) {
	e := newEnv(t)
	w, _ := e.open()
	e.create(w, "vision")
	before, err := w.Record("vision")
	require.NoError(t, err)
	m := backend.Machine{ID: before.ProviderID, Name: "vision", State: api.StateRunning, Owner: "mallory",
		AssignedTo: "mallory"}
	rec := before
	w.mu.Lock()
	w.merge(&rec, &m)
	w.mu.Unlock()
	require.Equal(t, before.Owner, rec.Owner)
	require.Equal(t, before.AssignedTo, rec.AssignedTo)
}

// TestImportedOwner takes in machines whose tags name the person, somebody else and nobody.
func TestImportedOwner(t *testing.T) {
	e := newEnv(t)
	w, _ := e.open()
	e.create(w, "known") // and with it the person's name at the backend
	known, err := w.Record("known")
	require.NoError(t, err)
	imported := func(private bool, owner, assigned string) api.Instance {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.imported("mem", private, &backend.Machine{ID: "m", Name: "found", State: api.StateRunning, Owner: owner,
			AssignedTo: assigned}).Instance
	}
	require.Equal(t, known.Owner, imported(false, known.Owner, "").Owner)
	for _, who := range []string{"", "mallory"} {
		in := imported(false, who, who)
		require.Equal(t, api.OwnerUnknown, in.Owner)
		require.Empty(t, in.AssignedTo)
		require.ErrorContains(t, w.May(e.ctx(), api.ActionAccess, &in), "nobody here is known to own it")
	}
	require.Equal(t, "someone", imported(true, "someone", "").Owner, "what a private backend has is this home's alone")
}

// TestSetOwner makes an instance that nobody owns the caller's, and it stays theirs.
func TestSetOwner(t *testing.T) {
	e := newEnv(t)
	w, done := e.open()
	e.create(w, "vision")
	require.NoError(t, w.keep(e.ctx(), mustRecord(t, w, "vision").ID, func(r *store.Instance) { r.Owner = api.OwnerUnknown }))
	rec := mustRecord(t, w, "vision")
	require.Error(t, w.May(e.ctx(), api.ActionAccess, &rec.Instance))
	for _, who := range []string{"", "bob"} {
		_, err := w.Set(e.ctx(), "vision", api.SetRequest{Owner: who})
		require.Equal(t, api.CodeUsage, api.AsError(err).Code)
	}
	in, err := w.Set(e.ctx(), "vision", api.SetRequest{Owner: api.OwnerMe})
	require.NoError(t, err)
	require.True(t, in.Mine)
	require.NoError(t, w.keep(e.ctx(), in.ID, func(r *store.Instance) { r.Owner = "bob" }))
	_, err = w.Set(e.ctx(), "vision", api.SetRequest{Owner: api.OwnerMe})
	require.Equal(t, api.CodeForbidden, api.AsError(err).Code, "what is another's stays theirs")
	require.NoError(t, w.keep(e.ctx(), in.ID, func(r *store.Instance) { r.Owner = in.Owner }))
	done()
	w, _ = e.open()
	rec = mustRecord(t, w, "vision")
	require.NoError(t, w.May(e.ctx(), api.ActionAccess, &rec.Instance))
	w.Reconciler.Reconcile(e.ctx())
	require.Equal(t, in.Owner, mustRecord(t, w, "vision").Owner)
}

func mustRecord(t *testing.T, w *Workspace, name string) store.Instance {
	t.Helper()
	rec, err := w.Record(name)
	require.NoError(t, err)
	return rec
}

// TestNamesOfOlderRecords opens a store of a build that knew no aliases, while its provider does not say who asks:
// nobody is locked out.
func TestNamesOfOlderRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	st, err := store.Open(t.Context(), path)
	require.NoError(t, err)
	defer st.Close()
	old := store.Instance{Instance: api.Instance{ID: "i-1", Name: "vision", Backend: "cloud", Owner: "arn:ada",
		State: api.StateRunning}}
	require.NoError(t, st.Apply(t.Context(), &store.Change{Instances: []store.Instance{old}}))
	open := func() *Workspace {
		w, err := Open(t.Context(), Options{Store: st, Person: backend.Principal{ID: "local:7"}})
		require.NoError(t, err)
		return w
	}
	w := open()
	in := mustRecord(t, w, "vision").Instance
	require.NoError(t, w.May(as("local:7"), api.ActionAccess, &in))
	require.NoError(t, w.learn("cloud", "arn:ada:new"))
	require.NoError(t, w.keep(t.Context(), "i-1", func(r *store.Instance) { r.Owner = "arn:mallory" }))
	w.Close()
	w = open()
	defer w.Close()
	in = mustRecord(t, w, "vision").Instance
	require.Error(t, w.May(as("local:7"), api.ActionAccess, &in), "names are taken from records once")
	in.Owner = "arn:ada:new"
	require.NoError(t, w.May(as("local:7"), api.ActionAccess, &in), "what was learned is kept")
}
