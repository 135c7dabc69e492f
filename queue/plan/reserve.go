package plan

import (
	"slices"
	"time"

	"berth/queue"
)

// maxShapes is how many shapes are looked at for what may go before the first that does not fit.
const maxShapes = 256

// fill starts what may go before the first that does not fit, which can't be delayed by it.
//
// The place that is held is of a time: when enough of what runs must have ended by its time-outs. Another job may go
// first if it must have ended by then too, or takes only what the first one leaves over. Where that time is not known,
// since something without a time-out must end for it, only the second counts, for what is over once those have ended
// that must end in any case.
func (p *Planner) fill(first *shape) {
	r := p.reserve(p.needOf(first.request))
	var aside []*shape
	for n := 0; n < maxShapes && p.free.slots > 0 && len(p.line) > 0; n++ {
		s := p.line[0].shapes[0]
		it := s.items[0]
		need := p.needOf(s.request)
		if s != first && need.fits(p.free) && r.allows(need, s.latest(p.now)) {
			p.startItem(it)
			continue
		}
		s.group.shapes.drop(s)
		p.arrangeGroup(s.group)
		aside = append(aside, s)
	}
	for _, s := range aside {
		p.arrangeShape(s)
	}
}

// reservation is the place of the first that does not fit.
type reservation struct {
	at   time.Time // when it can start at the latest; zero: not known
	over need      // what it leaves over then
}

// allows reports whether a job that takes n until a time, at the latest, can't delay the first. What it takes of what
// is over is gone then.
func (r *reservation) allows(n need, until time.Time) bool {
	if !r.at.IsZero() && !until.IsZero() && !until.After(r.at) {
		return true
	}
	if !n.fits(r.over) {
		return false
	}
	r.over = need{r.over.slots - n.slots, r.over.gpus - n.gpus}
	return true
}

// reserve is the place of a job that does not fit now.
func (p *Planner) reserve(first need) reservation {
	type end struct {
		at   time.Time // zero: not known
		need need
	}
	ends := make([]end, len(p.active))
	sure := p.free // with what must be given back in any case
	for i, it := range p.active {
		ends[i] = end{it.ends(p.now), it.run.need}
		if first.gpus > p.free.gpus && it.run.need.gpus > 0 { // one job has all of them
			sure = need{sure.slots + it.run.need.slots, sure.gpus + it.run.need.gpus}
		}
	}
	slices.SortStableFunc(ends, func(a, b end) int {
		switch {
		case a.at.IsZero() || b.at.IsZero():
			return boolInt(a.at.IsZero()) - boolInt(b.at.IsZero())
		default:
			return a.at.Compare(b.at)
		}
	})
	free := p.free
	for i, e := range ends {
		if e.at.IsZero() {
			break
		}
		free = need{free.slots + e.need.slots, free.gpus + e.need.gpus}
		if more := i+1 < len(ends) && ends[i+1].at.Equal(e.at); !more && first.fits(free) {
			return reservation{at: e.at, over: need{free.slots - first.slots, free.gpus - first.gpus}}
		}
	}
	return reservation{over: need{sure.slots - first.slots, sure.gpus - first.gpus}}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// ends is when a job that holds slots has given them back, at the latest; zero: not known.
func (it *item) ends(now time.Time) time.Time {
	switch {
	case it.run.killed:
		return time.Time{}
	case !it.run.kill.IsZero():
		return it.run.kill
	case it.st.State == queue.Preparing:
		return it.shape.latest(now)
	case it.st.State == queue.Running && !it.run.deadline.IsZero():
		return it.run.deadline.Add(it.ask.grace)
	}
	return time.Time{}
}

// latest is when a job that starts now has ended, at the latest; zero: not known.
func (s *shape) latest(now time.Time) time.Time {
	if s.longest == 0 {
		return time.Time{}
	}
	return now.Add(s.longest)
}
