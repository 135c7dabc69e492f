package uitest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"berth/backend/api"
	"berth/backend/service/workspace"
	"berth/ui/screen"
)

// queues is the part of a Workspace that has to do with jobs, which are put there by hand: no agent runs any.
type queues struct {
	ws    *Workspace
	mu    sync.Mutex
	of    map[string]*jobs // by the instance's id
	moved chan struct{}    // closed and made anew at each change
	old   map[string]bool  // instances whose agents are older than jobs

	waiting int // who wait for moved
}

// jobs is the queue of one instance.
type jobs struct {
	seq  int64
	list []api.Job // newest first
	logs map[string][]byte
}

func newQueues(w *Workspace) *queues {
	return &queues{ws: w, of: map[string]*jobs{}, moved: make(chan struct{}), old: map[string]bool{}}
}

// change runs f with an instance's queue, which may be made for it, and wakes who waits.
func (q *queues) change(id string, f func(j *jobs)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	j := q.of[id]
	if j == nil {
		j = &jobs{logs: map[string][]byte{}}
		q.of[id] = j
	}
	f(j)
	q.ws.waits.add(-q.waiting)
	q.waiting = 0
	close(q.moved)
	q.moved = make(chan struct{})
}

// PutJobs adds jobs to an instance's queue, or changes those of the same id.
func (q *queues) PutJobs(id string, list ...api.Job) {
	q.change(id, func(j *jobs) {
		for _, x := range list {
			j.seq++
			x.Seq = j.seq
			if i := slices.IndexFunc(j.list, func(y api.Job) bool { return *y.ID == *x.ID }); i >= 0 {
				j.list[i] = x
				continue
			}
			j.list = slices.Insert(j.list, 0, x)
		}
	})
}

// Progress says how far a job is, which is no change of the job.
func (q *queues) Progress(id string, x api.Job) {
	q.change(id, func(j *jobs) {
		for i := range j.list {
			if *j.list[i].ID == *x.ID {
				j.list[i].SetProgress(x.Progress())
			}
		}
	})
}

// Print adds to the log of a job.
func (q *queues) Print(id, job, text string) {
	q.change(id, func(j *jobs) { j.logs[job] = append(j.logs[job], text...) })
}

// OlderThanJobs makes an instance's agent one that knows no jobs.
func (q *queues) OlderThanJobs(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.old[id] = true
}

// queueOf is the queue of an instance, as its agent answers for it.
type queueOf struct {
	q   *queues
	ref string
}

// JobsOf returns the queue of an instance.
func (q *queues) JobsOf(ref string) screen.Jobs { return queueOf{q, ref} }

// look runs f until it is done, with the instance's queue, nil where it never had a job.
func (o queueOf) look(ctx context.Context, f func(j *jobs) bool) error {
	in, err := o.q.ws.real.Instance(asAda(), o.ref)
	switch {
	case err != nil:
		return err
	case o.q.old[in.ID]:
		return api.Errorf(api.CodeNotFound, "there is no GET /v1/jobs/changes")
	case in.Agent == nil || in.Agent.State != "ready":
		return api.Errorf(api.CodeUnreachable, "the agent of %s can't be reached", in.Name)
	}
	for {
		o.q.mu.Lock()
		done, moved := f(o.q.of[in.ID]), o.q.moved
		if !done {
			o.q.waiting++
			o.q.ws.waits.add(1)
		}
		o.q.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-moved:
			continue
		case <-ctx.Done():
		}
		o.q.mu.Lock()
		if o.q.moved == moved {
			o.q.waiting--
			o.q.ws.waits.add(-1)
		}
		o.q.mu.Unlock()
		return ctx.Err()
	}
}

// Changes implements screen.Jobs.
func (o queueOf) Changes(ctx context.Context, epoch string, after int64) (x api.JobChanges, err error) {
	o.q.ws.call("changes %s %q %d", o.ref, epoch, after)
	if _, seq, ok := o.kept(api.JobQuery{}); ok {
		return api.JobChanges{Epoch: "outbox", Seq: seq, Anew: epoch != "outbox" || seq != after}, nil
	}
	err = o.look(ctx, func(j *jobs) bool {
		switch {
		case j == nil:
			x = api.JobChanges{Epoch: api.NoJobs, Anew: true}
			return epoch != api.NoJobs
		case epoch != "one":
			x = api.JobChanges{Epoch: "one", Seq: j.seq, Anew: true}
			return true
		}
		x = api.JobChanges{Epoch: "one", Seq: j.seq}
		for _, y := range j.list {
			if y.Seq > after {
				x.Jobs = append(x.Jobs, y)
			}
		}
		return len(x.Jobs) > 0
	})
	return x, err
}

// List implements screen.Jobs.
func (o queueOf) List(ctx context.Context, q api.JobQuery) (p api.JobPage, err error) {
	if kept, _, ok := o.kept(q); ok {
		return api.JobPage{Jobs: kept}, nil
	}
	err = o.look(ctx, func(j *jobs) bool {
		behind := q.Page == ""
		for _, y := range j.list {
			if !behind {
				behind = *y.ID == q.Page
				continue
			}
			array, _ := parent(*y.ID)
			if array != q.Array || q.Services != (y.Service != nil) || len(q.States) > 0 && !slices.Contains(q.States, y.State) {
				continue
			}
			if len(p.Jobs) == q.Limit {
				p.Next = *p.Jobs[len(p.Jobs)-1].ID
				break
			}
			p.Jobs = append(p.Jobs, y)
		}
		return true
	})
	return p, err
}

// Get implements screen.Jobs.
func (o queueOf) Get(ctx context.Context, id string) (api.Job, error) { return o.Wait(ctx, id, -1) }

// Wait implements screen.Jobs.
func (o queueOf) Wait(ctx context.Context, id string, seq int64) (x api.Job, err error) {
	found := false
	err = o.look(ctx, func(j *jobs) bool {
		x, found = j.job(id)
		return !found || x.Seq != seq
	})
	if err == nil && !found {
		err = api.Errorf(api.CodeNotFound, "there is no job %s on this instance", id)
	}
	return x, err
}

func (j *jobs) job(id string) (api.Job, bool) {
	if j != nil {
		if i := slices.IndexFunc(j.list, func(y api.Job) bool { return *y.ID == id }); i >= 0 {
			return j.list[i], true
		}
	}
	return api.Job{}, false
}

// Progress implements screen.Jobs.
func (o queueOf) Progress(ctx context.Context, ids []string, mark string) (p api.JobsProgress, err error) {
	o.q.ws.call("progress %s %v %q", o.ref, ids, mark)
	err = o.look(ctx, func(j *jobs) bool {
		p = api.JobsProgress{}
		for _, id := range ids {
			if x, ok := j.job(id); ok && !x.State.Done() {
				p.Jobs = append(p.Jobs, x.Progress())
			}
		}
		b, _ := json.Marshal(p.Jobs) // never fails: these are numbers and words
		p.Mark = string(b)
		return p.Mark != mark
	})
	return p, err
}

// Do implements screen.Jobs: it only notes what was said, or refuses it as the workspace's Fail says.
func (o queueOf) Do(_ context.Context, id, verb string) (api.Job, error) {
	o.q.ws.call("job %s %s %s", verb, o.ref, id)
	if o.q.ws.Fail != nil {
		return api.Job{}, o.q.ws.Fail(verb, id)
	}
	return api.Job{}, nil
}

// SetPriority implements screen.Jobs.
func (o queueOf) SetPriority(ctx context.Context, id string, priority int) (api.Job, error) {
	return o.Do(ctx, fmt.Sprint(id, " ", priority), "priority")
}

// Move implements screen.Jobs.
func (o queueOf) Move(ctx context.Context, id, to string) (api.Job, error) {
	return o.Do(ctx, id+" "+to, "move")
}

// Request implements screen.Jobs.
func (o queueOf) Request(ctx context.Context, id string) (q api.JobRequest, err error) {
	x, err := o.Get(ctx, id)
	return api.JobRequest{UUID: x.UUID, Name: x.Name, Argv: x.Command, Workdir: x.Workdir, Group: x.Group,
		Priority: x.Priority, Env: []string{"SEED=1"}, TimeoutSeconds: x.Requested.TimeoutSeconds}, err
}

// Submit implements screen.Jobs.
func (o queueOf) Submit(ctx context.Context, q api.JobRequest) (x api.Job, err error) {
	in, err := o.q.ws.real.Instance(asAda(), o.ref)
	if err != nil {
		return x, err
	}
	if _, err := o.Do(ctx, fmt.Sprintf("%q", q.Argv), "submit"); err != nil {
		return x, err
	}
	id := "100"
	x = api.Job{ID: &id, UUID: q.UUID, Name: q.Name, Command: q.Argv, State: api.JobQueued, Workdir: q.Workdir,
		Group: q.Group, Priority: q.Priority, Supervised: true, SubmittedAt: o.q.ws.clock()}
	o.q.PutJobs(in.ID, x)
	return x, nil
}

// JobCounts says how many jobs of an instance run and wait, as its agent would.
func JobCounts(w *Workspace, id string, n api.JobCounts) { workspace.JobsAre(w.real, w.id(id), n) }

// Log implements screen.Jobs.
func (o queueOf) Log(ctx context.Context, id string, l api.LogOptions, each func(api.JobLogPart, []byte) error) error {
	at := l.From
	for {
		var b []byte
		end := false
		var x api.Job
		if err := o.look(ctx, func(j *jobs) bool {
			x, _ = j.job(id)
			log := j.logs[id]
			b = slices.Clone(log[min(at, int64(len(log))):])
			end = len(b) == 0 && x.State.Done()
			return len(b) > 0 || end
		}); err != nil {
			return err
		}
		if err := each(api.JobLogPart{At: at, Bytes: len(b), End: end, Run: max(1, x.Attempt)}, b); err != nil || end {
			return err
		}
		at += int64(len(b))
	}
}

func parent(id string) (array string, element bool) {
	for i := range id {
		if id[i] == '_' {
			return id[:i], true
		}
	}
	return "", false
}

// Work is a queue with a job of each kind.
func Work(now time.Time) []api.Job {
	at := func(d time.Duration) time.Time { return now.Add(-d) }
	job := func(id, name string, state api.JobState, argv ...string) api.Job {
		return api.Job{ID: &id, UUID: "u-" + id, Name: name, Command: argv, State: state, Supervised: true, Attempt: 1,
			SubmittedBy: "ada@tower", SubmittedAt: at(5 * time.Hour), Workdir: "/share/ada",
			LogPath: "/home/ubuntu/.local/state/berth/agent/jobs/runs/" + id + "/1/log"}
	}
	code := func(n int) *int { return &n }
	prepared := job("9", "prepare", api.JobSucceeded, "python", "prepare.py", "--data", "/data/raw images")
	prepared.StartedAt, prepared.EndedAt, prepared.ExitCode = at(4*time.Hour), at(3*time.Hour+20*time.Minute), code(0)
	prepared.CPUSeconds, prepared.PeakMemoryBytes = 2391.25, 3<<30
	broken := job("10", "train", api.JobFailed, "python", "train.py", "--lr", "0.5")
	broken.StartedAt, broken.EndedAt = at(3*time.Hour), at(3*time.Hour-14*time.Second)
	broken.ExitCode, broken.Cause = code(1), "exit"
	lost := job("11", "\u202eeval\x1b[2J", api.JobLost, "sh", "-c", "sleep 1\nrm -rf /tmp/x")
	lost.StartedAt, lost.EndedAt, lost.Cause = at(26*time.Hour), at(25*time.Hour), "lost"
	lost.Message = "the machine was started again while it ran"
	gone := job("12", "sweep-old", api.JobCancelled, "./sweep.sh")
	gone.EndedAt, gone.Attempt, gone.By = at(2*time.Hour), 0, "ada@tower"
	train := job("13", "train", api.JobRunning, "python", "train.py", "--lr", "0.1", "--out", "/share/ada/runs/a-long-name-of-a-run")
	train.StartedAt = at(52 * time.Minute)
	part := 37.4
	train.ProgressPercent, train.ProgressFrom, train.ProgressRate, train.ProgressUnit = &part, api.FromOutput, 4.2, "it"
	train.GPUs, train.GPUUUIDs = []int{0}, []string{"GPU-0"}
	train.EstimatedEndAt = now.Add(87 * time.Minute)
	stopping := job("14", "export", api.JobStopping, "./export.sh")
	stopping.StartedAt, stopping.Left = at(7*time.Minute), []string{"sleep"}
	grid := job("15", "grid", api.JobQueued, "python", "train.py", "--lr", "{lr}")
	grid.StartedAt, grid.Array = at(31*time.Minute), "0-99%4"
	grid.Elements = &api.Tally{All: 100, Waiting: 63, Running: 4, Succeeded: 31, Failed: 2}
	grid.Reason = "at most 4 of its elements run at once"
	list := []api.Job{prepared, broken, lost, gone, train, stopping, grid}
	for i, st := range []api.JobState{api.JobSucceeded, api.JobFailed, api.JobRunning} {
		el := job("15_"+string(rune('0'+i)), "grid", st, "python", "train.py", "--lr", "0."+string(rune('1'+i)))
		n, a := i, int64(15)
		el.ArrayID, el.ArrayIndex, el.StartedAt, el.UUID = &a, &n, at(30*time.Minute), ""
		if st.Done() {
			el.EndedAt, el.ExitCode = at(20*time.Minute), code(i)
		}
		list = append(list, el)
	}
	next := job("16", "evaluate", api.JobQueued, "python", "evaluate.py")
	next.Attempt, next.Reason, next.EstimatedStartAt, next.After = 0, "waits for job 13", now.Add(95*time.Minute), []string{"13"}
	night := job("17", "nightly", api.JobQueued, "make", "nightly")
	night.Attempt, night.Reason, night.EstimatedStartAt = 0, "begins at 02:00", now.Add(16*time.Hour)
	held := job("18", "report", api.JobHeld, "make", "report")
	held.Attempt, held.Reason = 0, "held until it is released"
	return append(list, next, night, held)
}

// Serving are two services: one that is well, and one that was and is not now.
func Serving(now time.Time) []api.Job {
	service := func(id, name string, port int, argv ...string) api.Job {
		return api.Job{ID: &id, UUID: "u-" + id, Name: name, Command: argv, State: api.JobRunning, Supervised: true,
			SubmittedBy: "ada@tower", SubmittedAt: now.Add(-30 * time.Hour), StartedAt: now.Add(-26 * time.Hour),
			Service: &api.JobService{Port: port}, Health: api.HealthOK, Workdir: "/share/ada"}
	}
	llm := service("7", "llm", 8000, "vllm", "serve", "mistral-7b", "--port", "8000")
	llm.Attempt, llm.Service.Health = 1, "/health"
	demo := service("8", "demo", 7860, "python", "demo.py")
	demo.Attempt, demo.Health, demo.StartedAt = 4, api.HealthFailing, now.Add(-3*time.Minute)
	demo.Reason = "connection refused"
	return []api.Job{llm, demo}
}

// WorkLog is what job 13 of Work has printed: with a progress bar that was drawn many times.
const WorkLog = "loading /data/images: 48210 files\nmodel has 86.6 M parameters\n" +
	"epoch 1:   0%\repoch 1:  50%\repoch 1: 100%, loss 2.31\r\nepoch 2: 100%, loss 1.87\n" +
	"\x1b[31mwarning\x1b[0m: the learning rate is higher than what the schedule of this model was made for; it may not converge" +
	" in the time that it has\nepoch 3:  10%\repoch 3:  20%"
