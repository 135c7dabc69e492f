package plan

import (
	"time"

	"berth/queue"
)

// killAgain is after how long a kill is repeated, if something is still there.
const killAgain = 10 * time.Second

// later is a job that waits for a time.
type later struct {
	at    time.Time
	it    *item
	place int
}

func (l *later) before(o *later) bool {
	if l.at.Equal(o.at) {
		return l.it.before(o.it)
	}
	return l.at.Before(o.at)
}
func (l *later) pos() *int { return &l.place }

// waitUntil has a job looked at again at a time.
func (p *Planner) waitUntil(it *item, at time.Time) {
	if it.later == nil {
		it.later = &later{it: it}
	}
	it.later.at = at
	p.later.put(it.later)
}

// waitNoMore ends that.
func (p *Planner) waitNoMore(it *item) {
	if it.later != nil {
		p.later.drop(it.later)
		it.later = nil
	}
}

// due does what the time has come for.
func (p *Planner) due() {
	for len(p.later) > 0 && !p.later[0].at.After(p.now) {
		p.arrange(p.later[0].it)
	}
	for _, it := range p.active {
		p.dueOf(it)
	}
}

// dueOf does what the time has come for with a job that holds slots.
func (p *Planner) dueOf(it *item) {
	if at := it.noticeAt(); !at.IsZero() && !at.After(p.now) {
		p.touch(it).NoticedAt = p.now
		p.signal(it, it.ask.notice.Signal, queue.Leader)
	}
	if it.st.State == queue.Running && !it.run.deadline.IsZero() && !it.run.deadline.After(p.now) {
		p.stop(it, queue.ByTimeout, "")
	}
	if kill := it.run.kill; !kill.IsZero() && !kill.After(p.now) {
		p.signal(it, "KILL", queue.All)
		it.run.kill, it.run.killed = p.now.Add(killAgain), true
	}
}

// noticeAt is when a job gets the signal before its time-out; zero: it doesn't, or has had it.
func (it *item) noticeAt() time.Time {
	n := it.ask.notice
	if n.Signal == "" || it.run.deadline.IsZero() || it.st.State != queue.Running || !it.st.NoticedAt.IsZero() {
		return time.Time{}
	}
	return it.run.deadline.Add(-n.Before)
}

// wake is when something is due next; zero: never.
func (p *Planner) wake() (next time.Time) {
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if len(p.later) > 0 {
		sooner(p.later[0].at)
	}
	for _, it := range p.active {
		sooner(it.noticeAt())
		if it.st.State == queue.Running {
			sooner(it.run.deadline)
		}
		sooner(it.run.kill)
	}
	return next
}

// arm sets the deadline of a job whose main process runs: what was paused does not count.
func (p *Planner) arm(it *item) {
	if it.ask.timeout == 0 || it.st.StartedAt.IsZero() {
		return
	}
	until := p.now
	if it.st.State == queue.Paused {
		until = it.st.PausedAt
	}
	it.run.left = it.ask.timeout - max(until.Sub(it.st.StartedAt)-it.st.PausedFor, 0)
	it.run.deadline = time.Time{}
	if it.st.State == queue.Running {
		it.run.deadline = p.now.Add(it.run.left)
	}
}
