package plan

import (
	"cmp"
	stdheap "container/heap"
	"fmt"
	"maps"
	"time"

	"berth/queue"
)

// node is what stands in a heap, and knows where.
type node[T any] interface {
	before(T) bool
	pos() *int // from 1; 0: in none
}

// heap has its first at 0.
type heap[T node[T]] []T

func (h heap[T]) Len() int           { return len(h) }
func (h heap[T]) Less(i, j int) bool { return h[i].before(h[j]) }
func (h heap[T]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	*h[i].pos(), *h[j].pos() = i+1, j+1
}

// Push is for container/heap.
func (h *heap[T]) Push(x any) {
	*h = append(*h, x.(T))
	*x.(T).pos() = len(*h)
}

// Pop is for container/heap.
func (h *heap[T]) Pop() any {
	old := *h
	x := old[len(old)-1]
	*x.pos() = 0
	var none T
	old[len(old)-1] = none
	*h = old[:len(old)-1]
	return x
}

// put puts x where it belongs, whether it was in or not.
func (h *heap[T]) put(x T) {
	if at := *x.pos(); at > 0 {
		stdheap.Fix(h, at-1)
	} else {
		stdheap.Push(h, x)
	}
}

// drop takes x out, if it is in.
func (h *heap[T]) drop(x T) {
	if at := *x.pos(); at > 0 {
		stdheap.Remove(h, at-1)
	}
}

// shapeKey is what makes jobs alike for the plan.
type shapeKey struct {
	request queue.Request
	in      string // the group
	user    string
	longest time.Duration // a run, with the grace after its time-out; 0: not known
}

func keyOf(s *queue.Spec) shapeKey {
	key := shapeKey{request: s.Request, in: s.Group, user: s.User}
	if s.Timeout > 0 {
		key.longest = s.Timeout + cmp.Or(s.Grace, queue.DefaultGrace)
	}
	return key
}

// shape is jobs that are alike.
type shape struct {
	shapeKey
	group *group
	items heap[*item] // what may start
	all   int         // items that have the shape
	place int         // in its group's heap
	wants bool        // it is in Planner.wanting
}

func (s *shape) before(o *shape) bool { return s.items[0].before(o.items[0]) }
func (s *shape) pos() *int            { return &s.place }

// group is jobs that have a limit together.
type group struct {
	name   string
	limit  int          // -1: none
	active int          // jobs that hold slots
	shapes heap[*shape] // those with a job that may start, and which could ever
	all    int          // shapes that it has
	place  int          // in the line
}

func (g *group) before(o *group) bool { return g.shapes[0].before(o.shapes[0]) }
func (g *group) pos() *int            { return &g.place }
func (g *group) full() bool           { return g.limit >= 0 && g.active >= g.limit }

// join gives an item its shape.
func (p *Planner) join(it *item, key shapeKey) {
	s := p.shapes[key]
	if s == nil {
		g := p.groups[key.in]
		if g == nil {
			g = &group{name: key.in, limit: p.groupLimit(key.in)}
			p.groups[key.in] = g
		}
		s = &shape{shapeKey: key, group: g}
		p.shapes[key] = s
		g.all++
	}
	s.all++
	it.shape, it.up = s, it.ask.service
}

// leave forgets an item's shape, which goes with its last one.
func (p *Planner) leave(it *item) {
	s := it.shape
	if s.all--; s.all > 0 {
		return
	}
	delete(p.shapes, s.shapeKey)
	if s.group.all--; s.group.all == 0 {
		delete(p.groups, s.group.name)
	}
}

// groupLimit is a group's limit; -1: none.
func (p *Planner) groupLimit(name string) int {
	if n, ok := p.limits.Groups[name]; ok && name != "" {
		return max(n, 0)
	}
	return -1
}

// arrange puts an item where it belongs: in the line, in what waits for a time, or aside.
func (p *Planner) arrange(it *item) {
	s := it.shape
	if p.may(it) {
		s.items.put(it)
	} else {
		s.items.drop(it)
	}
	p.arrangeShape(s)
}

// may reports whether a job may start, were there room.
func (p *Planner) may(it *item) bool {
	ready := it.state() == queue.Queued && len(it.unmet) == 0
	if from := it.from(); ready && from.After(p.now) {
		p.waitUntil(it, from)
		return false
	}
	p.waitNoMore(it)
	return ready && (it.arr == nil || !it.arr.full())
}

// arrangeShape puts a shape where it belongs.
func (p *Planner) arrangeShape(s *shape) {
	g := s.group
	if wants := s.request.GPUs != 0 && len(s.items) > 0; wants != s.wants {
		s.wants = wants
		p.wanting += 2*boolInt(wants) - 1
	}
	if len(s.items) > 0 && p.limits.Never(s.request) == "" {
		g.shapes.put(s)
	} else {
		g.shapes.drop(s)
	}
	p.arrangeGroup(g)
}

func (p *Planner) arrangeGroup(g *group) {
	if len(g.shapes) > 0 && !g.full() {
		p.line.put(g)
	} else {
		p.line.drop(g)
	}
}

// needOf is what a request takes here.
func (p *Planner) needOf(r queue.Request) need { return p.limits.need(r) }

func (l *Limits) need(r queue.Request) need {
	n := need{slots: slotsOf(r), gpus: max(r.GPUs, 0), memory: r.GPUMemory}
	if r.Exclusive {
		n.slots = l.Slots // each other job needs one
	}
	if r.GPUs < 0 && (len(l.GPUs) > 0 || l.GPUsUnknown != "") {
		n.gpus = 1
		if r.Exclusive && n.memory == 0 { // nobody else could use the others
			n.gpus = max(n.gpus, most(l.GPUs, need{gpus: 2}))
		}
	}
	if n.gpus == 0 {
		n.memory = 0
	}
	return n
}

// Never says why an instance with such limits can't ever run a job that asks for something; "": it can.
func (l *Limits) Never(r queue.Request) string {
	if slots := slotsOf(r); slots > l.Slots {
		return fmt.Sprintf("it needs %s, and this instance has %d", plural(slots, "1 slot", "%d slots"), l.Slots)
	}
	n := l.need(r)
	if n.gpus == 0 || l.GPUsUnknown != "" || most(l.GPUs, n) >= n.gpus {
		return ""
	}
	has := most(l.GPUs, need{gpus: n.gpus})
	if n.memory > 0 && has >= n.gpus {
		return fmt.Sprintf("it needs %s with more memory than this instance's have", plural(n.gpus, "a GPU", "%d GPUs"))
	}
	if has == 0 && len(l.GPUs) > 0 {
		return fmt.Sprintf("it needs %d GPUs, and a process can use one MIG instance only", n.gpus)
	}
	if has == 0 {
		return fmt.Sprintf("it needs %s, and this instance has none", plural(n.gpus, "a GPU", "%d GPUs"))
	}
	return fmt.Sprintf("it needs %s, and this instance has %d", plural(n.gpus, "1 GPU", "%d GPUs"), has)
}

// slotsOf is how many slots a request takes.
func slotsOf(r queue.Request) int {
	if r.Slots == 0 {
		return 1
	}
	return max(r.Slots, 0)
}

// Needs is how many GPUs an instance with such limits gives to a job that asks for something.
func (l *Limits) Needs(r queue.Request) int { return l.need(r).gpus }

// setLimits changes the limits, and arranges everything anew.
func (p *Planner) setLimits(l Limits) {
	l.Groups = maps.Clone(l.Groups)
	p.limits = l
	p.recount()
	for _, s := range p.shapes {
		s.group.limit = p.groupLimit(s.group.name)
		p.arrangeShape(s)
	}
}

// recount finds what the jobs that run leave of the limits.
func (p *Planner) recount() {
	p.room = newRoom(p.limits)
	for _, it := range p.active {
		it.run.need = p.needOf(it.shape.request)
		it.run.gpus = p.room.places(it.st.GPUs)
		p.room.take(it.run.need, it.run.gpus)
	}
	p.retake()
}
