package run

import (
	"context"
	"sync"
	"time"

	"berth/backend/agent/lease"
	"berth/backend/agent/part"
	"berth/backend/agent/process"
	"berth/queue"
)

// Runner implements queue.Runner. All methods may be called at once.
type Runner struct {
	h       *part.Host
	secrets Secrets
	emit    func(queue.Event)
	// Before is called just before a run begins; nil: nothing is. It may hold the run up for a moment.
	Before func(ctx context.Context, r queue.Run)
	// HasGPUs reports whether the instance may have GPUs; nil: it has none. Runs without one see none then.
	HasGPUs func() bool
	// Examine has somebody look at a run's GPUs, before its end is told where it failed on them; nil: nobody does. It may
	// take a moment.
	Examine func(ctx context.Context)
	// Biggest names those who have most of the machine's memory; nil: nobody knows. It may take a moment.
	Biggest func(ctx context.Context) string
	// Leases is where runs hold their GPUs, for other users of this host to see; nil: nowhere. Its error is a warning of
	// the job.
	Leases func() (*lease.Folder, error)
	// Engine is where the container engine listens, as it was set; nil, or "": it is looked for.
	Engine func() string

	mu   sync.Mutex
	runs map[key]*run
	// portsFrom is where free ports are looked for: elsewhere than other queues of this host do, whose jobs have the same
	// numbers.
	portsFrom uint32
	ports     map[int]bool // of rendezvous, that runs have
	wg        sync.WaitGroup

	shims process.Shims
}

var _ queue.Runner = (*Runner)(nil)

type key struct {
	id      queue.ID
	attempt int
}

// New makes a runner. emit is told what has become of the runs, by several goroutines at once.
func New(h *part.Host, secrets Secrets, emit func(queue.Event)) *Runner {
	return &Runner{h: h, secrets: secrets, emit: emit, runs: map[key]*run{}, portsFrom: portsOf(h.State)}
}

// Start implements queue.Runner. The run is watched until it is over or ctx ends, which ends no process of it.
func (r *Runner) Start(ctx context.Context, q queue.Run) { r.watch(ctx, q) }

// Adopt implements queue.Runner, as Start does: a run that never began is begun, unless it says that it has.
func (r *Runner) Adopt(ctx context.Context, q queue.Run) { r.watch(ctx, q) }

func (r *Runner) watch(ctx context.Context, q queue.Run) {
	k := key{q.ID, q.Attempt}
	x := &run{Run: q, r: r, began: make(chan struct{})}
	var begin context.Context
	begin, x.cancel = context.WithCancel(ctx)
	r.mu.Lock()
	known := r.runs[k] != nil
	if !known {
		r.runs[k] = x
	}
	r.mu.Unlock()
	if known {
		x.cancel()
		return
	}
	r.wg.Go(func() {
		defer func() {
			x.cancel()
			r.mu.Lock()
			delete(r.runs, k)
			delete(r.ports, x.port)
			r.mu.Unlock()
			if x.refused != "" { // from now on it can be begun again
				x.tell(queue.Event{Refused: &queue.Refused{Why: x.refused}})
			}
		}()
		r.h.Contain("job "+q.ID.String(), func() { x.live(ctx, begin) })
	})
}

// Wait waits until no run is watched any more.
func (r *Runner) Wait() {
	r.wg.Wait()
	r.shims.Close()
}

// Processes lists those of the runs that are watched.
func (r *Runner) Processes() (out []part.Process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, x := range r.runs {
		x.mu.Lock()
		if rec := x.rec; rec != nil {
			out = append(out, part.Process{Kind: "job", ID: k.id.String(), PIDs: []int{rec.Shim.PID, rec.Child.PID}, Mark: rec.Mark})
		}
		x.mu.Unlock()
	}
	return out
}

// run is a run that is watched.
type run struct {
	queue.Run
	r        *Runner
	cancel   func()        // ends what comes before the program's start
	began    chan struct{} // closed once it runs, or never will
	warnings []string
	uncapped bool          // they say already that its limits can't be set
	refused  string        // who has a GPU of it, for which it is not begun; only live's goroutine has it
	port     int           // of its rendezvous; 0: none. Only live's goroutine has it
	line     *process.Line // to its shim, where this agent has begun the run; only live's goroutine has it

	// acting is held by who signals the run's processes, none of which are there once it is over: its shim may have those
	// of another run then.
	acting sync.Mutex
	over   bool

	mu      sync.Mutex
	rec     *process.Record // of one that runs; set before began is closed
	ended   string          // the signal that it was told before it began
	pending []queue.Signal  // not sent yet; the first is being sent
}

func (x *run) tell(e queue.Event) {
	e.ID, e.Attempt, e.At = x.ID, x.Attempt, time.Now().UTC()
	x.r.emit(e)
}
