package plan

import (
	"fmt"
	"time"

	"berth/queue"
)

// Retry has a job that is done wait for another run.
type Retry struct {
	Job queue.Job // as the journal has it; of an element without a job of its own: Cancelled
	// Array is the element's, as the journal has it. The plan's own counts, where it has it.
	Array *queue.Job
}

func (r Retry) take(p *Planner) Answer {
	id := r.Job.ID
	if it := p.items[id]; it != nil && !it.state().Done() && !it.isArray() {
		return Answer{ID: id, Err: fmt.Errorf("job %s is %s: only what is done is retried", id, it.state())}
	}
	if it := p.items[id]; it != nil && it.state().Done() {
		return Answer{ID: id, Err: fmt.Errorf("job %s ends right now: try again", id)}
	}
	if r.Job.Spec.Array != nil && !id.Element {
		return Answer{ID: id, Err: p.retryArray(r.Job)}
	}
	if id.Element {
		return Answer{ID: id, Err: p.retryElement(r)}
	}
	st := r.Job.Status
	to, err := queue.Step(st.State, queue.ToRetry)
	if err != nil {
		return Answer{ID: id, Err: err}
	}
	it := &item{id: id, ask: newAsk(&r.Job.Spec)}
	p.add(it, keyOf(&r.Job.Spec))
	p.revive(it, st, to)
	return Answer{ID: id}
}

// revive has a job wait again.
func (p *Planner) revive(it *item, st queue.Status, to queue.State) {
	fresh(&st)
	st.State, st.Retried = to, 0
	it.st, it.priority, it.order = &st, st.Priority, st.Order
	p.waitAgain(it)
}

// waitAgain has a job wait for those of its dependencies that are not done; the others were looked at before.
func (p *Planner) waitAgain(it *item) {
	var unmet []queue.Dependency
	for _, d := range it.ask.after {
		if s, found := p.stateOf(d.ID); found && !s.Done() {
			unmet = append(unmet, d)
		}
	}
	p.setUnmet(it, unmet)
	p.watch(it)
	p.arrange(it)
}

// retryElement has an element wait again, also one that was cancelled before it had a job of its own.
func (p *Planner) retryElement(r Retry) error {
	id, st := r.Job.ID, r.Job.Status
	to, err := queue.Step(st.State, queue.ToRetry)
	if err != nil {
		return err
	}
	arr, err := p.arrayOf(id, r.Array)
	if err != nil {
		return err
	}
	place, _ := arr.arr.spec.Place(id.Index)
	ast := p.touch(arr)
	if !has(ast.Begun, place) {
		if ast.State.Waiting() {
			return fmt.Errorf("job %s is %s: only what is done is retried", id, ast.State)
		}
		ast.Begun = with(ast.Begun, place)
		arr.arr.begun++
		st = queue.Status{State: queue.Cancelled, Priority: ast.Priority, Order: ast.Order, SubmittedAt: ast.SubmittedAt}
	}
	*ast.Tally.Of(st.State)--
	if ast.State.Done() {
		p.must(arr, queue.ToSpread)
	}
	ast.EndedAt = time.Time{}
	it := &item{id: id, ask: arr.ask, arr: arr.arr}
	p.add(it, arr.shape.shapeKey)
	p.revive(it, st, to)
	return nil
}

// arrayOf is an element's array; one that is done is taken in again.
func (p *Planner) arrayOf(id queue.ID, known *queue.Job) (*item, error) {
	if it := p.items[id.Array()]; it != nil {
		if !it.isArray() || it.state().Done() {
			return nil, &GoneError{id}
		}
		if _, found := it.arr.spec.Place(id.Index); !found {
			return nil, &GoneError{id}
		}
		return it, nil
	}
	if known == nil || known.ID != id.Array() || known.Spec.Array == nil {
		return nil, &GoneError{id}
	}
	if _, found := known.Spec.Array.Place(id.Index); !found {
		return nil, &GoneError{id}
	}
	return p.revived(*known), nil
}

// revived takes in an array that is done.
func (p *Planner) revived(j queue.Job) *item {
	st := j.Status
	it := &item{id: j.ID, ask: newAsk(&j.Spec), st: &st, priority: st.Priority, order: st.Order}
	it.arr = newArray(it, *j.Spec.Array, st.Begun)
	p.add(it, keyOf(&j.Spec))
	return it
}

// retryArray has the elements of an array wait again that were cancelled before they had jobs of their own.
func (p *Planner) retryArray(j queue.Job) error {
	it := p.items[j.ID]
	have := it != nil
	st := j.Status
	if have {
		st = *p.touch(it)
	}
	n := j.Spec.Array.Len()
	for _, r := range st.Begun {
		n -= r.Len()
	}
	if n == 0 || st.State.Waiting() {
		return fmt.Errorf("each element of %s has run or waits: retry those that failed, as %s", j.ID, j.ID.At(j.Spec.Array.Index(0)))
	}
	if !have {
		it = p.revived(j)
	}
	p.must(it, queue.ToRefill)
	now := p.touch(it)
	now.Tally.Cancelled -= n
	now.Cause, now.By, now.Message = "", "", ""
	now.EndedAt = time.Time{}
	p.waitAgain(it)
	return nil
}
