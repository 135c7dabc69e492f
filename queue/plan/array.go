package plan

import (
	"slices"

	"berth/queue"
)

// array is what its elements have together.
type array struct {
	of     *item
	spec   queue.Array
	n      int                // elements
	begun  int                // those that have jobs of their own
	active int                // those that hold slots
	own    map[*item]struct{} // those that have jobs of their own, and are not done
}

func newArray(it *item, a queue.Array, begun []queue.Range) *array {
	arr := &array{of: it, spec: a, n: a.Len(), own: map[*item]struct{}{}}
	for _, r := range begun {
		arr.begun += r.Len()
	}
	return arr
}

// rest is how many elements wait without jobs of their own.
func (a *array) rest() int {
	if !a.of.state().Waiting() {
		return 0
	}
	return a.n - a.begun
}

// full reports that no more elements may run.
func (a *array) full() bool { return a.spec.Limit > 0 && a.active >= a.spec.Limit }

// next is the place of the first element that has no job of its own.
func (a *array) next() int {
	if a.of.st == nil || len(a.of.st.Begun) == 0 || a.of.st.Begun[0].First > 0 {
		return 0
	}
	return a.of.st.Begun[0].Last + 1
}

// element makes a job of an element that waits without one.
func (p *Planner) element(a *array, place int) *item {
	st := p.touch(a.of)
	st.Begun = with(st.Begun, place)
	a.begun++
	it := &item{id: a.of.id.At(a.spec.Index(place)), ask: a.of.ask, arr: a, held: st.State == queue.Held,
		submitted: a.of.st.SubmittedAt, priority: a.of.priority, order: a.of.order, unmet: a.of.unmet}
	p.add(it, a.of.shape.shapeKey)
	p.touch(it)
	return it
}

// with is a set of places and one more.
func with(set []queue.Range, place int) []queue.Range {
	i, _ := slices.BinarySearchFunc(set, place, func(r queue.Range, p int) int { return r.First - p })
	out := slices.Insert(slices.Clone(set), i, queue.Range{First: place, Last: place, Step: 1})
	if i+1 < len(out) && out[i+1].First == place+1 {
		out[i].Last = out[i+1].Last
		out = slices.Delete(out, i+1, i+2)
	}
	if i > 0 && out[i-1].Last == place-1 {
		out[i-1].Last = out[i].Last
		out = slices.Delete(out, i, i+1)
	}
	return out
}

// has reports whether a place is in a set.
func has(set []queue.Range, place int) bool {
	return slices.ContainsFunc(set, func(r queue.Range) bool { return r.First <= place && place <= r.Last })
}

// arrangeArray puts what waits of an array where it belongs, after one of its elements began or ended.
func (p *Planner) arrangeArray(a *array) {
	if a.spec.Limit == 0 || a.active != a.spec.Limit && a.active != a.spec.Limit-1 {
		return // nothing changed for those that wait
	}
	p.arrange(a.of)
	for it := range a.own {
		p.arrange(it)
	}
}

// tidyArray changes an array's own state, after one of its elements' changed.
func (p *Planner) tidyArray(a *array) {
	st := p.touch(a.of)
	if st.State.Waiting() && a.begun == a.n {
		p.must(a.of, queue.ToSpread)
		p.arrange(a.of)
	}
	if st.State == queue.Running && st.Tally.Done() == a.n {
		p.must(a.of, st.Tally.End())
		st.EndedAt = p.now
		p.ended = append(p.ended, a.of.id.Number)
	}
}

// drop ends the elements of an array that wait without jobs of their own.
func (p *Planner) drop(a *array) {
	rest := a.rest()
	if rest == 0 {
		return
	}
	p.must(a.of, queue.ToSpread)
	p.touch(a.of).Tally.Cancelled += rest
	p.ended = append(p.ended, a.of.id.Number)
	p.arrange(a.of)
	p.tidyArray(a)
}

// elements are an array's jobs that are not done, in their order.
func (a *array) elements() []*item {
	out := make([]*item, 0, len(a.own))
	for it := range a.own {
		out = append(out, it)
	}
	slices.SortFunc(out, func(x, y *item) int { return x.id.Index - y.id.Index })
	return out
}
