package plan

import (
	"fmt"

	"berth/queue"
)

// Input is something that came in.
type Input interface{ take(p *Planner) Answer }

// GoneError says that a job neither waits nor runs. The journal knows whether it is done, or never was.
type GoneError struct{ ID queue.ID }

func (e *GoneError) Error() string { return fmt.Sprintf("job %s neither waits nor runs", e.ID) }

// Submit asks for a job. Answer.ID is its number.
type Submit struct {
	Spec queue.Spec
	// Known are the states of those of Spec.After that the plan has not (Planner.Unknown), where the journal has them.
	Known map[queue.ID]queue.State
}

// Unknown are the jobs of a list that are done or never were: only the journal knows them.
func (p *Planner) Unknown(after []queue.Dependency) (out []queue.ID) {
	for _, d := range after {
		if _, found := p.stateOf(d.ID); !found {
			out = append(out, d.ID)
		}
	}
	return out
}

func (s Submit) take(p *Planner) Answer {
	if s.Spec.UUID != "" {
		if id, ok := p.uuids[s.Spec.UUID]; ok {
			return Answer{ID: id}
		}
	}
	if err := s.Spec.Check(); err != nil {
		return Answer{Err: err}
	}
	unmet, message, err := s.unmet(p)
	if err != nil {
		return Answer{Err: err}
	}
	p.last++
	p.order = max(p.order+1, p.last)
	spec := s.Spec
	it := &item{id: queue.ID{Number: p.last}, spec: &spec, ask: newAsk(&spec), priority: spec.Priority, order: p.order,
		held: spec.Hold, submitted: p.now, unmet: unmet}
	if spec.Array != nil {
		it.arr = newArray(it, *spec.Array, nil)
	}
	p.add(it, keyOf(&spec))
	p.touch(it)
	if spec.UUID != "" {
		if p.uuids == nil {
			p.uuids = map[string]queue.ID{}
		}
		p.uuids[spec.UUID] = it.id
	}
	if message != "" {
		p.cancelWaiting(it, queue.ByDependency, "", message)
	} else {
		p.watch(it)
		p.arrange(it)
	}
	return Answer{ID: it.id}
}

// unmet are the dependencies that are not met yet; message says why one can't be any more.
func (s Submit) unmet(p *Planner) (unmet []queue.Dependency, message string, err error) {
	for _, d := range s.Spec.After {
		state, found := p.stateOf(d.ID)
		if !found {
			state, found = s.Known[d.ID]
		}
		switch {
		case !found:
			return nil, "", fmt.Errorf("there is no job %s to wait for", d.ID)
		case p.items[d.ID] != nil && p.items[d.ID].service():
			return nil, "", fmt.Errorf("job %s is a service: it is kept up, and has no end to wait for", d.ID)
		case d.When.Met(state):
		case state.Done():
			message = neverMet(d, state)
		default:
			unmet = append(unmet, d)
		}
	}
	return unmet, message, nil
}

// Happened is what a runner has seen. What is not of the job's newest run is forgotten.
type Happened struct{ Event queue.Event }

func (h Happened) take(p *Planner) Answer {
	e := h.Event
	it := p.items[e.ID]
	if it == nil || it.run == nil || it.st.Attempt != e.Attempt {
		return Answer{ID: e.ID, Err: &GoneError{e.ID}}
	}
	switch {
	case e.Started != nil:
		p.started(it, *e.Started)
	case e.Ended != nil:
		p.finished(it, *e.Ended)
	case e.Left != nil:
		p.left(it, *e.Left)
	case e.Refused != nil:
		p.refused(it, *e.Refused)
	case e.Delayed != nil:
		p.delayed(it, *e.Delayed)
	}
	return Answer{ID: e.ID}
}

// Looked is which code a job's folder has, just before a run of it begins or when it was submitted.
type Looked struct {
	ID      queue.ID
	Attempt int // of the run; 0: when it was submitted
	Code    *queue.Code
}

func (l Looked) take(p *Planner) Answer {
	it := p.items[l.ID]
	if it == nil {
		return Answer{ID: l.ID, Err: &GoneError{l.ID}}
	}
	var base *queue.Code
	if it.id.Element {
		base = it.arr.of.sawCode()
	}
	it.unpack()
	if it.st.Saw(l.Code, l.Attempt, base) {
		p.touch(it)
	} else if !it.touched {
		it.pack()
	}
	return Answer{ID: l.ID}
}

// SetLimits changes the limits. What runs goes on.
type SetLimits struct{ Limits Limits }

func (s SetLimits) take(p *Planner) Answer {
	p.setLimits(s.Limits)
	return Answer{}
}

// Drain stops the starting of jobs, or lets it go on.
type Drain struct{ On bool }

func (d Drain) take(p *Planner) Answer {
	p.drain = d.On
	return Answer{}
}

// Raise has numbers go on above one that was given before, by a journal that is gone.
type Raise struct{ Last int64 }

func (r Raise) take(p *Planner) Answer {
	p.last = max(p.last, r.Last)
	return Answer{}
}
