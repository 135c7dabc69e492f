package workspace

import (
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/mem"
	"berth/backend/service/operation"
	"berth/backend/service/store"
)

// TestOperationsOfAnOlderBuild goes on with an operation at each point of each kind, as a released commit left it
// (TestWriteUnderWay made the stores): each ends as it should.
func TestOperationsOfAnOlderBuild(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/underway/*.db.gz")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			e := newEnv(t)
			e.lines.setup.hostKey = newHostKey
			e.path = unzipped(t, file)
			ssh := adopter{mem.New()}
			e.opts = func(o *Options) {
				o.Backends["ssh"] = ssh
				o.Limits = Limits{Backoff: time.Millisecond}
			}
			st, err := store.Open(t.Context(), e.path)
			require.NoError(t, err)
			doc, err := st.Setting(t.Context(), machinesKey)
			require.NoError(t, err)
			var machines map[string][]backend.Machine
			require.NoError(t, json.Unmarshal([]byte(doc), &machines))
			e.mem.Add(machines["mem"]...)
			ssh.Add(machines["ssh"]...)
			ops, err := st.Unfinished(t.Context())
			require.NoError(t, err)
			require.NoError(t, st.Close())
			for kind := range plans {
				if kind != opProbe {
					require.True(t, slices.ContainsFunc(ops, func(o store.Operation) bool { return o.Kind == kind }), "there is no %s",
						kind)
				}
			}
			w, _ := e.open()
			for _, was := range ops {
				op := ended(t, w, was.Operation)
				require.Equal(t, api.OpSucceeded, op.State, "%s: %v", was.Instance, op.Error)
				require.Empty(t, op.Warnings, was.Instance)
				for _, s := range op.Steps {
					if s.Name == "jobs" && s.State == api.OpSkipped {
						continue // the older build was past it
					}
					require.Equal(t, api.OpSucceeded, s.State, "%s: %s", was.Instance, s.Name)
				}
				rec, err := w.Record(was.Instance)
				if was.Kind == opDelete {
					require.ErrorIs(t, err, backend.ErrNotFound, was.Instance)
					continue
				}
				require.NoError(t, err, was.Instance)
				want := api.StateRunning
				if was.Kind == opStop {
					want = api.StateStopped
				}
				require.Equal(t, want, rec.State, was.Instance)
				require.Equal(t, was.Kind == opHostKey, rec.Sealed, was.Instance)
			}
			require.Equal(t, w.Len(), e.mem.Len()+ssh.Len(), "nothing is made twice, nothing is left")
		})
	}
}

func unzipped(t *testing.T, file string) string {
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	b, err := io.ReadAll(z)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "x.db")
	require.NoError(t, os.WriteFile(path, b, 0o600))
	return path
}

// olderPlans are the steps that this repository's older commits gave their operations, where they were others.
var olderPlans = map[string][]string{
	opCreate: {"provider machine agent setup", "prepare provider machine agent setup hostkey",
		"prepare provider machine agent hostkey setup"},
	opStart:   {"provider machine agent", "provider machine agent hostkey onstart"},
	opRestart: {"provider machine agent"},
	opSetup:   {"agent hostkey setup"},
	opRestore: {"line provider machine"},
	opImage:   {"clean stop provider start", "stop provider start"},
	opDelete:  {"", "line", "machine line provider"}, // no commit: none of the steps, some of them, another order
}

// during is what an instance's state is while an operation is under way.
var during = map[string]api.State{opCreate: api.StateSettingUp, opStart: api.StateStarting,
	opRestart: api.StateRestarting, opSetup: api.StateSettingUp,
	opRestore: api.StateRestarting, opImage: api.StateStopping, opDelete: api.StateDeleting}

// TestOperationsWithOtherSteps goes on with operations whose steps are other ones than this build's, at each of their
// steps: each ends, and what is not run is said.
func TestOperationsWithOtherSteps(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.opts = func(o *Options) { o.Limits = Limits{Backoff: time.Millisecond} }
	w, done := e.open()
	type left struct {
		rec store.Instance
		op  store.Operation
	}
	var all []left
	for kind, lists := range olderPlans {
		for n, list := range lists {
			names := strings.Fields(list)
			for at := range len(names) + 1 {
				l := left{op: store.Operation{WasRunning: true, Snapshot: "before", Image: &api.Image{Name: "mine"}}}
				name := fmt.Sprintf("%s-%d-%d", kind, n, at)
				op, err := w.Create(e.ctx(), api.CreateRequest{Name: name, OnStart: "true"})
				require.NoError(t, err)
				op = ended(t, w, op)
				require.Equal(t, api.OpSucceeded, op.State)
				l.rec, err = w.Record(name)
				require.NoError(t, err)
				if kind == opSetup {
					l.op.Setup = &api.SetupRequest{Setup: "true"}
				}
				if kind != opCreate {
					op.ID = newID("op-")
				} else {
					l.op.Revision = stored(t, w, op.ID).Revision
				}
				l.op.Operation = op
				l.op.Kind, l.op.State, l.op.EndedAt, l.op.Steps = kind, api.OpRunning, nil, nil
				for i, s := range names {
					state := api.OpPending
					switch {
					case i < at:
						state = api.OpSucceeded
					case i == at:
						state = api.OpRunning
					}
					l.op.Steps = append(l.op.Steps, api.Step{Name: s, Title: "as " + s, State: state})
				}
				if kind == opImage && slices.Contains(names[:at], "stop") && !slices.Contains(names[:at], "start") {
					require.NoError(t, e.mem.Stop(t.Context(), ref(&l.rec)))
				}
				known := func(name string) bool {
					return slices.ContainsFunc(plans[kind], func(p step) bool { return p.name == name })
				}
				if slices.ContainsFunc(names[at:], known) { // the last step writes how it ends
					w.setState(&l.rec, during[kind], "")
				}
				all = append(all, l)
			}
		}
	}
	c := &store.Change{}
	for _, l := range all {
		c.Instances, c.Operations = append(c.Instances, l.rec), append(c.Operations, l.op)
	}
	require.NoError(t, w.opts.Store.Apply(t.Context(), c))
	done()

	w, _ = e.open()
	for _, l := range all {
		op := ended(t, w, l.op.Operation)
		require.Equal(t, api.OpSucceeded, op.State, "%s: %v", l.rec.Name, op.Error)
		checkTakenOver(t, l.op.Steps, op)
		rec, err := w.Record(l.rec.Name)
		if l.op.Kind == opDelete {
			require.ErrorIs(t, err, backend.ErrNotFound, l.rec.Name)
			continue
		}
		require.NoError(t, err, l.rec.Name)
		require.Equal(t, api.StateRunning, rec.State, l.rec.Name)
	}
}

// stored is an operation as the store has it.
func stored(t *testing.T, w *Workspace, id string) store.Operation {
	op, err := w.opts.Store.Operation(t.Context(), id)
	require.NoError(t, err)
	return op
}

// fataler is a testing.T or a rapid.T.
type fataler interface {
	Fatalf(format string, a ...any)
}

// checkTakenOver checks the steps of an operation that succeeded against those that were stored: no step of the plan
// after the last one that was done is left out, and nothing of the record is lost. It returns the steps that were to
// run.
func checkTakenOver(t fataler, stored []api.Step, op api.Operation) (run []string) {
	last, left := -1, slices.Clone(stored)
	var was []api.Step // of the plan's steps, as stored
	for i, p := range plans[op.Kind] {
		s := api.Step{Name: p.name, State: api.OpSkipped}
		if j := slices.IndexFunc(left, func(s api.Step) bool { return s.Name == p.name }); j >= 0 {
			s = left[j]
			left = slices.Delete(left, j, j+1)
		}
		if was = append(was, s); s.State == api.OpSucceeded {
			last = i
		}
	}
	if len(op.Steps) != len(was)+len(left) {
		t.Fatalf("%d steps became %d", len(stored), len(op.Steps))
	}
	unsaid := 0
	for i, s := range op.Steps {
		before, want := api.Step{}, api.OpSucceeded
		switch {
		case i >= len(was):
			if before = left[i-len(was)]; !before.State.Done() {
				want = api.OpSkipped
				unsaid++
			} else {
				want = before.State
			}
		case was[i].State == api.OpSkipped && i < last:
			before, want = was[i], api.OpSkipped
			if before.Message == "" && before.Name != "jobs" { // of which nothing is missed
				unsaid++
			}
		default:
			if before = was[i]; before.State != api.OpSucceeded {
				run = append(run, before.Name)
			}
		}
		if s.Name != before.Name || s.State != want {
			t.Fatalf("%v: the step %q, which was %s, is %s, not %s", stored, s.Name, before.State, s.State, want)
		}
		if s.State == api.OpSkipped && s.Message == "" && before.State != api.OpSkipped {
			t.Fatalf("the step %q does not say why it was skipped", s.Name)
		}
	}
	if len(op.Warnings) != unsaid {
		t.Fatalf("%d steps are not run, and said is: %q", unsaid, op.Warnings)
	}
	return run
}

// opProbe is a kind of operation that only notes which of its steps are run.
const opProbe = "probe"

var probed struct {
	sync.Mutex
	ran map[string][]string // by operation
}

func init() {
	probed.ran = map[string][]string{}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		plans[opProbe] = append(plans[opProbe], step{name, "doing " + name, callLimit, func(_ context.Context, _ *Workspace,
			r *operation.Run) error {
			probed.Lock()
			defer probed.Unlock()
			probed.ran[r.ID] = append(probed.ran[r.ID], name)
			return nil
		}})
	}
}

// TestAnyStoredSteps goes on with operations that have any steps in any state.
func TestAnyStoredSteps(t *testing.T) {
	e := newEnv(t)
	w, done := e.open()
	in := e.create(w, "vision")
	rapid.Check(t, func(rt *rapid.T) {
		one := rapid.Custom(func(rt *rapid.T) api.Step {
			return api.Step{Name: rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "x", "y", ""}).Draw(rt, "name"),
				State: rapid.SampledFrom([]api.OpState{api.OpPending, api.OpRunning, api.OpSucceeded, api.OpSucceeded,
					api.OpSkipped, api.OpFailed, "", "odd"}).Draw(rt, "state")}
		})
		stored := rapid.SliceOfN(one, 0, 9).Draw(rt, "steps")
		id := newID("op-")
		op := store.Operation{Operation: api.Operation{ID: id, Kind: opProbe, InstanceID: in.ID, Instance: in.Name,
			State: api.OpRunning, CreatedAt: time.Now(), Steps: stored}}
		require.NoError(t, w.opts.Store.Apply(t.Context(), &store.Change{Operations: []store.Operation{op}}))
		require.NoError(t, w.Resume(t.Context()))
		got := ended(t, w, op.Operation)
		if got.State != api.OpSucceeded {
			rt.Fatalf("it is %s: %v", got.State, got.Error)
		}
		want := checkTakenOver(rt, stored, got)
		probed.Lock()
		defer probed.Unlock()
		if ran := probed.ran[id]; !slices.Equal(ran, want) {
			rt.Fatalf("%v: ran %v, not %v", stored, ran, want)
		}
		again, said := operation.TakeOver(got.Steps, (*Workspace)(nil).plans()[opProbe].Steps)
		if !slices.EqualFunc(again, got.Steps, func(a, b api.Step) bool {
			return a.Name == b.Name && a.State == b.State && a.Message == b.Message
		}) || len(said) > 0 {
			rt.Fatalf("taken over again: %v, %v", again, said)
		}
	})
	done()
}

// TestCreateTakenOverInItsSetUp: the daemon of an older build, whose create had one more step, died while the script
// ran. The create waits for the script, and its failure is what it ends with; also where the profile of the set-up is
// not known any more.
func TestCreateTakenOverInItsSetUp(t *testing.T) {
	e := newEnv(t)
	known := true
	e.opts = func(o *Options) {
		o.Limits = Limits{Backoff: time.Millisecond}
		o.Profiles = func(names []string, arch string) (api.SetupPlan, error) {
			if !known {
				return api.SetupPlan{}, api.Errorf(api.CodeNotFound, "there is no profile %q", names[0])
			}
			return profiles(names, arch)
		}
	}
	e.lines.setup.held = make(chan struct{})
	w, done := e.open()
	op, err := w.Create(e.ctx(), api.CreateRequest{Name: "vision", Profiles: []string{"r"}, Setup: "hold on"})
	require.NoError(t, err)
	waits := func(w *Workspace) {
		t.Helper()
		var now api.Operation
		var err error
		require.Eventually(t, func() bool {
			now, err = w.Operation(t.Context(), op.ID)
			return err != nil || now.State.Done() || slices.ContainsFunc(now.Steps, func(s api.Step) bool {
				return s.Name == "setup" && s.State == api.OpRunning && len(s.Parts) == 2 && s.Parts[1].State == api.OpRunning
			})
		}, time.Minute, time.Millisecond)
		require.NoError(t, err)
		require.False(t, now.State.Done(), "it is %s, and the script still runs", now.State)
	}
	waits(w)
	done()
	st, err := store.Open(t.Context(), e.path)
	require.NoError(t, err)
	was, err := st.Operation(t.Context(), op.ID)
	require.NoError(t, err)
	i := slices.IndexFunc(was.Steps, func(s api.Step) bool { return s.Name == "setup" })
	now := time.Now()
	was.Steps = slices.Insert(was.Steps, i, api.Step{Name: "hostkey", Title: "renewing its host key",
		State: api.OpSucceeded, EndedAt: &now})
	require.NoError(t, st.Apply(t.Context(), &store.Change{Operations: []store.Operation{was}}))
	require.NoError(t, st.Close())

	known = false
	w, _ = e.open()
	waits(w)
	in, err := w.Instance(context.Background(), "vision")
	require.NoError(t, err)
	require.Equal(t, api.StateSettingUp, in.State)
	close(e.lines.setup.held)
	op = ended(t, w, op)
	require.Equal(t, api.OpFailed, op.State)
	require.Contains(t, op.Error.Message, "the set-up script: ended with code 3")
	in, err = w.Instance(context.Background(), "vision")
	require.NoError(t, err)
	require.Equal(t, api.StateSetupFailed, in.State)
	require.Len(t, e.lines.setup.begun, 1, "it was not begun anew")
}

// TestAnOperationOfAnUnknownKind: a newer build began it. It is said, and the provider says what the machine is.
func TestAnOperationOfAnUnknownKind(t *testing.T) {
	e := newEnv(t)
	w, done := e.open()
	in := e.create(w, "vision")
	rec, err := w.Record("vision")
	require.NoError(t, err)
	w.setState(&rec, api.StateRestarting, "it gets another size")
	op := store.Operation{Operation: api.Operation{ID: "op-newer", Kind: "resize", InstanceID: in.ID, Instance: in.Name,
		State: api.OpRunning, CreatedAt: time.Now(),
		Steps: []api.Step{{Name: "provider", State: api.OpRunning}}}}
	require.NoError(t, w.opts.Store.Apply(t.Context(), &store.Change{Instances: []store.Instance{rec},
		Operations: []store.Operation{op}}))
	done()

	w, _ = e.open()
	got, err := w.Operation(t.Context(), op.ID)
	require.NoError(t, err)
	require.Equal(t, api.OpFailed, got.State)
	require.Contains(t, got.Error.Message, "resize of vision was begun by another build of Berth")
	require.Len(t, got.Steps, 1)
	in, err = w.Instance(context.Background(), "vision")
	require.NoError(t, err)
	require.Equal(t, api.StateUnknown, in.State)
	require.Equal(t, op.ID, in.Operation.ID)
	evs, err := w.Events(t.Context(), api.EventOptions{Instance: "vision"})
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(evs, func(ev api.Event) bool {
		return ev.OperationID == op.ID && ev.Level == "warn"
	}))
	w.Reconciler.Reconcile(t.Context())
	in, err = w.Instance(context.Background(), "vision")
	require.NoError(t, err)
	require.Equal(t, api.StateRunning, in.State)
}

// TestAnOperationOfAnotherForm: one document that this build can't read ends that operation, and keeps nothing else
// from working.
func TestAnOperationOfAnotherForm(t *testing.T) {
	e := newEnv(t)
	w, done := e.open()
	in := e.create(w, "vision")
	op := store.Operation{Operation: api.Operation{ID: "op-newer", Kind: opStop, InstanceID: in.ID, Instance: in.Name,
		State: api.OpRunning, CreatedAt: time.Now()}}
	require.NoError(t, w.opts.Store.Apply(t.Context(), &store.Change{Operations: []store.Operation{op}}))
	done()
	db, err := sql.Open("sqlite", e.path)
	require.NoError(t, err)
	_, err = db.Exec(`UPDATE operations SET doc = json_set(doc, '$.steps', 'nonsense', '$.created_at', 7) WHERE id = 'op-newer'`)
	require.NoError(t, err)
	_, err = db.Exec(`INSERT INTO operations (id, instance_id, done, created, doc) SELECT 'op-' || value, '', 0, 1, value FROM json_each('["null","{}","[]","7"]')`)
	require.NoError(t, err)
	require.NoError(t, db.Close())

	w, _ = e.open()
	left, err := w.opts.Store.Unfinished(t.Context())
	require.NoError(t, err)
	require.Empty(t, left, "none is tried again at each start")
	got, err := w.Operation(t.Context(), op.ID)
	require.NoError(t, err)
	require.Equal(t, api.OpFailed, got.State)
	require.Contains(t, got.Error.Message,
		"stop of vision was begun by another build of Berth and can't be read by this one")
	in, err = w.Instance(context.Background(), "vision")
	require.NoError(t, err)
	require.Equal(t, api.StateRunning, in.State)
}
