package plan

import (
	"fmt"

	"berth/queue"
)

// find is a job that is not done. An element of an array that has no job of its own gets one.
func (p *Planner) find(id queue.ID) (*item, error) {
	if it := p.items[id]; it != nil && !it.state().Done() {
		return it, nil
	}
	s, found := p.stateOf(id)
	if !found || !s.Waiting() {
		return nil, &GoneError{id}
	}
	arr := p.items[id.Array()].arr
	place, _ := arr.spec.Place(id.Index)
	it := p.element(arr, place)
	p.watch(it)
	p.arrange(it)
	p.tidyArray(arr)
	return it, nil
}

// each does something to a job, or to an array and all its elements that are not done. It is an error only if it could
// be done to none.
func (p *Planner) each(id queue.ID, do func(*item) error) Answer {
	it, err := p.find(id)
	if err != nil {
		return Answer{ID: id, Err: err}
	}
	if !it.isArray() {
		return Answer{ID: id, Err: do(it)}
	}
	arr, did := it.arr, false
	for _, el := range arr.elements() {
		if e := do(el); e == nil {
			did = true
		} else if err == nil {
			err = e
		}
	}
	if it.state().Waiting() {
		if e := do(it); e == nil {
			did = true
		} else if err == nil {
			err = e
		}
	}
	if did {
		err = nil
	}
	return Answer{ID: id, Err: err}
}

// Cancel ends a job: one that waits at once, one that runs after its grace. Said again it changes nothing.
type Cancel struct {
	ID queue.ID
	By string // who asks, in words
}

func (c Cancel) take(p *Planner) Answer {
	return p.each(c.ID, func(it *item) error {
		if it.state().Waiting() {
			p.cancelWaiting(it, queue.ByCancel, c.By, "")
			return nil
		}
		if it.st.Again {
			p.touch(it).Again, it.st.By = false, c.By
		}
		if it.st.Retried < it.ask.retries { // also where it has failed by itself meanwhile
			p.touch(it).Retried = it.ask.retries
		}
		p.stop(it, queue.ByCancel, c.By)
		return nil
	})
}

// PutBack ends a job's run, and has it wait again: for an instance that is about to stop. Only what may be started more
// than once, by its retries, is put back.
type PutBack struct {
	ID queue.ID
	By string
}

func (b PutBack) take(p *Planner) Answer {
	return p.each(b.ID, func(it *item) error {
		if it.run == nil || !it.st.StopAt.IsZero() || !it.st.EndedAt.IsZero() {
			return fmt.Errorf("job %s is %s: nothing of it can be put back", it.id, it.state())
		}
		if it.ask.retries == 0 {
			return fmt.Errorf("job %s was submitted without --retries: it is not started twice", it.id)
		}
		p.touch(it).Again = true
		p.stop(it, queue.ByCancel, b.By)
		return nil
	})
}

// turnWaiting changes the state of what waits, and so where it stands.
func (p *Planner) turnWaiting(id queue.ID, t queue.Turn) Answer {
	return p.each(id, func(it *item) error {
		err := p.step(it, t)
		p.arrange(it)
		return err
	})
}

// Hold has a job wait until it is released.
type Hold struct{ ID queue.ID }

func (h Hold) take(p *Planner) Answer { return p.turnWaiting(h.ID, queue.ToHold) }

// Release ends a hold.
type Release struct{ ID queue.ID }

func (r Release) take(p *Planner) Answer { return p.turnWaiting(r.ID, queue.ToRelease) }

// Pause stops the processes of a job that runs. It keeps its slots, and its time-out waits.
type Pause struct{ ID queue.ID }

func (s Pause) take(p *Planner) Answer {
	return p.each(s.ID, func(it *item) error {
		if err := p.step(it, queue.ToPause); err != nil {
			return err
		}
		it.st.PausedAt = p.now
		if !it.run.deadline.IsZero() {
			it.run.left = it.run.deadline.Sub(p.now)
		}
		p.signal(it, "STOP", queue.All)
		return nil
	})
}

// Resume has a paused job go on.
type Resume struct{ ID queue.ID }

func (r Resume) take(p *Planner) Answer {
	return p.each(r.ID, func(it *item) error {
		if err := p.step(it, queue.ToResume); err != nil {
			return err
		}
		it.st.PausedFor += max(p.now.Sub(it.st.PausedAt), 0)
		if it.ask.timeout > 0 {
			it.run.deadline = p.now.Add(it.run.left)
		}
		p.signal(it, "CONT", queue.All)
		return nil
	})
}

// SetPriority changes the priority of what waits, and of a run's later ones.
type SetPriority struct {
	ID       queue.ID
	Priority int
}

func (s SetPriority) take(p *Planner) Answer {
	if s.Priority < -queue.MaxPriority || s.Priority > queue.MaxPriority {
		return Answer{ID: s.ID, Err: fmt.Errorf("a priority is from %d to %d", -queue.MaxPriority, queue.MaxPriority)}
	}
	return p.each(s.ID, func(it *item) error {
		p.touch(it).Priority = s.Priority
		it.priority = s.Priority
		p.arrange(it)
		return nil
	})
}

// Move changes the place of a job among those of its priority that wait.
type Move struct {
	ID queue.ID
	To Way
}

// Way is where a job is moved.
type Way string

// The ways.
const (
	Up   Way = "up"   // before the one before it
	Down Way = "down" // after the one after it
	Top  Way = "top"  // before all
	End  Way = "end"  // after all
)

func (m Move) take(p *Planner) Answer {
	if m.ID.Element {
		return Answer{ID: m.ID, Err: fmt.Errorf("%s is an element: move its array, %s", m.ID, m.ID.Array())}
	}
	it, err := p.find(m.ID)
	if err == nil && !it.state().Waiting() {
		err = fmt.Errorf("job %s is %s: only what waits is moved", it.id, it.state())
	}
	if err != nil {
		return Answer{ID: m.ID, Err: err}
	}
	switch m.To {
	case Up, Down:
		if o := p.neighbour(it, m.To == Up); o != nil {
			mine, its := it.order, o.order
			p.reorder(it, its)
			p.reorder(o, mine)
		}
	case Top:
		first := it.order
		for _, o := range p.items {
			first = min(first, o.order)
		}
		p.reorder(it, first-1)
	case End:
		p.order = max(p.order, p.last) + 1
		p.reorder(it, p.order)
	default:
		err = fmt.Errorf("%q is no way to move a job: up, down, top or end", m.To)
	}
	return Answer{ID: m.ID, Err: err}
}

// neighbour is the job that waits next to one, of its priority.
func (p *Planner) neighbour(it *item, above bool) (best *item) {
	for _, o := range p.items {
		if o == it || o.id.Element || o.priority != it.priority || !o.state().Waiting() || o.before(it) != above {
			continue
		}
		if best == nil || best.before(o) == above {
			best = o
		}
	}
	return best
}

// reorder changes the order of a job, or of an array and its elements.
func (p *Planner) reorder(it *item, order int64) {
	all := []*item{it}
	if it.isArray() {
		all = append(all, it.arr.elements()...)
	}
	for _, o := range all {
		p.touch(o).Order = order
		o.order = order
		p.arrange(o)
	}
}
