package job

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"berth/backend/base/atomicfile"
	"berth/gpu"
	"berth/queue"
	"berth/queue/plan"
)

const (
	// usageName is the file in a run's folder that says what it has used of its GPUs so far.
	usageName    = "gpus.json"
	usageVersion = 1
	// usageEvery is how often it is written at least: no more is lost with an agent that is killed. More memory than
	// before, by a part of it (usageMore), is written at once.
	usageEvery = 10 * time.Second
	usageMore  = 16
	// usageGap is the longest time between two looks over which power is counted.
	usageGap = 30 * time.Second
)

// drawn is what a run has used of its GPUs.
type drawn struct {
	Version    int     `json:"version"`
	PeakMemory int64   `json:"peak_memory_bytes"`
	Joules     float64 `json:"joules"`
}

// usages are what the runs that have GPUs have used of them, and who has which: the ledger's looks say it.
type usages struct {
	mu    sync.Mutex
	runs  map[queue.ID]*running
	uses  map[string]gpu.Use
	names map[queue.ID]string // of jobs that hold or wait for GPUs
}

// running is one run that has GPUs.
type running struct {
	drawn
	attempt int
	dir     string
	meters  map[string]float64 // of the GPUs that it has for itself: what each counter said last, in joules
	beside  string             // who else has memory of its GPUs
	seen    time.Time          // when it was looked at last
	written time.Time
	wrote   int64 // the peak of then
}

// watchUsage takes in what a look at the GPUs says of the jobs that have them.
func (l *loop) watchUsage(ctx context.Context, s *gpu.Sample) {
	var held map[string][]plan.Holding
	var next map[string]plan.Holding
	if s.GPUError != "" || s.GPUsStaleSince != nil {
		return
	}
	if _, err := l.do(ctx, &ask{look: func(p *plan.Planner) { held, next = p.Holders() }}); err != nil {
		return
	}
	names := l.namesOf(ctx, held, next)
	l.guard(held, names, l.gpus.holders)
	memory := memoryOf(s)
	u := &l.usages
	u.mu.Lock()
	defer u.mu.Unlock()
	u.names, u.uses = names, usesOf(held, next, names)
	now, on := map[queue.ID]bool{}, map[queue.ID][]string{}
	for uuid, all := range held {
		for _, h := range all {
			on[h.ID] = append(on[h.ID], uuid)
			if now[h.ID] = true; u.runs[h.ID] == nil || u.runs[h.ID].attempt != h.Attempt {
				u.begin(h, l.runDir(h.ID, h.Attempt))
			}
			r := u.runs[h.ID]
			if h.Memory == 0 && len(all) == 1 {
				r.draw(uuid, s)
			}
		}
	}
	for id, r := range u.runs {
		if !now[id] {
			delete(u.runs, id)
			continue
		}
		r.PeakMemory = max(r.PeakMemory, memory[id.String()])
		r.beside = besideOf(s, id.String(), on[id])
		r.seen = s.SampledAt
		if r.seen.Sub(r.written).Abs() >= usageEvery || r.PeakMemory > r.wrote+r.wrote/usageMore {
			r.written, r.wrote = r.seen, r.PeakMemory
			if err := atomicfile.Write(filepath.Join(r.dir, usageName), r.drawn); err != nil {
				l.log.Debug("what a job uses of its GPUs is not written", "job", id, "error", err)
			}
		}
	}
}

// begin begins to count what a run uses, or goes on where an agent before this one was.
func (u *usages) begin(h plan.Holding, dir string) {
	if u.runs == nil {
		u.runs = map[queue.ID]*running{}
	}
	u.runs[h.ID] = &running{drawn: readUsage(dir), attempt: h.Attempt, dir: dir, meters: map[string]float64{}}
}

// readUsage is what was written of a run; nothing where nothing was, or where it can't be read.
func readUsage(dir string) drawn {
	b, err := os.ReadFile(filepath.Join(dir, usageName))
	if err != nil {
		return drawn{Version: usageVersion}
	}
	return parseUsage(b)
}

func parseUsage(b []byte) (u drawn) {
	if err := json.Unmarshal(b, &u); err != nil || u.Version != usageVersion || u.PeakMemory < 0 || !(u.Joules >= 0) {
		return drawn{Version: usageVersion}
	}
	return u
}

// draw counts the energy of a GPU that the run has for itself: by the GPU's own counter, else by its power.
func (r *running) draw(uuid string, s *gpu.Sample) {
	i := slices.IndexFunc(s.GPUs, func(g gpu.GPU) bool { return g.UUID == uuid })
	if i < 0 {
		return
	}
	g := &s.GPUs[i]
	switch was, known := r.meters[uuid]; {
	case g.Energy != nil:
		r.meters[uuid] = *g.Energy
		if known && *g.Energy > was { // else the driver was loaded anew
			r.Joules += *g.Energy - was
		}
	case g.Power != nil && !r.seen.IsZero():
		if d := s.SampledAt.Sub(r.seen); d > 0 && d <= usageGap {
			r.Joules += *g.Power * d.Seconds()
		}
	}
}

// memoryOf is how much memory the processes of each job have on GPUs, by the job's id.
func memoryOf(s *gpu.Sample) map[string]int64 {
	out := map[string]int64{}
	for i := range s.Processes {
		if p := &s.Processes[i]; p.Owner.Kind == "job" && p.GPUMemory != nil {
			out[p.Owner.ID] += *p.GPUMemory
		}
	}
	return out
}

// namesOf are the names of jobs that hold GPUs or are next.
func (l *loop) namesOf(ctx context.Context, held map[string][]plan.Holding, next map[string]plan.Holding,
) map[queue.ID]string {
	l.usages.mu.Lock()
	was := l.usages.names
	l.usages.mu.Unlock()
	names := map[queue.ID]string{}
	for _, h := range append(slices.Concat(slices.Collect(maps.Values(held))...), slices.Collect(maps.Values(next))...) {
		name, known := was[h.ID]
		if !known {
			if job, err := l.job(ctx, h.ID); err == nil {
				name = job.Spec.Name
			}
		}
		names[h.ID] = name
	}
	return names
}

func usesOf(held map[string][]plan.Holding, next map[string]plan.Holding, names map[queue.ID]string,
) map[string]gpu.Use {
	holder := func(h plan.Holding) gpu.Holder {
		kind := "job"
		if h.Service {
			kind = "service"
		}
		return gpu.Holder{Kind: kind, ID: h.ID.String(), Name: names[h.ID], Reserved: h.Memory}
	}
	uses := map[string]gpu.Use{}
	for uuid, all := range held {
		use := gpu.Use{}
		for _, h := range all {
			use.Held = append(use.Held, holder(h))
		}
		uses[uuid] = use
	}
	for uuid, h := range next {
		use, n := uses[uuid], holder(h)
		use.Next = &n
		uses[uuid] = use
	}
	return uses
}

// of is what a run has used until now, as far as it was seen.
func (u *usages) of(id queue.ID, attempt int, dir string) drawn {
	u.mu.Lock()
	defer u.mu.Unlock()
	if r := u.runs[id]; r != nil && r.attempt == attempt {
		return r.drawn
	}
	return readUsage(dir)
}

// besideOf is who else had memory of a run's GPUs at the last look.
func (u *usages) besideOf(id queue.ID, attempt int) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if r := u.runs[id]; r != nil && r.attempt == attempt {
		return r.beside
	}
	return ""
}

// now says who has the GPUs, by their UUIDs.
func (u *usages) now() map[string]gpu.Use {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.uses
}

// quiet forgets who has GPUs: nobody looks any more.
func (u *usages) quiet() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.uses, u.names = nil, nil
}
