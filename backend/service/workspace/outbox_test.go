package workspace

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/store"
	"berth/backend/service/store/storetest"
)

// fakeJobs is an agent's queue: a UUID that was said before is answered with its job.
type fakeJobs struct {
	mu      sync.Mutex
	taken   []api.JobRequest // in their order; the id is the place, from 1
	by      []string         // who submitted each
	told    []string         // "cancel 1"
	asked   int              // submits
	answers func(q api.JobRequest) error
	lose    int // so many answers are lost
	brought     // the folders that were sent
	forgot  map[string]bool
}

func (f *fakeJobs) routes(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/jobs", func(w http.ResponseWriter, r *http.Request) {
		var q api.JobRequest
		if err := api.ReadJSON(r, &q); err != nil {
			api.WriteError(w, err)
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.asked++
		if f.answers != nil {
			if err := f.answers(q); err != nil {
				api.WriteError(w, err)
				return
			}
		}
		if f.forgot[q.UUID] {
			api.WriteError(w, api.Errorf(api.CodeGone, "this was a job"))
			return
		}
		if q.Taken && f.folders[q.UUID] == "" {
			api.WriteError(w, api.Errorf(api.CodeUsage, "there is no folder %s", q.UUID))
			return
		}
		at := 0
		for i := range f.taken {
			if f.taken[i].UUID == q.UUID {
				at = i + 1
			}
		}
		if at == 0 {
			f.taken, f.by = append(f.taken, q), append(f.by, api.HomeOf(r.Header).Name)
			at = len(f.taken)
		}
		if f.lose > 0 {
			f.lose--
			panic(http.ErrAbortHandler)
		}
		id := strconv.Itoa(at)
		api.WriteJSON(w, 200, api.Job{ID: &id, UUID: q.UUID, State: api.JobQueued})
	})
	f.brought.routes(mux)
	mux.HandleFunc("GET /v1/jobs/{id}", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		uuid := r.PathValue("id")
		switch {
		case f.forgot[uuid]:
			api.WriteError(w, api.Errorf(api.CodeGone, "this was a job"))
		case slices.ContainsFunc(f.taken, func(q api.JobRequest) bool { return q.UUID == uuid }):
			api.WriteJSON(w, 200, api.Job{UUID: uuid})
		default:
			api.WriteError(w, api.Errorf(api.CodeNotFound, "there is no job %s", uuid))
		}
	})
	mux.HandleFunc("POST /v1/jobs/{id}/{verb}", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.told = append(f.told, r.PathValue("verb")+" "+r.PathValue("id"))
		api.WriteJSON(w, 200, api.Job{})
	})
}

func (f *fakeJobs) uuids() (out []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, q := range f.taken {
		out = append(out, q.UUID)
	}
	return out
}

// stopped is an env with a stopped instance vision, with its agent's queue.
func stopped(t *testing.T) (*env, *Workspace, func()) {
	e := newEnv(t)
	w, done := e.open()
	e.create(w, "vision")
	e.action(w, "stop")
	return e, w, done
}

func (e *env) action(w *Workspace, kind string) {
	e.t.Helper()
	op, err := w.Action(e.ctx(), "vision", kind, api.ActionRequest{})
	require.NoError(e.t, err)
	op = ended(e.t, w, op)
	require.Equal(e.t, api.OpSucceeded, op.State, op.Error)
}

// keep submits a job that must be kept.
func (e *env) keep(w *Workspace, argv ...string) string {
	e.t.Helper()
	id := uuid.NewString()
	job, kept, err := w.Outbox.Submit(e.ctx(), "vision", api.JobRequest{UUID: id, Argv: argv})
	require.NoError(e.t, err)
	require.True(e.t, kept)
	require.Nil(e.t, job.ID)
	require.Equal(e.t, id, job.UUID)
	return id
}

func soon(t *testing.T, what string, f func() bool) {
	t.Helper()
	require.Eventually(t, f, time.Minute, time.Millisecond, what)
}

func TestOutboxKeepsAndHandsOver(t *testing.T) {
	e, w, done := stopped(t)
	first, second := e.keep(w, "/usr/bin/python", "train.py"), e.keep(w, "true")
	job, err := w.Outbox.Job("vision", first[:9])
	require.NoError(t, err)
	require.Equal(t, api.JobQueued, job.State)
	require.Equal(t, "python", job.Name)
	require.Equal(t, "waits for vision to start; this laptop must be awake until then", job.Reason)
	require.NotZero(t, w.Outbox.Waiting(), "the daemon stays")
	in, err := w.Instance(e.ctx(), "vision")
	require.NoError(t, err)
	require.Equal(t, 2, in.JobsKept)
	jobs, _, err := w.Outbox.Jobs("vision", api.JobQuery{Text: "TRAIN"})
	require.NoError(t, err)
	require.Len(t, jobs, 1)
	jobs, _, err = w.Outbox.Jobs("vision", api.JobQuery{})
	require.NoError(t, err)
	require.Equal(t, []string{second, first}, []string{jobs[0].UUID, jobs[1].UUID}, "newest first")
	again, kept, err := w.Outbox.Submit(e.ctx(), "vision", api.JobRequest{UUID: first, Argv: []string{"other"}})
	require.NoError(t, err)
	require.True(t, kept)
	require.Equal(t, "python", again.Name, "a UUID that was said before is answered with its job")

	done()
	w, _ = e.open() // the next daemon has them
	e.lines.jobs.lose = 1
	e.action(w, "start")
	soon(t, "they are handed over", func() bool { return w.Outbox.Waiting() == 0 })
	require.Equal(t, []string{first, second}, e.lines.jobs.uuids(), "in their order, each once, though an answer was lost")
	require.Equal(t, api.NewHome("", "tester").Name, e.lines.jobs.by[0], "as whom submitted it")
	_, err = w.Outbox.Job("vision", first)
	require.ErrorIs(t, err, &api.Error{Code: api.CodeNotFound})
	_, kept, err = w.Outbox.Submit(e.ctx(), "vision", api.JobRequest{UUID: uuid.NewString(), Argv: []string{"true"}})
	require.NoError(t, err)
	require.False(t, kept, "a running instance is asked itself")
}

func TestOutboxRefuses(t *testing.T) {
	e, w, _ := stopped(t)
	for name, q := range map[string]api.JobRequest{"no UUID": {Argv: []string{"true"}}, "no command": {UUID: uuid.NewString()},
		"a short one": {UUID: uuid.NewString()[:9], Argv: []string{"true"}},
		"no array":    {UUID: uuid.NewString(), Argv: []string{"true"}, Array: "9-1"},
		"no sweep":    {UUID: uuid.NewString(), Argv: []string{"true"}, Params: []string{"lr"}},
		"no job":      {UUID: uuid.NewString(), Argv: []string{"true"}, After: []string{"first"}}} {
		_, _, err := w.Outbox.Submit(e.ctx(), "vision", q)
		require.ErrorIs(t, err, &api.Error{Code: api.CodeUsage}, name)
	}
	w.mu.Lock()
	for _, entry := range w.entries {
		for range maxLetters {
			entry.post.letters = append(entry.post.letters, &letter{letterDoc: letterDoc{State: api.JobFailed}})
		}
	}
	w.mu.Unlock()
	_, _, err := w.Outbox.Submit(e.ctx(), "vision", api.JobRequest{UUID: uuid.NewString(), Argv: []string{"true"}})
	require.ErrorIs(t, err, &api.Error{Code: api.CodeRefused})
}

// TestOutboxOfOneThatIsNotTaken: what the agent refuses for good fails, and stays until it is removed; what it can't
// take now is tried again.
func TestOutboxOfOneThatIsNotTaken(t *testing.T) {
	e, w, done := stopped(t)
	bad, good := e.keep(w, "bad"), e.keep(w, "good")
	full := true
	e.lines.jobs.answers = func(q api.JobRequest) error {
		switch {
		case q.UUID == bad:
			return api.Errorf(api.CodeUsage, "there is no folder")
		case full:
			full = false
			return api.Errorf(api.CodeRefused, "the disk is full")
		}
		return nil
	}
	e.action(w, "start")
	soon(t, "the other one is handed over", func() bool { return len(e.lines.jobs.uuids()) == 1 && w.Outbox.Waiting() == 0 })
	require.Equal(t, []string{good}, e.lines.jobs.uuids())
	job, err := w.Outbox.Job("vision", bad)
	require.NoError(t, err)
	require.Equal(t, api.JobFailed, job.State)
	require.Contains(t, job.Message, "there is no folder")
	done()
	w, _ = e.open()
	job, err = w.Outbox.Await(t.Context(), "vision", bad, -1)
	require.NoError(t, err)
	require.Equal(t, api.JobFailed, job.State, "it stays")
	require.NoError(t, w.Outbox.Remove(e.ctx(), "vision", bad))
	_, err = w.Outbox.Job("vision", bad)
	require.Error(t, err)
}

// TestOutboxBringsTheEngine: a job with an image waits for an instance that can't run containers yet.
func TestOutboxBringsTheEngine(t *testing.T) {
	e := newEnv(t)
	asked := ""
	e.opts = func(o *Options) {
		o.Engine = func(goos, goarch string) ([]byte, bool) {
			asked = goos + "/" + goarch
			return []byte("program"), true
		}
	}
	w, _ := e.open()
	e.create(w, "vision")
	e.action(w, "stop")
	e.keep(w, "train")
	brought := make(chan string, 10) // so that it may be brought again, which is seen
	e.lines.engine = func(program []byte) { brought <- string(program) }
	e.lines.jobs.answers = func(api.JobRequest) error {
		if len(brought) == 0 {
			return api.Errorf(api.CodeNoEngine, "it is not here")
		}
		return nil
	}
	e.action(w, "start")
	soon(t, "it is handed over", func() bool { return w.Outbox.Waiting() == 0 })
	require.Len(t, e.lines.jobs.uuids(), 1)
	require.Equal(t, "program", <-brought)
	require.Equal(t, "linux/amd64", asked)
}

// TestOutboxSaysWhatKeepsALetter: why it could not be handed over yet stands in the job's reason.
func TestOutboxSaysWhatKeepsALetter(t *testing.T) {
	_, w, _ := stopped(t)
	w.mu.Lock()
	defer w.mu.Unlock()
	e, err := w.find("vision")
	require.NoError(t, err)
	e.rec.State = api.StateRunning
	l := &letter{letterDoc: letterDoc{Job: api.JobRequest{Argv: []string{"true"}}, State: api.JobQueued}}
	require.Equal(t, "waits to be handed over to vision", l.shown(e).Reason)
	l.trouble = "the disk is full"
	require.Equal(t, "waits to be handed over to vision: the disk is full", l.shown(e).Reason)

	l.Job.Service = &api.JobService{Port: 8000}
	j := l.shown(e)
	require.False(t, api.JobQuery{}.Fits(&j), "a service stands in no list of jobs")
	require.True(t, api.JobQuery{Services: true}.Fits(&j))
}

// TestOutboxAsksWhoMay: who may not use the instance any more when it runs has nothing run there.
func TestOutboxAsksWhoMay(t *testing.T) {
	e := newEnv(t)
	var mu sync.Mutex
	may := true
	e.opts = func(o *Options) {
		o.Policy = func(p backend.Principal, a api.Action, _ *api.Instance) bool {
			mu.Lock()
			defer mu.Unlock()
			return may || a != api.ActionAccess || p.Name != "tester"
		}
	}
	w, _ := e.open()
	e.create(w, "vision")
	e.action(w, "stop")
	id := e.keep(w, "true")
	mu.Lock()
	may = false
	mu.Unlock()
	e.action(w, "start")
	soon(t, "it fails", func() bool { return w.Outbox.Waiting() == 0 })
	job, err := w.Outbox.Job("vision", id)
	require.NoError(t, err)
	require.Equal(t, api.JobFailed, job.State)
	require.Contains(t, job.Message, "may not do that")
	require.Empty(t, e.lines.jobs.uuids())
}

func TestOutboxCancels(t *testing.T) {
	e, w, done := stopped(t)
	id := e.keep(w, "true")
	before, err := w.Outbox.Job("vision", id)
	require.NoError(t, err)
	require.ErrorIs(t, w.Outbox.Remove(e.ctx(), "vision", id), &api.Error{Code: api.CodeConflict})
	seen := make(chan api.Job)
	go func() {
		job, _ := w.Outbox.Await(t.Context(), "vision", id, before.Seq)
		seen <- job
	}()
	job, err := w.Outbox.Cancel(e.ctx(), "vision", id)
	require.NoError(t, err)
	require.Equal(t, api.JobCancelled, job.State)
	require.Equal(t, api.JobCancelled, (<-seen).State, "who waits for it is told")
	require.Zero(t, w.Outbox.Waiting())
	e.action(w, "start")
	e.action(w, "stop")
	require.Empty(t, e.lines.jobs.uuids())
	require.NoError(t, w.Outbox.Remove(e.ctx(), "vision", id))

	// One that may have been handed over, since its answer is lost again and again, is cancelled there.
	id = e.keep(w, "true")
	e.lines.jobs.mu.Lock()
	e.lines.jobs.lose = 1000
	e.lines.jobs.mu.Unlock()
	e.action(w, "start")
	soon(t, "it is offered", func() bool { return len(e.lines.jobs.uuids()) == 1 })
	job, err = w.Outbox.Cancel(e.ctx(), "vision", id)
	require.NoError(t, err)
	require.Equal(t, api.JobQueued, job.State)
	require.Contains(t, job.Reason, "cancelled when vision can be asked")
	done()
	e.lines.jobs.mu.Lock()
	e.lines.jobs.lose = 0
	e.lines.jobs.mu.Unlock()
	w, _ = e.open()
	soon(t, "it is cancelled there", func() bool { return w.Outbox.Waiting() == 0 })
	require.Equal(t, []string{"cancel 1"}, e.lines.jobs.told)
	require.Equal(t, []string{id}, e.lines.jobs.uuids(), "it was not submitted twice")
}

func TestOutboxGoesWithItsInstance(t *testing.T) {
	e, w, done := stopped(t)
	id := e.keep(w, "true")
	e.action(w, "delete")
	soon(t, "nothing waits", func() bool { return w.Outbox.Waiting() == 0 })
	done()
	w, _ = e.open()
	_, err := w.Outbox.Job("vision", id)
	require.Error(t, err)
	docs, err := w.opts.Store.Documents(t.Context(), "")
	require.NoError(t, err)
	require.Empty(t, docs)
}

// TestOutboxAtEveryFaultPoint stops the workspace dead at each point of a job's way through the outbox: what was
// acknowledged is handed over by the next one, once.
func TestOutboxAtEveryFaultPoint(t *testing.T) {
	for _, point := range OutboxFaultPoints() {
		t.Run(point, func(t *testing.T) {
			e, w, done := stopped(t)
			var kept []string
			kept = append(kept, e.keep(w, "first"))
			done()
			died := make(chan struct{})
			var once sync.Once
			e.opts = func(o *Options) {
				o.Store = dying(o.Store, died)
				o.Fault = func(p string) {
					if p == point {
						once.Do(func() { close(died) })
						panic(errDied{})
					}
				}
				o.dies = func(v any) bool {
					_, ok := v.(errDied)
					return ok
				}
			}
			w, _ = e.open()
			id := uuid.NewString()
			q := api.JobRequest{UUID: id, Argv: []string{"second"}, Taken: true}
			func() {
				defer func() { _ = recover() }()
				e.parcel(w, id, map[string]string{"f": "as it was"})
				_, _, err := w.Outbox.Submit(e.ctx(), "vision", q)
				require.NoError(t, err)
				kept = append(kept, id)
				_, _ = w.Action(e.ctx(), "vision", "start", api.ActionRequest{})
			}()
			select {
			case <-died:
			case <-time.After(time.Minute):
				t.Fatal("the point was not reached")
			}
			e.opts = nil
			w, _ = e.open()
			if point == pointParcel || point == pointSubmit || point == pointKept { // the client says it again
				job, _, err := w.Outbox.Submit(e.ctx(), "vision", q)
				require.NoError(t, err)
				require.Equal(t, id, job.UUID)
				kept = append(kept, id)
			}
			if in, err := w.Instance(e.ctx(), "vision"); err == nil && in.State == api.StateStopped {
				e.action(w, "start")
			}
			soon(t, "all are handed over", func() bool { return w.Outbox.Waiting() == 0 })
			require.Equal(t, kept, e.lines.jobs.uuids(), "each once")
			require.Equal(t, map[string]string{"f": "as it was"}, e.lines.jobs.has(t, id))
			e.noParcels()
		})
	}
}

// TestOutboxOverAStoreThatFails: wherever the store fails, and though it may have written then, each job that was
// acknowledged is handed over once.
func TestOutboxOverAStoreThatFails(t *testing.T) {
	for _, f := range []storetest.Fault{{Err: storetest.ErrFull}, {Err: errors.New("the answer is lost"), Written: true}} {
		for at := 1; at <= 4; at++ {
			e, _, done := stopped(t)
			done()
			var mu sync.Mutex
			n := 0
			e.opts = func(o *Options) {
				o.Store = &storetest.Failing{Store: o.Store, Fails: func(_ int, cs []*store.Change) storetest.Fault {
					mu.Lock()
					defer mu.Unlock()
					for _, c := range cs {
						if len(c.Documents)+len(c.RemoveDocuments) > 0 {
							n++
							if n == at {
								return f
							}
						}
					}
					return storetest.Fault{}
				}}
			}
			w, _ := e.open()
			id := uuid.NewString()
			q := api.JobRequest{UUID: id, Argv: []string{"true"}}
			_, _, err := w.Outbox.Submit(e.ctx(), "vision", q)
			if err != nil {
				_, _, err = w.Outbox.Submit(e.ctx(), "vision", q)
			}
			require.NoError(t, err)
			e.action(w, "start")
			soon(t, "it is handed over", func() bool { return w.Outbox.Waiting() == 0 })
			require.Equal(t, []string{id}, e.lines.jobs.uuids())
			docs, err := w.opts.Store.Documents(context.Background(), "")
			require.NoError(t, err)
			require.Empty(t, docs)
		}
	}
}
