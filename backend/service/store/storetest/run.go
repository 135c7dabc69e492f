package storetest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/service/store"
)

// Open opens the store of a folder. It is called again for a folder whose store was closed, which then has what was
// written.
type Open func(t *testing.T, dir string) store.Store

// suite is a store that is tested.
type suite struct {
	*testing.T
	open Open
	dir  string
	store.Store
}

// Run tests what every store must do.
func Run(t *testing.T, open Open) {
	for name, test := range map[string]func(*suite){
		"a change is written as a whole, and read back": (*suite).whole,
		"names are taken once in a backend":             (*suite).names,
		"a write is of the revision that was seen":      (*suite).revisions,
		"a conflict refuses all that comes with it":     (*suite).refused,
		"documents change and go by themselves":         (*suite).documents,
		"features are documents":                        (*suite).features,
		"operations that have not ended":                (*suite).unfinished,
		"events are selected and trimmed":               (*suite).events,
		"a context that has ended":                      (*suite).cancelled,
		"nothing is lost or written twice":              (*suite).faults,
		"many writers of one record":                    (*suite).writers,
	} {
		t.Run(name, func(t *testing.T) {
			s := &suite{T: t, open: open, dir: t.TempDir()}
			s.Store = open(t, s.dir)
			t.Cleanup(func() { _ = s.Close() })
			test(s)
		})
	}
}

var epoch = time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)

// Instance is one as tests need it.
func Instance(id, name string) store.Instance {
	return store.Instance{Instance: api.Instance{ID: id, Name: name, Backend: "local", State: api.StateRunning,
		Tags: map[string]string{"k": "v"}}, Token: "t-" + id}
}

func operation(id string, state api.OpState, at time.Time) store.Operation {
	return store.Operation{Operation: api.Operation{ID: id, Kind: "stop", InstanceID: "a", State: state, CreatedAt: at}}
}

func event(id, message string) *api.Event {
	return &api.Event{Time: epoch, InstanceID: id, Message: message}
}

func document(id, kind, doc string, revision int64) store.Document {
	return store.Document{InstanceID: id, Kind: kind, Revision: revision, Doc: json.RawMessage(doc)}
}

// write applies a change that must succeed.
func (s *suite) write(c *store.Change) *store.Change {
	s.Helper()
	require.NoError(s, s.Apply(s.Context(), c))
	return c
}

// state is all that a store has.
type state struct {
	Instances  []store.Instance
	Documents  []string
	Unfinished []store.Operation
	Events     []api.Event
	Setting    string
}

func (s *suite) state() (out state) {
	s.Helper()
	ctx := s.Context()
	var err error
	out.Instances, err = s.Instances(ctx)
	require.NoError(s, err)
	slices.SortFunc(out.Instances, func(a, b store.Instance) int { return cmp.Compare(a.ID, b.ID) })
	docs, err := s.Documents(ctx, "")
	require.NoError(s, err)
	for _, d := range docs {
		out.Documents = append(out.Documents, fmt.Sprintf("%s %s %d %s", d.InstanceID, d.Kind, d.Revision, d.Doc))
	}
	slices.Sort(out.Documents)
	out.Unfinished, err = s.Store.Unfinished(ctx)
	require.NoError(s, err)
	out.Events, err = s.Events(ctx, store.EventQuery{})
	require.NoError(s, err)
	out.Setting, err = s.Setting(ctx, "k")
	require.NoError(s, err)
	return out
}

// conflicts applies a change that must be refused as a conflict, and be left as it was, as the store.
func (s *suite) conflicts(c *store.Change, says string) {
	s.Helper()
	before, was := s.state(), clone(c)
	err := s.Apply(s.Context(), c)
	require.ErrorIs(s, err, &api.Error{Code: api.CodeConflict})
	require.ErrorContains(s, err, says)
	require.Equal(s, before, s.state())
	require.Equal(s, was, clone(c))
}

func (s *suite) whole() {
	ev := event("a", "made")
	c := s.write(&store.Change{Instances: []store.Instance{Instance("a", "Vision")},
		Documents:  []store.Document{document("a", "notes", `{"n":1}`, 0)},
		Operations: []store.Operation{operation("o1", api.OpRunning, epoch)},
		Events:     []*api.Event{ev}, Settings: map[string]string{"k": "v"}})
	require.EqualValues(s, 1, ev.Seq)
	for what, revision := range map[string]int64{"instance": c.Instances[0].Revision,
		"document": c.Documents[0].Revision, "operation": c.Operations[0].Revision} {
		require.EqualValues(s, 1, revision, what)
	}
	want := s.state()
	require.Equal(s, c.Instances, want.Instances)
	require.Equal(s, c.Operations, want.Unfinished)
	require.Equal(s, []string{`a notes 1 {"n":1}`}, want.Documents)
	require.Equal(s, []api.Event{*ev}, want.Events)
	require.Equal(s, "v", want.Setting)
	require.NoError(s, s.Close())
	s.Store = s.open(s.T, s.dir)
	require.Equal(s, want, s.state())
	in, err := s.Instance(s.Context(), "a")
	require.NoError(s, err)
	require.Equal(s, c.Instances[0], in)
	_, err = s.Instance(s.Context(), "b")
	require.ErrorIs(s, err, &api.Error{Code: api.CodeNotFound})
	_, err = s.Operation(s.Context(), "o2")
	require.ErrorIs(s, err, &api.Error{Code: api.CodeNotFound})
	none, err := s.Setting(s.Context(), "none")
	require.NoError(s, err)
	require.Empty(s, none)
}

func (s *suite) names() {
	c := s.write(&store.Change{Instances: []store.Instance{Instance("a", "one"), Instance("b", "two")},
		Settings: map[string]string{"k": "v"}})
	before := s.state()
	taken := &store.Change{Instances: []store.Instance{Instance("c", "ONE")}, Settings: map[string]string{"k": "refused"}}
	require.ErrorIs(s, s.Apply(s.Context(), taken), &api.Error{Code: api.CodeStore})
	require.Equal(s, before, s.state())
	renamed := c.Instances[0]
	renamed.Name = "three"
	s.write(&store.Change{RemoveInstances: []store.Removal{{ID: "b", Revision: 1}},
		Instances: []store.Instance{renamed, Instance("c", "ONE"), Instance("d", "two")}})
	other := Instance("e", "one")
	other.Backend = "aws"
	s.write(&store.Change{Instances: []store.Instance{other}})
	require.Len(s, s.state().Instances, 4)
}

func (s *suite) revisions() {
	c := s.write(&store.Change{Instances: []store.Instance{Instance("a", "one")},
		Documents:  []store.Document{document("a", "notes", `1`, 0)},
		Operations: []store.Operation{operation("o", api.OpRunning, epoch)}})
	seen := clone(c)
	for range 2 {
		s.write(c) // as often as one likes: it has what the store has
	}
	require.EqualValues(s, 3, c.Instances[0].Revision)
	require.EqualValues(s, 3, c.Documents[0].Revision)
	require.EqualValues(s, 3, c.Operations[0].Revision)
	for name, c := range map[string]*store.Change{
		"instance one":          {Instances: seen.Instances},
		`document "notes"`:      {Documents: seen.Documents},
		"operation o":           {Operations: seen.Operations},
		"instance a":            {RemoveInstances: []store.Removal{{ID: "a", Revision: 1}}},
		"instance new":          {Instances: []store.Instance{Instance("a", "new")}},
		`"notes" of instance a`: {Documents: []store.Document{document("a", "notes", `2`, 0)}},
		"operation o was":       {Operations: []store.Operation{operation("o", api.OpFailed, epoch)}},
	} {
		s.conflicts(c, name)
		s.conflicts(c, "revision 3")
	}
	gone := Instance("b", "two")
	gone.Revision = 2
	s.conflicts(&store.Change{Instances: []store.Instance{gone}}, "has none of it")
	s.conflicts(&store.Change{RemoveInstances: []store.Removal{{ID: "b"}}}, "instance b")
	s.conflicts(&store.Change{RemoveInstances: []store.Removal{{ID: "b", Revision: 2}}}, "instance b")
	s.conflicts(&store.Change{Documents: []store.Document{document("b", "notes", `1`, 0)}}, "instance b")
	s.conflicts(&store.Change{Documents: []store.Document{document("a", "other", `1`, 1)}}, "has none of it")
}

func (s *suite) refused() {
	first := s.write(&store.Change{Instances: []store.Instance{Instance("a", "one"), Instance("b", "two")},
		Documents: []store.Document{document("b", "notes", `1`, 0)}, Settings: map[string]string{"k": "v"}})
	old := clone(first)
	s.write(&store.Change{Instances: first.Instances[:1]})
	// What comes before the conflict, in its change and in others, is not written either.
	good := &store.Change{RemoveInstances: []store.Removal{{ID: "b", Revision: 1}},
		Instances:  []store.Instance{Instance("c", "two")},
		Documents:  []store.Document{document("c", "notes", `1`, 0)},
		Operations: []store.Operation{operation("o", api.OpRunning, epoch)},
		Events:     []*api.Event{event("c", "made")}, Settings: map[string]string{"k": "changed"}}
	bad := &store.Change{Events: []*api.Event{event("a", "changed")}, Instances: old.Instances[:1]}
	before, was := s.state(), clone(good)
	require.ErrorIs(s, s.Apply(s.Context(), good, bad), &api.Error{Code: api.CodeConflict})
	require.Equal(s, before, s.state())
	require.Equal(s, was, clone(good), "it can be written alone")
	s.write(good)
	require.EqualValues(s, 1, good.Events[0].Seq)
	// Changes of one transaction follow each other: the second one may be of what the first one writes.
	next := clone(good)
	next.RemoveInstances, next.Documents = nil, nil
	again := clone(next)
	again.Instances[0].Revision, again.Operations[0].Revision = 2, 2
	require.NoError(s, s.Apply(s.Context(), next, again))
	require.EqualValues(s, 3, again.Instances[0].Revision)
}

func (s *suite) documents() {
	c := s.write(&store.Change{Instances: []store.Instance{Instance("a", "one"), Instance("b", "two")}})
	docs := s.write(&store.Change{Documents: []store.Document{document("a", "x", `1`, 0), document("a", "y", `1`, 0),
		document("b", "x", `1`, 0)}})
	docs.Documents[0].Doc = json.RawMessage(`[1, 2]`)
	s.write(&store.Change{Documents: docs.Documents[:1]})
	s.write(&store.Change{Instances: c.Instances}) // of the revision that was seen before the documents
	require.Equal(s, []string{"a x 2 [1, 2]", "a y 1 1", "b x 1 1"}, s.state().Documents)
	of, err := s.Documents(s.Context(), "b")
	require.NoError(s, err)
	require.Equal(s, docs.Documents[2:], of)
	for _, wrong := range []store.Document{document("a", "y", "", 2), document("a", "z", "", 1), document("c", "y", "", 1)} {
		s.conflicts(&store.Change{RemoveDocuments: []store.Document{wrong}}, "the document")
	}
	s.write(&store.Change{RemoveDocuments: docs.Documents[1:2]})
	require.Equal(s, []string{"a x 2 [1, 2]", "b x 1 1"}, s.state().Documents)
	s.write(&store.Change{RemoveInstances: []store.Removal{{ID: "a", Revision: 2}}})
	require.Equal(s, []string{"b x 1 1"}, s.state().Documents)
	// Who comes after it with the same id has none of them.
	s.write(&store.Change{Instances: []store.Instance{Instance("a", "one")},
		Documents: []store.Document{document("a", "y", `7`, 0)}})
	require.Equal(s, []string{"a y 1 7", "b x 1 1"}, s.state().Documents)
}

func (s *suite) features() {
	in, plain := Instance("a", "one"), Instance("b", "two")
	in.SetupID, in.SetupFailed, in.Muted = "op-1", "no space", map[string]time.Time{"hot": epoch}
	c := &store.Change{}
	require.NoError(s, c.Put(nil, &in))
	require.NoError(s, c.Put(nil, &plain))
	require.Len(s, c.Documents, 2)
	s.write(c)
	ins := []store.Instance{in, plain}
	c.Written(ins)
	read, _, err := store.Load(s.Context(), s)
	require.NoError(s, err)
	slices.SortFunc(read, func(a, b store.Instance) int { return cmp.Compare(a.ID, b.ID) })
	require.Equal(s, ins, read)
	one, err := store.Read(s.Context(), s, "a")
	require.NoError(s, err)
	require.Equal(s, ins[0], one)

	same := &store.Change{}
	require.NoError(s, same.Put(&ins[0], &one))
	require.True(s, same.Empty())
	now := one
	now.Muted = nil
	require.NoError(s, same.Put(&one, &now))
	require.Empty(s, same.Instances)
	require.Len(s, same.Documents, 1)
	s.write(same)
	now = one
	now.State = api.StateStopped
	state := &store.Change{}
	require.NoError(s, state.Put(&one, &now))
	require.Empty(s, state.Documents)
	s.write(state) // and the other change is no conflict
	one, err = store.Read(s.Context(), s, "a")
	require.NoError(s, err)
	require.Nil(s, one.Muted)
	require.Equal(s, api.StateStopped, one.State)
	require.Equal(s, "no space", one.SetupFailed)
}

func (s *suite) unfinished() {
	c := s.write(&store.Change{Operations: []store.Operation{operation("o2", api.OpRunning, epoch),
		operation("o1", api.OpRunning, epoch), operation("o0", api.OpRunning, epoch.Add(1)),
		operation("ended", api.OpFailed, epoch.Add(-time.Hour))}})
	ids := func() (out []string) {
		for _, op := range s.state().Unfinished {
			out = append(out, op.ID)
		}
		return out
	}
	require.Equal(s, []string{"o1", "o2", "o0"}, ids())
	c.Operations[1].State = api.OpSucceeded
	s.write(&store.Change{Operations: c.Operations[1:2]})
	require.Equal(s, []string{"o2", "o0"}, ids())
	op, err := s.Operation(s.Context(), "o1")
	require.NoError(s, err)
	require.Equal(s, c.Operations[1], op)
	require.NoError(s, s.Trim(s.Context(), 1, epoch.Add(time.Hour)))
	_, err = s.Operation(s.Context(), "o1")
	require.ErrorIs(s, err, &api.Error{Code: api.CodeNotFound})
	require.Equal(s, []string{"o2", "o0"}, ids(), "what has not ended is kept")
}

func (s *suite) events() {
	for i := range 20 {
		s.write(&store.Change{Events: []*api.Event{event(fmt.Sprint("i", i%2), fmt.Sprint(i))}})
	}
	seqs := func(q store.EventQuery) (out []int64) {
		evs, err := s.Events(s.Context(), q)
		require.NoError(s, err)
		for _, e := range evs {
			out = append(out, e.Seq)
		}
		return out
	}
	require.Equal(s, []int64{18, 19, 20}, seqs(store.EventQuery{Limit: 3}))
	require.Equal(s, []int64{16, 18, 20}, seqs(store.EventQuery{InstanceID: "i1", Since: 14}))
	require.Equal(s, []int64{18, 20}, seqs(store.EventQuery{Called: "i1", Limit: 2}), "an id")
	gone := event("i9", "was deleted")
	gone.Instance = "Gone-1"
	s.write(&store.Change{Events: []*api.Event{gone}})
	require.Equal(s, []int64{21}, seqs(store.EventQuery{Called: "gone-1"}), "a name")
	require.Empty(s, seqs(store.EventQuery{Called: "gone"}))
	require.Empty(s, seqs(store.EventQuery{Called: "gone-1", Since: 21}))
	require.NoError(s, s.Trim(s.Context(), 6, epoch))
	require.Equal(s, []int64{16, 17, 18, 19, 20, 21}, seqs(store.EventQuery{}))
	e := event("i0", "next")
	s.write(&store.Change{Events: []*api.Event{e}})
	require.EqualValues(s, 22, e.Seq, "a number is never used again")
}

func (s *suite) cancelled() {
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	err := s.Apply(ctx, &store.Change{Instances: []store.Instance{Instance("a", "one")}})
	require.ErrorIs(s, err, context.Canceled)
	require.Empty(s, s.state().Instances)
}
