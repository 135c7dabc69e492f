package plan

import (
	"time"

	"berth/queue"
)

// Limits are what jobs can have together.
type Limits struct {
	Slots int   // jobs of one slot that run at once
	GPUs  []GPU // of the instance, in the order of their indices
	// GPUsUnknown is why nobody knows which GPUs there are: jobs that may need one wait. "": it is known.
	GPUsUnknown string
	Sharing     Sharing        // of the GPUs, with other users of the host
	Groups      map[string]int // jobs of a group that run at once; a group that is not in it has no limit
}

// Planner has all jobs that are not done.
type Planner struct {
	limits Limits
	drain  bool  // nothing is started
	last   int64 // the highest number that was given
	order  int64 // the highest place in the order that was given

	items   map[queue.ID]*item
	active  []*item // jobs that hold slots
	room    room    // what they leave
	shapes  map[shapeKey]*shape
	groups  map[string]*group
	line    heap[*group] // those with a job that may start
	later   heap[*later] // what waits for a time
	waiters map[int64][]*item
	waiting int           // jobs that wait
	up      int           // services in active
	wanting int           // jobs that hold slots, and shapes in the line, that may need GPUs
	starts  int64         // of jobs with GPUs
	turns   map[int]*turn // of other users who come first, by their UIDs

	// Of the Do under way.
	now     time.Time
	touched []*item
	ended   []int64 // numbers with a job or an element that is done
	uuids   map[string]queue.ID
	actions []Action
}

// New makes a planner without jobs. Numbers go on above last.
func New(l Limits, last int64) *Planner {
	p := &Planner{last: last, items: map[queue.ID]*item{}, shapes: map[shapeKey]*shape{}, groups: map[string]*group{},
		waiters: map[int64][]*item{}}
	p.setLimits(l)
	return p
}

// Outcome is what was decided. Changes are written down first; then the inputs are answered, and the actions carried
// out in their order.
type Outcome struct {
	Changes []queue.Change
	Actions []Action
	Answers []Answer  // one for each input
	Wake    time.Time // when to call Do again, though nothing has come in; zero: never
	// Services says that a service is among what has changed.
	Services bool
}

// Action is something to do with a run.
type Action struct {
	ID      queue.ID
	Attempt int
	Do      Do
	Signal  queue.Signal // of DoSignal
}

// Do is a kind of action.
type Do string

// The kinds.
const (
	DoStart  Do = "start"  // begin the run, or adopt it if its folder is there
	DoAdopt  Do = "adopt"  // say what has become of it
	DoSignal Do = "signal" // signal it
)

// Answer is what became of an input.
type Answer struct {
	ID  queue.ID // of the job
	Err error
}

// Do takes in what happened until now and decides.
func (p *Planner) Do(now time.Time, inputs ...Input) Outcome {
	p.now = now
	answers := make([]Answer, len(inputs))
	for i, in := range inputs {
		answers[i] = in.take(p)
	}
	out := p.decide()
	out.Answers = answers
	return out
}

// decide does what is due after the inputs were taken in.
func (p *Planner) decide() Outcome {
	p.due()
	p.settleWaiters()
	p.start()
	out := Outcome{Actions: p.actions, Changes: make([]queue.Change, 0, len(p.touched))}
	for _, it := range p.touched {
		if it.st.State.Done() && !it.id.Element {
			it.st.Owe(it.ask.notify, p.now)
		}
		out.Changes = append(out.Changes, queue.Change{ID: it.id, Spec: it.spec, Status: *it.st})
	}
	for _, it := range p.touched {
		out.Services = out.Services || it.service()
		p.count(it)
		it.spec, it.touched = nil, false
		if it.st.State.Done() {
			p.forget(it)
		} else {
			it.pack()
		}
	}
	p.touched, p.actions, p.uuids = nil, nil, nil
	out.Wake = p.wake()
	return out
}

// forget drops a job that is done.
func (p *Planner) forget(it *item) {
	delete(p.items, it.id)
	p.leave(it)
	p.waitNoMore(it)
	if !it.id.Element {
		delete(p.waiters, it.id.Number)
	}
}

// touch says that a job's status changes, and gives it.
func (p *Planner) touch(it *item) *queue.Status {
	it.unpack()
	if !it.touched {
		it.touched = true
		p.touched = append(p.touched, it)
	}
	return it.st
}

// step changes a job's state.
func (p *Planner) step(it *item, t queue.Turn) error {
	to, err := queue.Step(it.state(), t)
	if err != nil {
		return err
	}
	st := p.touch(it)
	if st.State.Done() {
		st.Owed, st.Ruled, st.Warnings = nil, nil, nil // that end is none any more
	}
	st.State = to
	return nil
}

// must is step where the state was looked at.
func (p *Planner) must(it *item, t queue.Turn) {
	if err := p.step(it, t); err != nil {
		panic("plan: job " + it.id.String() + ": " + err.Error())
	}
}

// signal decides a signal.
func (p *Planner) signal(it *item, name string, scope queue.Scope) {
	p.actions = append(p.actions, Action{ID: it.id, Attempt: it.st.Attempt, Do: DoSignal,
		Signal: queue.Signal{Name: name, Scope: scope}})
}

// Last is the highest number that was given.
func (p *Planner) Last() int64 { return p.last }

// count keeps the number of jobs that wait.
func (p *Planner) count(it *item) {
	n := 0
	if it.state().Waiting() && !it.service() {
		n = it.jobs()
	}
	p.waiting += n - it.counted
	it.counted = n
}

// Counts are how many jobs hold slots, and how many wait; each element of an array is one. A service is no work by
// itself, and counts for nothing.
func (p *Planner) Counts() (active, waiting int) { return len(p.active) - p.up, p.waiting }

// Services are those that run.
func (p *Planner) Services() (ids []queue.ID) {
	if p.up == 0 {
		return nil
	}
	for _, it := range p.active {
		if it.service() && it.state() == queue.Running {
			ids = append(ids, it.id)
		}
	}
	return ids
}

// Active are the jobs that hold slots, and the services.
func (p *Planner) Active() []queue.ID {
	ids := make([]queue.ID, len(p.active))
	for i, it := range p.active {
		ids[i] = it.id
	}
	return ids
}

// Front are the first jobs of those that may start as soon as there is room, in their order, up to a number. What is
// left of an array is one.
func (p *Planner) Front(most int) []queue.ID {
	var ids []queue.ID
	for it := range p.inOrder() {
		if len(ids) == most {
			break
		}
		ids = append(ids, it.id)
	}
	return ids
}

// Status is that of a job that is not done. An element that has no job of its own yet has none.
func (p *Planner) Status(id queue.ID) (queue.Status, bool) {
	it := p.items[id]
	if it == nil {
		return queue.Status{}, false
	}
	if it.st != nil {
		return *it.st, true
	}
	it.unpack()
	st := *it.st
	it.pack()
	return st, true
}
