package job

import (
	"context"
	"math"
	"os"
	osuser "os/user"
	"slices"
	"strconv"
	"time"

	"berth/backend/agent/lease"
	"berth/backend/agent/user"
	"berth/queue/plan"
)

const (
	// peekSoon and peekLate are how often the folder of leases is looked at while jobs wait for GPUs that others have or
	// want: soon while anything changes there.
	peekSoon, peekLate = 100 * time.Millisecond, 500 * time.Millisecond
	// peekCalm is how long nothing has changed there until it is looked at less often.
	peekCalm = 5 * time.Second
	// ticketEvery is how often a ticket is written anew while something waits, and ticketLeast how soon after the last
	// time where others go by it and it has become wrong: by a tenth of what was used, say. That happens ever more seldom.
	ticketEvery, ticketLeast = 2 * time.Second, 250 * time.Millisecond
	ticketWrong              = 0.1
	// demandWait is how long the ledger waits for the loop.
	demandWait = time.Second
)

// sharing is how this queue shares the host's GPUs with other users' ones. Only the ledger's goroutine has it.
type sharing struct {
	post   *lease.Post
	wrote  time.Time
	last   lease.Ticket // that was written; the zero value: none is there
	failed string       // why the last one could not be written
	names  map[int]string

	tickets   []lease.Ticket // of the last look, this queue's among them
	told      plan.Sharing
	changed   time.Time // when the folder last said something else
	contested bool      // others have or want what this queue waits for
}

// share writes what this queue waits for, and reads what others do.
func (g *ledger) share(ctx context.Context, folder *lease.Folder, now time.Time) plan.Sharing {
	s := &g.sharing
	d, ok := g.wants(ctx)
	if !ok {
		return s.told
	}
	if s.post == nil {
		s.post = folder.Post()
	}
	g.putTicket(d, now)
	tickets, clock := folder.Tickets(), lease.Clock()
	was := s.told
	s.told = g.sharingOf(tickets, d, now, clock)
	if slices.EqualFunc(tickets, s.tickets, lease.Ticket.Same) && len(tickets) > 0 {
		s.told = was
	}
	if !slices.EqualFunc(s.told.Others, was.Others, func(a, b plan.Claim) bool {
		return a.UID == b.UID && a.Starts == b.Starts && slices.Equal(a.Wants, b.Wants)
	}) {
		s.changed = now
	}
	s.tickets = tickets
	return s.told
}

// wants is what the queue has and wants, where it says so in time.
func (g *ledger) wants(ctx context.Context) (d plan.Demand, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, demandWait)
	defer cancel()
	d, err := g.demand(ctx)
	return d, err == nil
}

// sameSharing reports whether there is nothing to tell of one where the other was told.
func sameSharing(a, b *plan.Sharing) bool {
	return len(a.Others) == 0 && len(b.Others) == 0 || a.Mine == b.Mine && slices.EqualFunc(a.Others, b.Others,
		func(a, b plan.Claim) bool { return a.Stand == b.Stand && slices.Equal(a.Wants, b.Wants) })
}

// putTicket puts this queue's ticket into the folder while it waits for GPUs, and takes it away after that.
func (g *ledger) putTicket(d plan.Demand, now time.Time) {
	s := &g.sharing
	if len(d.Wants) == 0 {
		g.takeTicket()
		return
	}
	t := lease.Ticket{User: user.Name(), Waits: max(now.Sub(d.Since).Seconds(), 0), Used: g.meter.now(now), Holds: d.Holds,
		Starts: d.Starts}
	for _, w := range d.Wants {
		t.Wants = append(t.Wants, lease.Want{GPUs: w.GPUs, Memory: w.Memory, Jobs: w.Jobs})
	}
	since := now.Sub(s.wrote)
	if s.last.At != 0 && since < ticketEvery && (since < ticketLeast || !s.contested || !wrong(&s.last, &t, since)) {
		return
	}
	err := s.post.Put(t)
	if err != nil {
		if s.failed != err.Error() {
			s.failed = err.Error()
			g.warn(s.failed)
		}
		s.last = lease.Ticket{}
		return
	}
	t.At = 1 // it is there
	s.failed, s.wrote, s.last = "", now, t
}

// wrong reports whether a ticket of a while ago says what matters otherwise than one of now.
func wrong(was, is *lease.Ticket, since time.Duration) bool {
	by := was.Used + float64(was.Holds)*since.Seconds()
	return math.Abs(by-is.Used) > ticketWrong*is.Used || is.Wants[0].GPUs != was.Wants[0].GPUs ||
		is.Wants[0].Memory != was.Wants[0].Memory || manyOf(is.Wants) < manyOf(was.Wants)
}

// manyOf is how many GPUs are wanted, up to a number from which it does not matter.
func manyOf(wants []lease.Want) (n int) {
	for _, w := range wants {
		n += w.GPUs * min(w.Jobs, 16)
	}
	return min(n, 16)
}

// takeTicket takes this queue's ticket away.
func (g *ledger) takeTicket() {
	if s := &g.sharing; s.post != nil {
		s.post.Take()
		s.last = lease.Ticket{}
	}
}

// standOf is how this queue stands where no ticket says it.
func (g *ledger) standOf(d plan.Demand, now time.Time) plan.Stand {
	return plan.Stand{UID: os.Getuid(), Used: gpuTime(g.meter.now(now)), Holds: d.Holds, At: now, Since: d.Since}
}

// sharingOf is what tickets say, which were read at a time of both clocks. Those of one user count together; that of
// this queue counts as it was written, so that all decide by the same figures.
func (g *ledger) sharingOf(tickets []lease.Ticket, d plan.Demand, now time.Time, clock float64) (out plan.Sharing) {
	at := func(t *lease.Ticket) time.Time { return now.Add(-gpuTime(clock - t.At)) }
	stand := func(t *lease.Ticket) plan.Stand {
		return plan.Stand{UID: t.UID, Used: gpuTime(t.Used), Holds: t.Holds, At: at(t), Since: at(t).Add(-gpuTime(t.Waits))}
	}
	out.Mine = g.standOf(d, now)
	for i := range tickets {
		if t := &tickets[i]; g.sharing.post.Mine(t) {
			out.Mine = stand(t)
		}
	}
	for i := range tickets {
		t := &tickets[i]
		if t.UID == os.Getuid() {
			if !g.sharing.post.Mine(t) { // another queue of the same user
				out.Mine.With(stand(t))
			}
			continue
		}
		k := slices.IndexFunc(out.Others, func(c plan.Claim) bool { return c.UID == t.UID })
		if k < 0 {
			k = len(out.Others)
			out.Others = append(out.Others, plan.Claim{Stand: stand(t), User: g.nameOf(t)})
		} else {
			out.Others[k].With(stand(t))
		}
		c := &out.Others[k]
		c.Starts += t.Starts
		for _, w := range t.Wants {
			c.Wants = append(c.Wants, plan.Want{GPUs: w.GPUs, Memory: w.Memory, Jobs: w.Jobs})
		}
	}
	return out
}

// gpuTime is a duration of so many seconds, as far as there are such.
func gpuTime(n float64) time.Duration {
	return time.Duration(min(n, math.MaxInt64/2/1e9) * float64(time.Second))
}

// nameOf is what a ticket's user is called: by the host's own list, or else by themselves.
func (g *ledger) nameOf(t *lease.Ticket) string {
	s := &g.sharing
	name, known := s.names[t.UID]
	if !known {
		if u, err := osuser.LookupId(strconv.Itoa(t.UID)); err == nil {
			name = u.Username
		}
		if s.names == nil {
			s.names = map[int]string{}
		}
		s.names[t.UID] = name
	}
	switch {
	case name != "":
		return name
	case t.User != "" && t.User != strconv.Itoa(t.UID):
		return t.User + " (user " + strconv.Itoa(t.UID) + ")"
	}
	return "user " + strconv.Itoa(t.UID)
}

// peekEvery is how soon the folder of leases is looked at again, where nothing else comes before.
func (g *ledger) peekEvery(now time.Time) time.Duration {
	s := &g.sharing
	switch {
	case !s.contested:
		return 0
	case now.Sub(s.changed) < peekCalm:
		return peekSoon
	}
	return peekLate
}
