package job

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"berth/backend/agent/job/notify"
	"berth/backend/agent/job/run"
	"berth/backend/agent/lease"
	"berth/backend/agent/part"
	"berth/backend/api"
	"berth/gpu"
	"berth/gpu/probe"
	"berth/queue"
	"berth/queue/journal"
	"berth/queue/plan"
)

// slotsPerCore is how many jobs run at once for each core.
const slotsPerCore = 2

// usualLimits are those of an instance of which nothing was set.
func usualLimits() plan.Limits { return plan.Limits{Slots: slotsPerCore * runtime.NumCPU()} }

// service is the part that keeps the queue. It is opened at the first request, or when the agent starts where there is
// one: an instance without jobs pays nothing for it.
type service struct {
	h *part.Host

	mu     sync.Mutex
	left   bool  // nothing is opened any more
	loop   *loop // nil: not open
	runner *run.Runner
	teller *teller
	codes  *codes
	cancel context.CancelFunc
	wg     sync.WaitGroup
	began  chan struct{} // closed when the queue is open
}

// New makes the part that keeps and runs jobs.
func New(h *part.Host) part.Part {
	s := &service{h: h, began: make(chan struct{})}
	return part.Part{Name: "jobs", Routes: s.routes(), Start: s.start, Drain: s.stop, Stop: s.stop, End: s.end,
		Info: s.info, Processes: s.processes, GPUs: s.gpus}
}

func (s *service) routes() []api.Route {
	access := api.Needs(api.ActionAccess)
	return []api.Route{
		{Method: "POST", Path: "/v1/jobs", Needs: access, Summary: "Submit a job; the answer comes when it is on the disk",
			Request: api.JobRequest{}, Response: api.Job{}, Handler: s.handleSubmit},
		{Method: "GET", Path: "/v1/jobs", Needs: access,
			Summary:  "A page of the jobs, newest first; with order=next of those that wait, by their turn",
			Query:    []string{"state", "since", "text", "array", "order", "services", "page", "limit"},
			Response: api.JobPage{}, Handler: s.handleList},
		{Method: "GET", Path: "/v1/jobs/changes", Needs: access,
			Summary: "The jobs that changed after a change number; waits up to 25 s for one",
			Query:   []string{"epoch", "after"}, Response: api.JobChanges{}, Handler: s.handleChanges},
		{Method: "GET", Path: "/v1/jobs/progress", Needs: access,
			Summary: "How far jobs are; waits up to 25 s for another answer than the mark's",
			Query:   []string{"id", "mark"}, Response: api.JobsProgress{}, Handler: s.handleProgress},
		{Method: "GET", Path: "/v1/jobs/usage", Needs: access, Summary: "What jobs have used, by user or group",
			Query: []string{"by", "since"}, Response: api.JobUsage{}, Handler: s.handleUsage},
		{Method: "GET", Path: "/v1/jobs/{id}", Needs: access,
			Summary: "A job; waits up to 25 s for a change number other than after",
			Query:   []string{"after"}, Response: api.Job{}, Handler: s.handleGet},
		{Method: "GET", Path: "/v1/jobs/{id}/request", Needs: access, Summary: "What a job was asked for, to ask for it again",
			Response: api.JobRequest{}, Handler: s.handleRequest},
		{Method: "DELETE", Path: "/v1/jobs/{id}", Needs: access, Summary: "Forget a job that is done, with its logs",
			Handler: s.handleRemove},
		{Method: "GET", Path: "/v1/jobs/{id}/log", Needs: access, Summary: "A job's log, in parts",
			Query: []string{"follow", "tail", "from", "run"}, Stream: "parts", Handler: s.handleLog},
		{Method: "GET", Path: "/v1/queue/counts", Needs: access,
			Summary: "How many jobs run and wait; waits up to 25 s for another answer than not says",
			Query:   []string{"not"}, Response: api.JobCounts{}, Handler: s.handleCounts},
		{Method: "GET", Path: "/v1/queue/limits", Needs: access, Summary: "How many jobs run at once",
			Response: api.QueueLimits{}, Handler: s.handleLimits},
		{Method: "POST", Path: "/v1/queue/limits", Needs: access, Summary: "Change how many jobs run at once",
			Request: api.QueueLimitsRequest{}, Response: api.QueueLimits{}, Handler: s.handleLimits},
		{Method: "POST", Path: "/v1/engine", Needs: access,
			Summary: "Put the program here that runs containers; the workspace says which",
			Request: api.EngineRequest{}, Response: api.EngineAnswer{}, Handler: s.handleEngine},
		{Method: "POST", Path: "/v1/queue/drain", Needs: access,
			Summary: "Start nothing for a while, before a stop; the answer may wait until nothing runs",
			Request: api.DrainRequest{}, Response: api.JobCounts{}, Handler: s.handleDrain},
		{Method: "POST", Path: "/v1/jobs/{id}/{verb}", Needs: access,
			Summary: "Tell a job something: cancel, hold, release, pause, resume, retry; priority and move take to",
			Query:   []string{"to"}, Response: api.Job{}, Handler: s.handleTell},
	}
}

func (s *service) dir() string { return filepath.Join(s.h.State, "jobs") }

// start goes on with the queue that there is.
func (s *service) start(context.Context) error {
	if !journal.Exists(s.dir()) {
		return nil
	}
	_, err := s.queue()
	return err
}

// queue is the loop of the open queue.
func (s *service) queue() (*loop, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.left:
		return nil, explain(errLeaves)
	case s.loop != nil:
		return s.loop, nil
	}
	runs := filepath.Join(s.dir(), "runs")
	if err := os.MkdirAll(runs, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of jobs: %w", err)
	}
	if err := os.RemoveAll(removedDir(runs)); err != nil {
		s.h.Log.Warn("the logs of jobs that are forgotten are not removed", "error", err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // it ends with stop
	j, err := journal.Open(ctx, s.dir())
	if err != nil {
		cancel()
		return nil, err
	}
	if told := j.Told(); told != "" {
		s.h.Event("jobs", "error", told)
	}
	if err := goAbove(ctx, j, runs); err != nil {
		cancel()
		_ = j.Close()
		return nil, err
	}
	l := newLoop(j, s.limitsNow(), runs, s.h.Log)
	l.gpus.watch, l.gpus.home, l.gpus.demand = s.h.Watch, s.h.State, l.demand
	l.gpus.warn = func(what string) { s.h.Event("jobs", "warn", what) }
	first := l.gpus.first()
	l.limits.GPUs, l.limits.GPUsUnknown = first.GPUs, first.Unknown
	l.secrets = run.Secrets{Dir: filepath.Join(s.dir(), "secrets")}
	l.taken = s.h.TakenDirs()
	l.rules.lookAt(notify.Path(s.h.Home))
	runner := run.New(s.h, l.secrets, l.emit)
	l.runner, l.healths.runs = runner, runner.Processes
	codes := newCodes(s.h, l)
	runner.Before = codes.beginning
	runner.Examine, runner.Biggest = l.gpus.examine, func(ctx context.Context) string { return biggest(ctx, s.h.Watch) }
	runner.HasGPUs, runner.Leases = l.gpus.present, l.gpus.leases
	runner.Engine = s.engineHost
	if err := l.load(ctx); err != nil {
		cancel()
		runner.Wait()
		codes.stop()
		_ = j.Close()
		return nil, err
	}
	l.begun()
	l.sweepSecrets()
	doneBefore := l.journal.Seq()
	s.loop, s.runner, s.codes, s.cancel = l, runner, codes, cancel
	s.teller = newTeller(s.h, l)
	close(s.began)
	s.wg.Go(func() { s.h.Contain("looking after the GPUs", func() { l.gpus.run(ctx) }) })
	s.wg.Go(func() { s.h.Contain("asking services for their health", func() { l.healths.run(ctx, l) }) })
	s.wg.Go(func() { s.h.Contain("counting GPU time", func() { l.recall(ctx, doneBefore) }) })
	s.wg.Go(func() { l.keepOn(ctx, func(f func()) { s.h.Contain("the queue of jobs", f) }) })
	return l, nil
}

// opened is the loop, or nil where the queue is not open.
func (s *service) opened() (*loop, *run.Runner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loop, s.runner
}

// stop leaves the queue: what runs goes on.
func (s *service) stop() {
	s.mu.Lock()
	cancel := s.cancel
	s.left, s.cancel = true, nil
	s.mu.Unlock()
	if cancel == nil {
		return
	}
	s.teller.stop() // while the loop still notes who was told
	cancel()
	s.wg.Wait()
	s.runner.Wait()
	s.codes.stop()
	if err := s.loop.journal.Close(); err != nil {
		s.h.Log.Warn("closing the journal of jobs", "error", err)
	}
}

// end ends what runs, for an instance that stops with all on it. What waits goes on waiting.
func (s *service) end(ctx context.Context, grace time.Duration) error {
	l, runner := s.opened()
	if l == nil {
		return nil
	}
	var active []queue.ID
	if _, err := l.do(ctx, &ask{look: func(p *plan.Planner) { active = p.Active() }}); err != nil {
		return explain(err)
	}
	if len(active) == 0 {
		return nil
	}
	_, err := l.do(ctx, &ask{inputs: func(ctx context.Context) ([]plan.Input, error) {
		l.drained = l.now().Add(maxHold) // no other one starts in their places
		in, err := l.ending(ctx)
		return append([]plan.Input{plan.Drain{On: true}}, in...), err
	}})
	if err != nil {
		return explain(err)
	}
	force := time.After(grace)
	for _, id := range active {
		for {
			changed := l.next()
			job, err := l.job(ctx, id)
			if err != nil || !job.State.Active() {
				break
			}
			select {
			case <-changed:
			case <-force:
				l.kill(ctx, runner, active)
			case <-ctx.Done():
				return fmt.Errorf("waiting for the end of job %s: %w", id, ctx.Err())
			}
		}
	}
	return nil
}

// kill ends what did not end when it was asked to.
func (l *loop) kill(ctx context.Context, runner *run.Runner, ids []queue.ID) {
	for _, id := range ids {
		if job, err := l.job(ctx, id); err == nil && job.State.Active() {
			runner.Signal(ctx, l.runOf(&job, job.Attempt), queue.Signal{Name: "KILL", Scope: queue.All})
		}
	}
}

func (s *service) processes() []part.Process {
	_, runner := s.opened()
	if runner == nil {
		return nil
	}
	return runner.Processes()
}

func (s *service) gpus() map[string]gpu.Use {
	l, _ := s.opened()
	if l == nil {
		return nil
	}
	return l.usages.now()
}

func (s *service) info(i *api.AgentInfo) {
	if probe.Present() {
		i.GPUSharing = lease.Look(lease.Candidates(os.Getenv))
	}
	l, _ := s.opened()
	if l == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	n, err := l.counts(ctx)
	if err != nil {
		return // it is not known
	}
	i.Jobs = n
	i.Services = l.healths.count()
	if n.Running > 0 {
		part.Worked(i, i.Now)
	}
}

// by is who asks, in words.
func by(r *http.Request) string { return api.HomeOf(r.Header).Name }

func (s *service) handleSubmit(w http.ResponseWriter, r *http.Request) {
	if !s.h.Begin() {
		part.Leaving(w)
		return
	}
	defer s.h.Done()
	var q api.JobRequest
	if err := api.ReadJSON(r, &q); err != nil {
		api.WriteError(w, err)
		return
	}
	if q.Taken || q.CopyOf != "" { // its folder is no more where it was said before, and is not made again
		if l, id, known, err := s.saidBefore(r.Context(), q.UUID); known || err != nil {
			answer(w, r, l, id, err)
			return
		}
	}
	spec, err := specOf(r.Context(), s.h, q)
	var secrets map[string]string
	if err == nil {
		spec.Secrets, secrets, err = secretsOf(q)
	}
	if err != nil {
		api.WriteError(w, err)
		return
	}
	spec.User = by(r)
	l, err := s.queue()
	if err != nil {
		api.WriteError(w, err)
		return
	}
	s.h.Active()
	if err = s.settleGPUs(r.Context(), l, &spec); err == nil {
		err = s.checkImage(r.Context(), l, &spec)
	}
	if err != nil {
		api.WriteError(w, err)
		return
	}
	used := portUsed(r.Context(), spec.Service)
	l.rules.look() // it may end at once
	id, err := l.submitWith(r.Context(), spec, secrets)
	switch {
	case err == nil:
		s.codes.submitted(id, spec.Workdir)
	case (q.Taken || q.CopyOf != "") && errors.Is(err, &api.Error{Code: api.CodeGone}):
		l.removeTaken(q.UUID) // it was made anew, for nobody
	}
	answer(w, r, l, id, err, append(uncapped(r.Context(), s.h, &spec), used...)...)
}

// saidBefore is the job of a submit that was said before.
func (s *service) saidBefore(ctx context.Context, uuid string) (l *loop, id queue.ID, known bool, err error) {
	if l, err = s.queue(); err != nil {
		return nil, id, false, err
	}
	id, known, forgotten, err := l.journal.Submitted(ctx, uuid)
	if forgotten {
		err = errForgotten(id)
	}
	return l, id, known, l.orGone(err)
}

// answer answers with a job, and with warnings that are for who asks.
func answer(w http.ResponseWriter, r *http.Request, l *loop, id queue.ID, err error, warnings ...string) {
	var v api.Job
	if err == nil {
		v, err = l.one(r.Context(), id)
	}
	if err != nil {
		api.WriteError(w, err)
		return
	}
	for _, t := range warnings {
		if !slices.Contains(v.Warnings, t) {
			v.Warnings = append(v.Warnings, t)
		}
	}
	api.WriteJSON(w, http.StatusOK, v)
}

// named is the job that a request names, by its id or by the UUID of its submit, and the queue.
func (s *service) named(w http.ResponseWriter, r *http.Request) (l *loop, id queue.ID, ok bool) {
	name := r.PathValue("id")
	id, err := queue.ParseID(name)
	uuid := err != nil && queue.BeginsUUID(name)
	if err != nil && !uuid {
		err = usage(err)
	} else {
		l, err = s.queue()
	}
	if err == nil && uuid {
		id, err = l.submitted(r.Context(), name)
	}
	if err != nil {
		api.WriteError(w, err)
	}
	return l, id, err == nil
}

func (s *service) handleGet(w http.ResponseWriter, r *http.Request) {
	l, id, ok := s.named(w, r)
	if !ok {
		return
	}
	after := r.URL.Query().Get("after")
	if after == "" {
		answer(w, r, l, id, nil)
		return
	}
	seq, err := strconv.ParseInt(after, 10, 64)
	if err != nil {
		api.WriteError(w, api.Errorf(api.CodeUsage, "after=%.30q is no change number", after))
		return
	}
	v, err := l.wait(r.Context(), id, seq)
	if err != nil {
		api.WriteError(w, err)
		return
	}
	api.WriteJSON(w, http.StatusOK, v)
}

func (s *service) handleTell(w http.ResponseWriter, r *http.Request) {
	l, id, ok := s.named(w, r)
	if !ok {
		return
	}
	s.h.Active()
	l.rules.look() // it may be an end
	answer(w, r, l, id, l.tell(r.Context(), id, r.PathValue("verb"), r.URL.Query().Get("to"), by(r)))
}

func (s *service) handleRemove(w http.ResponseWriter, r *http.Request) {
	l, id, ok := s.named(w, r)
	if !ok {
		return
	}
	if err := l.remove(r.Context(), id); err != nil {
		api.WriteError(w, err)
		return
	}
	api.WriteJSON(w, http.StatusOK, struct{}{})
}

func (s *service) handleList(w http.ResponseWriter, r *http.Request) {
	place, next, err := inTurn(r)
	var q journal.Query
	if err == nil {
		q, err = readQuery(r, next)
	}
	var l *loop
	if err == nil {
		l, err = s.queue()
	}
	if err != nil {
		api.WriteError(w, err)
		return
	}
	if next {
		page, err := l.waiting(r.Context(), place, q.States, q.Limit)
		if err != nil {
			api.WriteError(w, err)
			return
		}
		api.WriteJSON(w, http.StatusOK, page)
		return
	}
	jobs, more, err := l.journal.Page(r.Context(), q)
	if err != nil {
		api.WriteError(w, l.orGone(err))
		return
	}
	page := api.JobPage{}
	if page.Jobs, err = l.shown(r.Context(), jobs); err != nil {
		api.WriteError(w, err)
		return
	}
	if more {
		page.Next = jobs[len(jobs)-1].ID.String()
	}
	api.WriteJSON(w, http.StatusOK, page)
}

// readSince reads since when jobs are asked for; zero: nothing is said of it.
func readSince(v url.Values) (t time.Time, err error) {
	if s := v.Get("since"); s != "" {
		if t, err = time.Parse(time.RFC3339Nano, s); err != nil {
			return t, api.Errorf(api.CodeUsage, "since=%.40q is no time", s)
		}
	}
	return t, nil
}

// maxPage bounds a page.
const maxPage = 1000

// readQuery reads what a page is asked for; next: it is one of those that wait, in their turn.
func readQuery(r *http.Request, next bool) (q journal.Query, err error) {
	v := r.URL.Query()
	for _, s := range v["state"] {
		if !slices.Contains(queue.States, queue.State(s)) {
			return q, api.Errorf(api.CodeUsage, "%.30q is no state of a job: say one of %v", s, queue.States)
		}
		q.States = append(q.States, queue.State(s))
	}
	if q.Since, err = readSince(v); err != nil {
		return q, err
	}
	q.Text = v.Get("text")
	if s := v.Get("array"); s != "" {
		id, err := queue.ParseID(s)
		if err != nil || id.Element {
			return q, api.Errorf(api.CodeUsage, "array=%.40q is no array", s)
		}
		q.Elements = id.Number
	}
	if s := v.Get("page"); s != "" && !next {
		if q.After, err = queue.ParseID(s); err != nil {
			return q, usage(err)
		}
	}
	q.Services = v.Get("services") == "true"
	if s := v.Get("limit"); s != "" {
		if q.Limit, err = strconv.Atoi(s); err != nil || q.Limit < 1 || q.Limit > maxPage {
			return q, api.Errorf(api.CodeUsage, "limit=%.30q is no number from 1 to %d", s, maxPage)
		}
	}
	return q, nil
}

func (s *service) handleLog(w http.ResponseWriter, r *http.Request) {
	l, id, ok := s.named(w, r)
	if !ok {
		return
	}
	q, err := readLogRequest(r)
	if err == nil {
		err = l.serveLog(r.Context(), w, id, q)
	}
	if err != nil && !errors.Is(err, errBroken) {
		api.WriteError(w, err)
	}
}
