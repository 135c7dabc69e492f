package plan

import (
	"cmp"
	stdheap "container/heap"
	"iter"
	"slices"
	"time"

	"berth/queue"
)

// maxAhead is how many jobs of the line are played through. For those behind them it goes on at their pace.
const maxAhead = 256

// estimate plays the line through: each job takes as long as its command did before, or as its time-out, and none goes
// before another one that does not fit.
func (p *Planner) estimate(rows []row) {
	if len(rows) == 0 {
		return
	}
	last := 0
	for _, r := range rows {
		last = max(last, r.ahead)
	}
	starts := p.play(min(last+1, maxAhead))
	for _, r := range rows {
		switch {
		case r.ahead < len(starts):
			r.to.StartsAt = starts[r.ahead]
		case len(starts) == maxAhead:
			span := starts[maxAhead-1].Sub(p.now)
			r.to.StartsAt = p.now.Add(time.Duration(float64(span) / maxAhead * float64(r.ahead+1)))
		}
	}
}

// play is when the first jobs of the line start: it ends before the first of which that isn't known.
func (p *Planner) play(most int) (starts []time.Time) {
	type end struct {
		at   time.Time
		need need
		gpus []int
	}
	var ends []end
	for _, it := range p.active {
		if at := it.likely(p.now); !at.IsZero() {
			ends = append(ends, end{at, it.run.need, it.run.gpus})
		}
	}
	byTime := func(a, b end) int { return a.at.Compare(b.at) }
	slices.SortFunc(ends, byTime)
	if p.limits.GPUsUnknown != "" {
		return nil
	}
	free, at := p.room.clone(), p.now
	for it := range p.inOrder() {
		n := p.needOf(it.shape.request)
		for range it.jobs() {
			for !free.fits(n) {
				if len(ends) == 0 {
					return starts
				}
				at = ends[0].at
				free.give(ends[0].need, ends[0].gpus)
				ends = ends[1:]
			}
			if starts = append(starts, at); len(starts) == most {
				return starts
			}
			gpus := free.choose(n)
			free.take(n, gpus)
			if d := it.takes(); d > 0 {
				e := end{at.Add(d), n, gpus}
				i, _ := slices.BinarySearchFunc(ends, e, byTime)
				ends = slices.Insert(ends, i, e)
			}
		}
	}
	return starts
}

// takes is how long a job probably runs; 0: not known.
func (it *item) takes() time.Duration { return cmp.Or(it.ask.expect, it.ask.timeout) }

// likely is when a job that holds slots probably has given them back; zero: not known.
func (it *item) likely(now time.Time) time.Time {
	if it.st.State == queue.Paused {
		return time.Time{}
	}
	if began := it.st.StartedAt; it.ask.expect > 0 && it.st.State != queue.Stopping {
		if began.IsZero() {
			began = now
		}
		if at := began.Add(it.ask.expect + it.st.PausedFor); at.After(now) {
			return at
		}
	}
	return it.ends(now) // it takes longer than it did before
}

// inOrder goes through the line, from its first job on. The heaps stay as they are: below a spot in one stand only
// later ones.
func (p *Planner) inOrder() iter.Seq[*item] {
	return func(yield func(*item) bool) {
		var f frontier
		f.groups(p.line, 0)
		for len(f) > 0 {
			n := stdheap.Pop(&f).(spot)
			switch {
			case n.group == nil:
				f.groups(p.line, 2*n.at+1)
				f.groups(p.line, 2*n.at+2)
				f.shapes(p.line[n.at], 0)
			case n.shape == nil:
				f.shapes(n.group, 2*n.at+1)
				f.shapes(n.group, 2*n.at+2)
				f.items(n.group, n.group.shapes[n.at], 0)
			default:
				f.items(n.group, n.shape, 2*n.at+1)
				f.items(n.group, n.shape, 2*n.at+2)
				if !yield(n.first) {
					return
				}
			}
		}
	}
}

// spot is a place in one of the heaps: in the line, in a group's or in a shape's.
type spot struct {
	first *item // which is there, or stands first in what is there
	at    int
	group *group // nil: in the line
	shape *shape // nil: in group
}

// frontier is the spots that come next.
type frontier []spot

func (f frontier) Len() int           { return len(f) }
func (f frontier) Less(i, j int) bool { return f[i].first.before(f[j].first) }
func (f frontier) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }

// Push is for container/heap.
func (f *frontier) Push(x any) { *f = append(*f, x.(spot)) }

// Pop is for container/heap.
func (f *frontier) Pop() any {
	last := (*f)[len(*f)-1]
	*f = (*f)[:len(*f)-1]
	return last
}

func (f *frontier) groups(line heap[*group], at int) {
	if at < len(line) {
		stdheap.Push(f, spot{first: line[at].shapes[0].items[0], at: at})
	}
}

func (f *frontier) shapes(g *group, at int) {
	if at < len(g.shapes) {
		stdheap.Push(f, spot{first: g.shapes[at].items[0], at: at, group: g})
	}
}

func (f *frontier) items(g *group, s *shape, at int) {
	if at < len(s.items) {
		stdheap.Push(f, spot{first: s.items[at], at: at, group: g, shape: s})
	}
}
