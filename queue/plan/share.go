package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/queue"
)

// Sharing is how the users stand who share a host's GPUs, each with a queue of their own. Nobody decides for all: each
// queue decides by the same rule on the same figures, and leaves what others come first for.
type Sharing struct {
	Mine   Stand
	Others []Claim
}

// Stand is what counts for who comes first.
type Stand struct {
	UID   int
	Used  time.Duration // GPU time of the last days until At: what is older counts less
	Holds int           // GPUs that are held since
	At    time.Time
	Since time.Time // when the first job that waits for GPUs was asked for
}

// used is what was used until a time.
func (s *Stand) used(now time.Time) time.Duration {
	return s.Used + time.Duration(s.Holds)*max(now.Sub(s.At), 0)
}

// With adds another queue of the same user.
func (s *Stand) With(o Stand) {
	at := o.At
	if s.At.After(at) {
		at = s.At
	}
	s.Used, s.Holds, s.At = s.used(at)+o.used(at), s.Holds+o.Holds, at
	if o.Since.Before(s.Since) {
		s.Since = o.Since
	}
}

// compare is the order of users at a time: who used the least comes first, then who waits for the longest.
func (s *Stand) compare(o *Stand, now time.Time) int {
	return cmp.Or(cmp.Compare(s.used(now), o.used(now)), s.Since.Compare(o.Since), cmp.Compare(s.UID, o.UID))
}

// Claim is what another user waits for.
type Claim struct {
	Stand
	User   string // in words
	Wants  []Want // the first of what waits, in its order
	Starts int64  // changes with each start of a job with GPUs
}

// Want is jobs that are alike, which wait for GPUs and for nothing else.
type Want struct {
	GPUs   int
	Memory int64 // bytes of each GPU that one shares with others of its user; 0: it has them for itself
	Jobs   int
}

const (
	// turnFor is how long GPUs are left to one who does not take them.
	turnFor = 8 * time.Second
	// provenFor is the same of one who says that they start jobs, where nothing is seen of that: what they say can be
	// wrong. Jobs that are very short are not seen each time.
	provenFor = 5 * turnFor
	// passedFor is how long nothing is left to such a one after that.
	passedFor = time.Minute
	// maxLeft is for how many jobs of one user GPUs are left at once.
	maxLeft = 64
	// gatherAfter is how long one waits for more GPUs than are free until those that become free are kept for them. It is
	// as with the first job of one queue: else those who need few at once would always be faster.
	gatherAfter = 5 * time.Minute
)

// turn is how a user who comes first makes use of that.
type turn struct {
	starts int64
	left   time.Time // since when GPUs are left to them, and they start nothing; zero: none are
	unseen time.Time // since when GPUs are left to them, and none was seen to be taken; zero: none are
	gpus   []int     // that were left to them last
	passed time.Time // until then nothing is left to them
}

// giveWay finds which of the free GPUs are left to others.
func (p *Planner) giveWay() {
	for i := range p.room.held {
		p.room.held[i].left = ""
	}
	s := &p.limits.Sharing
	if len(s.Others) == 0 || len(p.line) == 0 || p.limits.GPUsUnknown != "" {
		p.turns = nil
		return
	}
	others := make([]*Claim, 0, len(s.Others))
	for i := range s.Others {
		if c := &s.Others[i]; c.compare(&s.Mine, p.now) < 0 {
			others = append(others, c)
		}
	}
	slices.SortFunc(others, func(a, b *Claim) int { return a.compare(&b.Stand, p.now) })
	was := p.turns
	p.turns = make(map[int]*turn, len(others))
	free := p.room.clone()
	for i := range free.held {
		if h := &free.held[i]; h.jobs > 0 { // others share none of them
			h.taken = &User{}
		}
	}
	first := true
	for _, c := range others {
		t := was[c.UID]
		switch {
		case t == nil:
			t = &turn{starts: c.Starts}
		case t.starts != c.Starts:
			t = &turn{starts: c.Starts, unseen: t.unseen, gpus: t.gpus}
		}
		if slices.ContainsFunc(t.gpus, func(i int) bool { return i < len(p.room.held) && p.room.held[i].taken != nil }) {
			t.unseen = time.Time{}
		}
		p.turns[c.UID] = t
		if p.now.Before(t.passed) {
			continue
		}
		p.giveWayTo(c, t, &free, first)
		first = false
	}
}

// giveWayTo leaves one user what they can take of what is free. The first of them may need more than that.
func (p *Planner) giveWayTo(c *Claim, t *turn, free *room, first bool) {
	before := free.clone()
	lack := need{}
	var left []int
	jobs := maxLeft
wants:
	for _, w := range c.Wants {
		n := need{gpus: w.GPUs, memory: w.Memory}
		for range min(w.Jobs, jobs) {
			jobs--
			if !free.fitsGPUs(n) {
				lack = n
				break wants // what is behind the first that doesn't fit goes not before it
			}
			got := free.choose(n)
			free.take(n, got)
			left = append(left, got...)
		}
	}
	t.gpus = left
	if len(left) == 0 {
		t.left, t.unseen = time.Time{}, time.Time{}
	} else {
		t.left, t.unseen = orNow(t.left, p.now), orNow(t.unseen, p.now)
	}
	if len(left) > 0 && (p.now.Sub(t.left) >= turnFor || p.now.Sub(t.unseen) >= provenFor) {
		*t = turn{starts: t.starts, passed: p.now.Add(passedFor)}
		*free = before
		return
	}
	for _, i := range left {
		p.room.held[i].left = fmt.Sprintf("free, but %s comes first (%s)", c.User, p.against(c))
	}
	if lack.gpus == 0 || !first || p.now.Sub(c.Since) < gatherAfter || p.comes(lack) < lack.gpus {
		return
	}
	for i, kept := 0, 0; i < len(free.of) && kept < lack.gpus; i++ {
		if free.has(i, lack) {
			p.room.held[i].left = fmt.Sprintf("free, but kept for %s, who has waited %s for %s (%s)", c.User,
				span(p.now.Sub(c.Since)), plural(lack.gpus, "a GPU", "%d GPUs"), p.against(c))
			free.held[i].taken = &User{}
			kept++
		}
	}
}

func orNow(t, now time.Time) time.Time {
	if t.IsZero() {
		return now
	}
	return t
}

// comes is how many GPUs a need could have once all jobs have ended. What others than jobs use may be used for ever.
func (p *Planner) comes(n need) (count int) {
	for i := range p.room.of {
		jobs := p.room.held[i].taken == nil ||
			slices.ContainsFunc(p.room.of[i].Users, func(u User) bool { return u.Leased || u.Job != (queue.ID{}) })
		count += boolInt(jobs && suits(p.room.of, &p.room.of[i], n))
	}
	return count
}

// against compares what another user used with what this one did, in words.
func (p *Planner) against(c *Claim) string {
	theirs, mine := span(c.used(p.now)), span(p.limits.Sharing.Mine.used(p.now))
	if theirs == mine {
		return theirs + " of GPU time in the last days, like you"
	}
	return fmt.Sprintf("%s of GPU time against your %s in the last days", theirs, mine)
}

// leftGPUs says which GPUs that a need could have are left to others: those of one reason together.
func (p *Planner) leftGPUs(n need) (out []string) {
	for i := range p.room.of {
		why := p.room.held[i].left
		if why == "" || !suits(p.room.of, &p.room.of[i], n) || slices.ContainsFunc(p.room.held[:i],
			func(h holding) bool { return h.left == why }) {
			continue
		}
		var names []string
		for k := i; k < len(p.room.of); k++ {
			if p.room.held[k].left == why && suits(p.room.of, &p.room.of[k], n) {
				names = append(names, p.room.of[k].Name())
			}
		}
		is := " is "
		if len(names) > 1 {
			is = " are "
		}
		out = append(out, strings.Join(names, ", ")+is+why)
	}
	return out
}

// Waiting GPU jobs are looked for among the first of the line only: what stands far behind does not start soon.
const (
	maxWantWalk = 64
	maxWants    = 16
)

// Demand is what a queue has and wants of a host's GPUs, for other users to know.
type Demand struct {
	Holds  int       // GPUs that its jobs have
	Wants  []Want    // what could start now if GPUs were free, the first jobs of it
	Since  time.Time // when the first of these was asked for
	Starts int64
}

// HeldGPUs is how many GPUs jobs have.
func (p *Planner) HeldGPUs() (n int) {
	for i := range p.room.held {
		n += boolInt(p.room.held[i].jobs > 0)
	}
	return n
}

// Demand is what the queue has and wants now.
func (p *Planner) Demand() (d Demand) {
	d.Starts = p.starts
	d.Holds = p.HeldGPUs()
	if p.drain || p.wanting == 0 || p.limits.GPUsUnknown != "" {
		return d
	}
	slots, walked := p.room.slots, 0
	groups, arrays := map[*group]int{}, map[*array]int{}
	for it := range p.inOrder() {
		if walked++; walked > maxWantWalk {
			break
		}
		n := p.needOf(it.shape.request)
		if n.slots > 0 && n.slots > slots { // services come first, and take no slot
			break
		}
		if n.gpus == 0 {
			continue
		}
		jobs := it.jobs()
		if n.slots > 0 {
			jobs = min(jobs, slots/n.slots)
		}
		if g := it.shape.group; g.limit >= 0 {
			jobs = min(jobs, g.limit-g.active-groups[g])
			groups[g] += max(jobs, 0)
		}
		if a := it.arr; a != nil && a.spec.Limit > 0 {
			jobs = min(jobs, a.spec.Limit-a.active-arrays[a])
			arrays[a] += max(jobs, 0)
		}
		if jobs <= 0 {
			continue
		}
		slots -= jobs * n.slots
		if at := it.asked(); d.Since.IsZero() || at.Before(d.Since) {
			d.Since = at
		}
		w := Want{GPUs: n.gpus, Memory: n.memory, Jobs: jobs}
		if last := len(d.Wants) - 1; last >= 0 && d.Wants[last].GPUs == w.GPUs && d.Wants[last].Memory == w.Memory {
			d.Wants[last].Jobs += jobs
			continue
		}
		if len(d.Wants) == maxWants {
			break
		}
		d.Wants = append(d.Wants, w)
	}
	return d
}

// asked is when a job was submitted.
func (it *item) asked() time.Time {
	if it.st != nil {
		return it.st.SubmittedAt
	}
	return it.submitted
}

// refused takes in that a run can't have its GPUs, since somebody else was faster: its job waits again, and may get
// others. Who looks at the GPUs says next how they really are.
func (p *Planner) refused(it *item, e queue.Refused) {
	st := it.st
	if !st.EndedAt.IsZero() {
		return
	}
	if st.State != queue.Preparing { // it was told to end meanwhile
		p.finished(it, queue.Ended{At: p.now, Exit: -1, Signal: "TERM"})
		return
	}
	of := slices.Clone(p.limits.GPUs)
	for _, i := range it.run.gpus {
		of[i].Users = append(slices.Clip(of[i].Users), User{Text: e.Why, Leased: true})
	}
	p.release(it)
	st = p.touch(it)
	p.must(it, queue.ToAgain)
	st.Attempt--
	st.GPUs, st.Message, st.StartedAt = nil, "", time.Time{}
	p.limits.GPUs, p.room.of = of, of
	p.retake()
	p.arrange(it)
}
