package plan

import (
	"fmt"
	"iter"
	"time"

	"berth/queue"
)

// Load takes in the jobs of a journal that are not done, by their numbers, an array before its elements, and decides.
// Runs that another agent began are to be adopted. Its error is a job that can't be read or has no array.
func (p *Planner) Load(now time.Time, jobs iter.Seq2[queue.Job, error]) (Outcome, error) {
	p.now = now
	var loaded []*item
	for j, err := range jobs {
		if err != nil {
			return Outcome{}, fmt.Errorf("loading the queue: %w", err)
		}
		it, err := p.load(j)
		if err != nil {
			return Outcome{}, fmt.Errorf("loading the queue: %w", err)
		}
		loaded = append(loaded, it)
	}
	p.retake()
	for _, it := range loaded {
		p.count(it)
		switch {
		case it.run != nil:
			p.adopt(it)
		case it.state().Waiting():
			p.settle(it) // what is waited for is not done, unless the journal was damaged
			if it.state().Waiting() {
				p.watch(it)
				p.arrange(it)
			}
		}
	}
	return p.decide(), nil
}

// load takes in one job.
func (p *Planner) load(j queue.Job) (*item, error) {
	if j.State.Done() || p.items[j.ID] != nil {
		return nil, fmt.Errorf("job %s is %s, or there twice: it is not to be loaded", j.ID, j.State)
	}
	if j.ID.Number < 1 {
		return nil, fmt.Errorf("job %s has no number", j.ID)
	}
	st := j.Status
	if most := p.now.Add(queue.Backoff(st.Retried)); st.EligibleAt.After(most) { // the clock was set back
		st.EligibleAt = most
	}
	it := &item{id: j.ID, st: &st, priority: st.Priority, order: st.Order, unmet: st.Unmet}
	if j.ID.Element {
		arr := p.items[j.ID.Array()]
		if arr == nil || !arr.isArray() {
			return nil, fmt.Errorf("the array of job %s is missing", j.ID)
		}
		it.arr, it.ask = arr.arr, arr.ask
	} else {
		it.ask = newAsk(&j.Spec)
		if j.Spec.Array != nil {
			it.arr = newArray(it, *j.Spec.Array, st.Begun)
		}
	}
	p.add(it, keyOf(&j.Spec))
	p.last, p.order = max(p.last, j.ID.Number), max(p.order, it.order)
	if st.State.Active() && !it.isArray() {
		p.hold(it)
	}
	it.pack()
	return it, nil
}

// adopt goes on with a run that another agent began. Whether it was begun at all is for its folder to say.
func (p *Planner) adopt(it *item) {
	st := it.st
	do := DoAdopt
	if st.State == queue.Preparing {
		do = DoStart
	}
	p.actions = append(p.actions, Action{ID: it.id, Attempt: st.Attempt, Do: do})
	p.arm(it)
	if !st.StopAt.IsZero() {
		it.run.kill = p.now.Add(max(it.ask.grace-max(p.now.Sub(st.StopAt), 0), 0))
	}
}
