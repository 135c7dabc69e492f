package uitest

import (
	"cmp"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/service/store"
)

// TestStoreInMemory asks the store in memory and the daemon's the same, and wants the same answers.
func TestStoreInMemory(t *testing.T) {
	sqlite, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"))
	require.NoError(t, err)
	defer sqlite.Close()
	instance := func(id, name string) store.Instance {
		return store.Instance{Instance: api.Instance{ID: id, Name: name, Backend: "local"}, Token: "t-" + id}
	}
	op := func(id string, st api.OpState, at time.Time) store.Operation {
		return store.Operation{Operation: api.Operation{ID: id, Kind: "stop", InstanceID: "a", State: st, CreatedAt: at}}
	}
	event := func(id, m string) *api.Event { return &api.Event{Time: Epoch, InstanceID: id, Message: m} }
	changes := [][]*store.Change{
		{{Instances: []store.Instance{instance("a", "one"), instance("b", "two")}, Settings: map[string]string{"k": "v"}}},
		{{Instances: []store.Instance{instance("c", "ONE")}, Settings: map[string]string{"k": "refused"}}}, // taken
		{{Operations: []store.Operation{op("o2", api.OpRunning, Epoch), op("o1", api.OpRunning, Epoch), op("o0",
			api.OpRunning, Epoch.Add(1))},
			Events: []*api.Event{event("a", "first"), event("b", "second")}}},
		{{Instances: []store.Instance{instance("a", "three")}}, {Instances: []store.Instance{instance("c", "one")}}},
		// renamed
		{{RemoveInstances: []string{"b"}, Instances: []store.Instance{instance("d", "two")},
			Operations: []store.Operation{op("o1", api.OpSucceeded, Epoch)}, Events: []*api.Event{event("a", "third")}}},
	}
	type state struct {
		failed     api.Code
		instances  []store.Instance
		unfinished []store.Operation
		op         store.Operation
		none       api.Code
		setting    string
		events     [][]api.Event
	}
	code := func(err error) api.Code {
		if err == nil {
			return ""
		}
		return api.AsError(err).Code
	}
	look := func(s store.Store, failed error) (out state) {
		ctx := t.Context()
		out.failed = code(failed)
		var err error
		out.instances, err = s.Instances(ctx)
		require.NoError(t, err)
		slices.SortFunc(out.instances, func(a, b store.Instance) int { return cmp.Compare(a.ID, b.ID) })
		out.unfinished, err = s.Unfinished(ctx)
		require.NoError(t, err)
		out.op, _ = s.Operation(ctx, "o1")
		_, err = s.Operation(ctx, "none")
		out.none = code(err)
		out.setting, err = s.Setting(ctx, "k")
		require.NoError(t, err)
		for _, q := range []store.EventQuery{{}, {Since: 1}, {InstanceID: "a"}, {Limit: 1}} {
			evs, err := s.Events(ctx, q)
			require.NoError(t, err)
			out.events = append(out.events, evs)
		}
		return out
	}
	mem := newMemStore()
	for i, cs := range changes {
		want := look(sqlite, sqlite.Apply(t.Context(), cs...))
		require.Equal(t, want, look(mem, mem.Apply(t.Context(), cs...)), "change %d", i)
		require.Equal(t, i == 1, want.failed != "")
	}
	for _, s := range []store.Store{sqlite, mem} {
		require.NoError(t, s.Trim(t.Context(), 1, Epoch.Add(time.Hour)))
	}
	require.Equal(t, look(sqlite, nil), look(mem, nil))
}
