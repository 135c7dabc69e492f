package plan

import (
	"fmt"
	"slices"

	"berth/queue"
)

// stateOf is the state of a job that is not done, or is done since the Do began. An element without a job of its own
// stands as its array says.
func (p *Planner) stateOf(id queue.ID) (s queue.State, found bool) {
	if it := p.items[id]; it != nil {
		return it.state(), true
	}
	arr := p.items[id.Array()]
	if !id.Element || arr == nil || !arr.isArray() {
		return "", false
	}
	place, found := arr.arr.spec.Place(id.Index)
	if !found {
		return "", false
	}
	if st := arr.st; st != nil && has(st.Begun, place) {
		return "", false // it is done, and forgotten: the journal knows how
	}
	if s := arr.state(); s.Waiting() {
		return s, true
	}
	return queue.Cancelled, true
}

// watch has a job told when what it waits for is done.
func (p *Planner) watch(it *item) {
	for _, d := range it.unmet {
		if l := p.waiters[d.ID.Number]; len(l) == 0 || l[len(l)-1] != it {
			p.waiters[d.ID.Number] = append(l, it)
		}
	}
}

// settleWaiters looks at those that wait for what is done now, and at those that wait for these, and so on.
func (p *Planner) settleWaiters() {
	for len(p.ended) > 0 {
		number := p.ended[0]
		p.ended = p.ended[1:]
		waiters := p.waiters[number]
		keep := waiters[:0]
		for _, it := range waiters {
			if !it.state().Waiting() || !slices.ContainsFunc(it.unmet, of(number)) {
				continue
			}
			p.settle(it)
			if it.state().Waiting() && slices.ContainsFunc(it.unmet, of(number)) {
				keep = append(keep, it)
			}
		}
		clear(waiters[len(keep):])
		if p.waiters[number] = keep; len(keep) == 0 {
			delete(p.waiters, number)
		}
	}
	p.ended = nil
}

func of(number int64) func(queue.Dependency) bool {
	return func(d queue.Dependency) bool { return d.ID.Number == number }
}

// settle looks at what a job waits for. One that can't be met any more cancels it.
func (p *Planner) settle(it *item) {
	var unmet []queue.Dependency
	for _, d := range it.unmet {
		s, found := p.stateOf(d.ID)
		switch {
		case !found:
			p.cancelWaiting(it, queue.ByDependency, "", fmt.Sprintf("it waits for job %s, of which nothing is known", d.ID))
			return
		case d.When.Met(s):
		case s.Done():
			p.cancelWaiting(it, queue.ByDependency, "", neverMet(d, s))
			return
		default:
			unmet = append(unmet, d)
		}
	}
	if len(unmet) != len(it.unmet) {
		p.setUnmet(it, unmet)
		p.arrange(it)
	}
}

// neverMet says why a job that waited for another one was cancelled.
func neverMet(d queue.Dependency, s queue.State) string {
	want := "succeed"
	if d.When == queue.Failure {
		want = "fail"
	}
	return fmt.Sprintf("job %s, which it waited for to %s, is %s", d.ID, want, s)
}

func (p *Planner) setUnmet(it *item, unmet []queue.Dependency) {
	p.touch(it).Unmet = unmet
	it.unmet = unmet
}

// cancelWaiting ends a job that waits, and an array's elements that do.
func (p *Planner) cancelWaiting(it *item, why queue.Cause, by, message string) {
	st := p.touch(it)
	st.Cause, st.By, st.Message = why, by, message
	if it.isArray() {
		p.drop(it.arr)
		return
	}
	p.must(it, queue.ToCancel)
	st.EndedAt = p.now
	p.done(it)
}
