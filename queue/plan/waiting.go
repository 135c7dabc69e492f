package plan

import (
	"cmp"
	"slices"

	"berth/queue"
)

// Place is where a job or an array stands among those that wait: first those that may start as soon as there is room,
// in their order, then those that wait for more, by their numbers. The zero value is before all.
type Place struct {
	Blocked  bool
	Priority int
	Order    int64
	Number   int64
}

// Waiting are jobs and arrays, no services, that wait, behind a place, up to a number: of those the first ones. What is
// left of an array is one; an element with a job of its own is in its array. next is where the last one stands.
func (p *Planner) Waiting(after Place, most int) (ids []queue.ID, next Place, more bool) {
	next = after
	if !after.Blocked {
		from := &item{id: queue.ID{Number: after.Number}, priority: after.Priority, order: after.Order}
		for it := range p.inOrder() {
			if it.id.Element || it.service() || after != (Place{}) && !from.before(it) {
				continue
			}
			if len(ids) == most {
				return ids, next, true
			}
			ids = append(ids, it.id)
			next = Place{Priority: it.priority, Order: it.order, Number: it.id.Number}
		}
	}
	least := int64(0)
	if after.Blocked {
		least = after.Number
	}
	var rest []*item
	for _, it := range p.items {
		if it.state().Waiting() && !it.id.Element && it.place == 0 && !it.service() && it.id.Number > least {
			rest = append(rest, it)
		}
	}
	slices.SortFunc(rest, func(a, b *item) int { return cmp.Compare(a.id.Number, b.id.Number) })
	for _, it := range rest {
		if len(ids) == most {
			return ids, next, true
		}
		ids = append(ids, it.id)
		next = Place{Blocked: true, Number: it.id.Number}
	}
	return ids, next, false
}
