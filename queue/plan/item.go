package plan

import (
	"cmp"
	"time"

	"berth/queue"
)

// ask is what the plan must know of a spec. An array shares it with its elements.
type ask struct {
	timeout, grace time.Duration
	notice         queue.Notice
	retries        int
	begin          time.Time
	expect         time.Duration
	killLeftovers  bool
	after          []queue.Dependency
	notify         []string
	retryOn        []queue.Cause
	service        bool // it is kept up
}

func newAsk(s *queue.Spec) *ask {
	a := &ask{timeout: s.Timeout, grace: s.Grace, notice: s.Notice, begin: s.Begin, expect: s.Expect,
		killLeftovers: s.KillLeftovers || s.Service != nil, after: s.After, notify: s.Notify, service: s.Service != nil}
	a.retries, a.retryOn = s.Retrying()
	if a.grace == 0 {
		a.grace = queue.DefaultGrace
	}
	return a
}

// item is a job that is not done. A hundred thousand of them may wait: what only runs have is in st.
type item struct {
	id    queue.ID
	ask   *ask
	shape *shape
	arr   *array // of an array and of its elements

	// st is the status. It is nil of a job that never ran, and is made of the fields below when it is needed.
	st        *queue.Status
	held      bool
	submitted time.Time

	// As in the status; kept in step by those who change them.
	priority int
	order    int64
	up       bool // it is a service: as in ask, and here since it is asked in each comparison
	unmet    []queue.Dependency
	code     *queue.Code

	spec    *queue.Spec // of a new job, until it is handed on
	touched bool        // it is in Planner.touched
	counted int         // what it adds to Planner.waiting
	place   int         // in its shape's heap, from 1; 0: it isn't there
	run     *run        // while it holds slots
	later   *later      // while it waits for a time
}

// run is what the plan knows of a run beside its status. Its times are of the clock that does not jump, where the
// caller's has one.
type run struct {
	need     need
	gpus     []int         // that it has, by their places in the limits
	at       int           // in Planner.active
	deadline time.Time     // zero: none, or not yet
	left     time.Duration // until the deadline, of a job that is paused
	kill     time.Time     // when all that is left is killed; zero: not asked
	killed   bool          // it was, and is there still: it is killed again
	told     bool          // it got the TERM of its end, from this planner
}

func (it *item) state() queue.State {
	switch {
	case it.st != nil:
		return it.st.State
	case it.held:
		return queue.Held
	}
	return queue.Queued
}

// unpack makes the status of a job that never ran.
func (it *item) unpack() {
	if it.st == nil {
		it.st = &queue.Status{State: it.state(), Priority: it.priority, Order: it.order, Unmet: it.unmet,
			SubmittedAt: it.submitted, Supervised: false, Code: it.code}
	}
}

// pack forgets a status that unpack can make again.
func (it *item) pack() {
	st := it.st
	if st == nil || !st.State.Waiting() || st.Attempt > 0 || len(st.Begun) > 0 || len(st.Warnings) > 0 ||
		st.Message != "" || st.Cause != "" || st.Tally != (queue.Tally{}) {
		return
	}
	it.held, it.submitted, it.code = st.State == queue.Held, st.SubmittedAt, st.Code
	it.st = nil
}

// sawCode is the code that was seen when it was submitted.
func (it *item) sawCode() *queue.Code {
	if it.st != nil {
		return it.st.Code
	}
	return it.code
}

// jobs is how many jobs wait in it: one, or the elements of an array that have no job of their own.
func (it *item) jobs() int {
	if it.isArray() {
		return it.arr.rest()
	}
	return 1
}

// isArray reports that it is an array, not an element or another job.
func (it *item) isArray() bool { return it.arr != nil && !it.id.Element }

// from is when it may start; zero: any time.
func (it *item) from() time.Time {
	if it.st != nil && it.st.EligibleAt.After(it.ask.begin) {
		return it.st.EligibleAt
	}
	return it.ask.begin
}

// service reports that it is kept up, and takes no slot.
func (it *item) service() bool { return it.up }

// before is the order in which jobs start: services first, since they take no slot.
func (it *item) before(o *item) bool {
	if s := it.service(); s != o.service() {
		return s
	}
	if c := cmp.Or(cmp.Compare(o.priority, it.priority), cmp.Compare(it.order, o.order),
		cmp.Compare(it.id.Number, o.id.Number)); c != 0 {
		return c < 0
	}
	if it.id.Element && o.id.Element {
		return it.id.Index < o.id.Index
	}
	return it.id.Element && !o.id.Element // what is left of an array goes after its elements that have jobs
}

func (it *item) pos() *int { return &it.place }
