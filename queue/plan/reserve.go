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
	for n := 0; n < maxShapes && len(p.line) > 0 && p.mayFit(); n++ {
		s := p.line[0].shapes[0]
		it := s.items[0]
		need := p.needOf(s.request)
		if s != first && p.fits(need) && r.allows(need, p.room.choose(need), s.latest(p.now)) {
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
	first need
	at    time.Time // when it can start at the latest; zero: not known
	room  room      // what is free then; where that time is not known, what is free once those have ended that must
}

// allows reports whether a job that takes n, and these GPUs, until a time at the latest can't delay the first: that
// still gets as much of all that is taken. What it takes is gone then.
func (r *reservation) allows(n need, gpus []int, until time.Time) bool {
	if !r.at.IsZero() && !until.IsZero() && !until.After(r.at) {
		return true
	}
	left := r.room.clone()
	left.take(n, gpus)
	if !left.fitsSlots(r.first) || n.gpus > 0 && !left.fitsGPUs(r.first) {
		return false
	}
	r.room = left
	return true
}

// reserve is the place of a job that does not fit now.
func (p *Planner) reserve(first need) reservation {
	type end struct {
		at  time.Time // zero: not known
		run *run
	}
	ends := make([]end, len(p.active))
	sure := p.room.clone() // with what must be given back in any case
	all := first.gpus > 0 && first.memory == 0 && first.gpus == most(p.limits.GPUs, first)
	for i, it := range p.active {
		ends[i] = end{it.ends(p.now), it.run}
		if all && len(it.run.gpus) > 0 { // it needs all of them
			sure.give(it.run.need, it.run.gpus)
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
	free := p.room.clone()
	for i, e := range ends {
		if e.at.IsZero() {
			break
		}
		free.give(e.run.need, e.run.gpus)
		if more := i+1 < len(ends) && ends[i+1].at.Equal(e.at); !more && free.fits(first) {
			return reservation{first, e.at, free}
		}
	}
	return reservation{first: first, room: sure}
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
