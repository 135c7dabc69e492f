package job

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"berth/backend/agent/part"
	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/gpu/procs/listeners"
	"berth/gpu/procs/proc"
	"berth/queue"
	"berth/queue/plan"
)

const (
	// serviceLog is how much of a service's log is kept where nothing is said: it has no end.
	serviceLog = 100 << 20
	// keepRuns is of how many runs of a service the logs are kept.
	keepRuns = 20
	// healthSoon and healthEvery are how often a service is asked that has not answered yet, and one that has.
	healthSoon, healthEvery = time.Second, 5 * time.Second
	healthLimit             = 5 * time.Second // for an answer
	// hastyTries is how many answers in a row may be missing until it is asked at leisure.
	hastyTries = 60
	// failingAfter is how many answers in a row must be missing.
	failingAfter = 3
)

// asService makes a spec one of a service.
func asService(s *queue.Spec, q *api.JobService) {
	s.Service = &queue.Service{Port: q.Port, Health: q.Health}
	s.Request.Slots = -1
	if s.Request.GPUs < 0 && s.Request.GPUMemory == 0 && s.Ranks == 0 { // it would have it for good
		s.Request.GPUs = 0
	}
	s.LogLimit = cmp.Or(s.LogLimit, serviceLog)
}

// serviceOf is what the API says of a service; nil: it is none.
func serviceOf(s *queue.Spec) *api.JobService {
	if s.Service == nil {
		return nil
	}
	return &api.JobService{Port: s.Service.Port, Health: s.Service.Health}
}

// portUsed says who submits a service that its port is taken already, as far as that can be seen now.
func portUsed(ctx context.Context, s *queue.Service) []string {
	if s == nil || listens(ctx, s.Port) != nil {
		return nil
	}
	return []string{fmt.Sprintf("something listens on port %d of the instance already", s.Port)}
}

// dropRun removes the folder of an old run.
func (l *loop) dropRun(id queue.ID, attempt int) {
	if attempt < 1 {
		return
	}
	l.sweeps.Go(func() {
		if err := os.RemoveAll(l.runDir(id, attempt)); err != nil {
			l.log.Warn("an old run of a service is not removed", "job", id, "run", attempt, "error", err)
		}
	})
}

// healths are how the services are that run. Each is asked by a goroutine of its own; run owns them.
type healths struct {
	poke chan struct{} // others run now; capacity 1
	runs func() []part.Process

	mu  sync.Mutex
	all map[queue.ID]*asked
}

// asked is one run of a service that is asked for its health.
type asked struct {
	attempt int
	health  api.Health
	why     string // it is not well
	stop    context.CancelFunc
}

// look says that a service has changed.
func (h *healths) look() {
	select {
	case h.poke <- struct{}{}:
	default:
	}
}

// count is how many services run.
func (h *healths) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.all)
}

// of is how a service is, and why it is not well where it runs; "" of one that is done, and of what is none.
func (h *healths) of(j *queue.Job) (now api.Health, why string) {
	switch {
	case j.Spec.Service == nil || j.State.Done():
		return "", ""
	case j.State.Waiting() && j.Attempt > 0, j.State == queue.Stopping, j.State == queue.Paused:
		return api.HealthFailing, ""
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if a := h.all[j.ID]; a != nil && a.attempt == j.Attempt {
		return a.health, a.why
	}
	return api.HealthStarting, ""
}

// run asks the services that run until ctx ends.
func (h *healths) run(ctx context.Context, l *loop) {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer h.keep(nil)
	for {
		var ids []queue.ID
		if _, err := l.do(ctx, &ask{look: func(p *plan.Planner) { ids = p.Services() }}); err != nil {
			return // the loop has ended, and with it the queue
		}
		runs := map[queue.ID]queue.Job{}
		for _, id := range ids {
			if job, err := l.job(ctx, id); err == nil && job.State == queue.Running {
				runs[id] = job
			}
		}
		h.keep(runs)
		for id, job := range runs {
			if ctx, ok := h.begin(ctx, id, job.Attempt); ok {
				wg.Go(func() { h.watch(ctx, id, *job.Spec.Service) })
			}
		}
		select {
		case <-h.poke:
		case <-ctx.Done():
			return
		}
	}
}

// keep ends the asking of all runs but these.
func (h *healths) keep(runs map[queue.ID]queue.Job) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, a := range h.all {
		if job, ok := runs[id]; !ok || job.Attempt != a.attempt {
			a.stop()
			delete(h.all, id)
		}
	}
}

// begin has a run be asked, unless it is already. Its context ends with keep.
func (h *healths) begin(ctx context.Context, id queue.ID, attempt int) (context.Context, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all[id] != nil {
		return nil, false
	}
	ctx, stop := context.WithCancel(ctx)
	if h.all == nil {
		h.all = map[queue.ID]*asked{}
	}
	h.all[id] = &asked{attempt: attempt, health: api.HealthStarting, stop: stop}
	return ctx, true
}

// watch asks one run until ctx ends.
func (h *healths) watch(ctx context.Context, id queue.ID, s queue.Service) {
	missing, own := 0, false // answers in a row; what answers is the service
	now := api.HealthStarting
	for {
		why := ""
		err := isWell(ctx, s)
		if err == nil && !own {
			err = h.foreign(id, s.Port)
			own = err == nil
		}
		if err == nil {
			now, missing = api.HealthOK, 0
		} else if missing++; now != api.HealthStarting && missing >= failingAfter {
			now, why = api.HealthFailing, err.Error()
		} else if now == api.HealthStarting {
			why = err.Error()
		}
		h.mu.Lock()
		if a := h.all[id]; a != nil && ctx.Err() == nil {
			a.health, a.why = now, why
		}
		h.mu.Unlock()
		pause := healthEvery
		if missing > 0 && missing < hastyTries {
			pause = healthSoon
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// foreign reports by its error that it is others than the service who listen on its port. Where that can't be seen
// there is none.
func (h *healths) foreign(id queue.ID, port int) error {
	list, _ := listeners.Read() // what can't be read can't be told
	var others []int
	for _, l := range listeners.On(list, port) {
		if len(l.PIDs) == 0 {
			return nil
		}
		for _, pid := range l.PIDs {
			switch own, known := h.ofRun(id, pid); {
			case own, !known:
				return nil
			}
			others = append(others, pid)
		}
	}
	if len(others) == 0 {
		return nil
	}
	return fmt.Errorf("on its port listens %.80s (process %d), which is not of it", plaintext.Clean(proc.CommandOf(others[0])),
		others[0])
}

// ofRun reports whether a process is of a service's run: by its mark, which its processes have in their environment, or
// by its ancestors.
func (h *healths) ofRun(id queue.ID, pid int) (own, known bool) {
	var roots []int
	mark := ""
	for _, p := range h.runs() {
		if p.ID == id.String() {
			roots, mark = append(roots, p.PIDs...), p.Mark
		}
	}
	if mark == "" || len(roots) == 0 {
		return false, false
	}
	for at, n := pid, 0; at > 1 && n < 64; n++ {
		if slices.Contains(roots, at) {
			return true, true
		}
		st, err := proc.ReadStat(at)
		if err != nil {
			return false, false // it is about to end, or hidden
		}
		at = st.PPID
	}
	if _, err := proc.Environ(pid); err != nil {
		return false, false
	}
	return proc.HasEnv(pid, mark), true
}

// isWell asks a service.
func isWell(ctx context.Context, s queue.Service) error {
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	if s.Health == "" {
		return listens(ctx, s.Port)
	}
	client := http.Client{
		Transport: &http.Transport{DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return part.DialLoopback(ctx, s.Port) }},
		// One that sends on to a page for signing in is well.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost:"+strconv.Itoa(s.Port)+s.Health, nil)
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "berth")
	res, err := client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // who is cut off may log it as an error
	if res.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s answers %s", s.Health, res.Status)
	}
	return nil
}

// listens reports by its error whether nobody listens on a port.
func listens(ctx context.Context, port int) error {
	c, err := part.DialLoopback(ctx, port)
	if err == nil {
		_ = c.Close()
	}
	return err
}
