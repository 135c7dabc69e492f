package job

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/lease"
	"berth/gpu/procs/proc"
	"berth/queue"
	"berth/queue/plan"
)

func TestTheMeterOfGPUTime(t *testing.T) {
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	var m meter
	m.note(at, 0)
	m.add(1000, at.Add(-usedHalf)) // of yesterday
	require.InDelta(t, 500, m.now(at), 1e-6)
	m.note(at, 2)
	require.InDelta(t, 520, m.now(at.Add(10*time.Second)), 0.1)
	m.note(at.Add(10*time.Second), 0)
	require.InDelta(t, 520, m.now(at), 0.1, "a clock that is set back takes nothing away")
	require.InDelta(t, 260, m.now(at.Add(usedHalf)), 0.1)
	m.note(at.Add(usedHalf), 1)
	require.InDelta(t, usedHalf.Seconds()/0.693147, m.now(at.Add(90*usedHalf)), 1, "who always has one has a day and a half of it")
}

// TestEarlierJobsCount: what jobs had of GPUs before this agent came is found in the journal.
func TestEarlierJobsCount(t *testing.T) {
	l, _, stop := opened(t, t.TempDir())
	s := spec("train")
	s.Request.GPUs = 2
	l.see(plan.SetGPUs{GPUs: []plan.GPU{{GPU: queue.GPU{UUID: "GPU-a"}}, {GPU: queue.GPU{UUID: "GPU-b", Index: 1}}}})
	id := submitted(t, l, s)
	end := time.Now().UTC()
	l.emit(queue.Event{ID: id, Attempt: 1, Started: &queue.Started{At: end.Add(-100 * time.Second), Supervised: true}})
	l.emit(queue.Event{ID: id, Attempt: 1, Ended: &queue.Ended{At: end}})
	eventually(t, "it is done", func() bool { return state(t, l, id) == "succeeded" })
	second := submitted(t, l, s)
	l.emit(queue.Event{ID: second, Attempt: 1, Started: &queue.Started{At: end.Add(-50 * time.Second), Supervised: true}})
	eventually(t, "it runs", func() bool { return state(t, l, second) == "running" })
	stop()

	next, _, _ := opened(t, filepath.Dir(l.runs))
	done := make(chan struct{})
	_, err := next.do(t.Context(), &ask{look: func(*plan.Planner) {
		defer close(done)
		next.begun()
		next.gpus.present = func() bool { return true }
		next.recall(t.Context(), next.journal.Seq())
	}})
	require.NoError(t, err)
	<-done
	require.InDelta(t, 2*100+2*50, next.gpus.meter.now(time.Now()), 30)
	next.recall(t.Context(), 0)
	require.InDelta(t, 2*100+2*50, next.gpus.meter.now(time.Now()), 30, "what came after counts by itself")
}

func state(t *testing.T, l *loop, id queue.ID) string {
	j, err := l.job(t.Context(), id)
	require.NoError(t, err)
	return string(j.State)
}

func TestWhatTicketsSay(t *testing.T) {
	g, _, _ := ledgerWith(t)
	folder, err := g.leases()
	require.NoError(t, err)
	g.sharing.post = folder.Post()
	require.NoError(t, g.sharing.post.Put(lease.Ticket{Used: 100, Holds: 1, Waits: 5}))
	mine := folder.Tickets()
	require.Len(t, mine, 1)
	now, clock := began, mine[0].At+10
	me := os.Getuid()
	tickets := append(mine,
		lease.Ticket{UID: me, At: clock - 2, Used: 50, Holds: 2, Waits: 7},
		lease.Ticket{UID: 4_000_001, User: "bob", At: clock - 1, Used: 30, Holds: 3, Waits: 20, Starts: 4,
			Wants: []lease.Want{{GPUs: 1, Jobs: 2}}},
		lease.Ticket{UID: 4_000_001, User: "bob", At: clock, Used: 1, Waits: 3, Starts: 5,
			Wants: []lease.Want{{GPUs: 2, Memory: 9, Jobs: 1}}})
	x := g.sharingOf(tickets, plan.Demand{Holds: 7}, now, clock)
	require.Equal(t, plan.Stand{UID: me, Used: 158 * time.Second, Holds: 3, At: now.Add(-2 * time.Second),
		Since: now.Add(-15 * time.Second)}, round(x.Mine), "as it was written, with another queue of the same user")
	require.Len(t, x.Others, 1)
	x.Others[0].Stand = round(x.Others[0].Stand)
	require.Equal(t, plan.Claim{Stand: plan.Stand{UID: 4_000_001, Used: 34 * time.Second, Holds: 3, At: now,
		Since: now.Add(-21 * time.Second)}, User: "bob (user 4000001)", Starts: 9,
		Wants: []plan.Want{{GPUs: 1, Jobs: 2}, {GPUs: 2, Memory: 9, Jobs: 1}}}, x.Others[0])
	none := g.sharingOf(nil, plan.Demand{Holds: 7, Since: now}, now, clock)
	require.Equal(t, plan.Stand{UID: me, Holds: 7, At: now, Since: now}, none.Mine)
}

// round makes times those that were meant.
func round(s plan.Stand) plan.Stand {
	s.Used = s.Used.Round(time.Millisecond)
	s.At, s.Since = near(s.At), near(s.Since)
	return s
}

var began = time.Now()

// near is a time to the millisecond from now on, of the same clocks.
func near(t time.Time) time.Time { return began.Add(t.Sub(began).Round(time.Millisecond)) }

// TestTheLedgerShares: a ticket is there while jobs wait for GPUs, and not before or after; others' leases and tickets
// are seen soon, though no sample comes.
func TestTheLedgerShares(t *testing.T) {
	g, k, told := ledgerWith(t)
	var waits atomic.Bool
	g.demand = func(context.Context) (d plan.Demand, err error) {
		if waits.Load() {
			d.Wants, d.Since = []plan.Want{{GPUs: 1, Jobs: 1}}, time.Now()
		}
		return d, nil
	}
	folder, err := g.leases()
	require.NoError(t, err)
	g.want(true)
	<-k.every
	at := time.Now()
	look := func() {
		at = at.Add(time.Second)
		k.samples <- sampled(at, "GPU-a")
	}
	look()
	look()
	require.Len(t, (<-told).GPUs, 1)
	<-k.every
	require.Empty(t, folder.Tickets(), "nothing waits")
	waits.Store(true)
	look()
	eventually(t, "its ticket is there", func() bool { return len(folder.Tickets()) == 1 })

	bob := lease.Holder{User: "bob", UID: 4_000_001, Job: "7"}
	l, err := folder.Take([]string{"GPU-a"}, bob)
	require.NoError(t, err)
	look()
	require.Equal(t, "job 7 of bob", (<-told).GPUs[0].Users[0].Text)
	l.Close()
	require.Empty(t, (<-told).GPUs[0].Users, "seen without another sample")

	if os.Getuid() == 0 { // else nobody can be another user
		ticket := lease.Ticket{Version: 1, UID: 4_000_001, User: "bob", Boot: proc.BootID(), At: lease.Clock(),
			Wants: []lease.Want{{GPUs: 1, Jobs: 1}}}
		b, err := json.Marshal(ticket)
		require.NoError(t, err)
		path := filepath.Join(folder.Dir(), "ticket-"+strconv.Itoa(ticket.UID)+"-0000000000000001")
		require.NoError(t, os.WriteFile(path, b, 0o644))
		require.NoError(t, os.Chown(path, ticket.UID, ticket.UID))
		look()
		now := <-told
		require.Len(t, now.Sharing.Others, 1)
		require.NoError(t, os.Remove(path))
		eventually(t, "it is gone", func() bool { return len((<-told).Sharing.Others) == 0 })
	}
	waits.Store(false)
	look()
	eventually(t, "its ticket is gone", func() bool { return len(folder.Tickets()) == 0 })
	waits.Store(true)
	look()
	eventually(t, "its ticket is there", func() bool { return len(folder.Tickets()) == 1 })
	close(k.samples)
	eventually(t, "nobody looks any more", func() bool { return len(folder.Tickets()) == 0 })
}
