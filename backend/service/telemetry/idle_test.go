package telemetry

import (
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/base/coalesce"
	"berth/backend/service/store"
	"berth/backend/service/workspace"
	"berth/gpu"
	"berth/gpu/history"
)

func (a *agents) serveHistory(w http.ResponseWriter, r *http.Request) {
	name, q := r.Header.Get("X-Instance"), r.URL.Query()
	since, _ := time.Parse(time.RFC3339Nano, q.Get("since"))
	until, _ := time.Parse(time.RFC3339Nano, q.Get("until"))
	points, _ := strconv.Atoi(q.Get("points"))
	a.mu.Lock()
	past, hangs := a.past[name], a.hangs[name]
	a.asked = append(a.asked, name+" "+since.UTC().Format("15:04:05"))
	a.asking++
	a.most = max(a.most, a.asking)
	a.mu.Unlock()
	defer a.set(func() { a.asking-- })
	if hangs {
		<-r.Context().Done()
		return
	}
	if past == nil {
		api.WriteError(w, api.Errorf(api.CodeNotFound, "%s", r.URL.Path))
		return
	}
	time.Sleep(10 * time.Millisecond) // so that several meet
	series, err := past.Series(history.Query{Metrics: q["metric"], Since: since, Until: until, Points: points})
	if err != nil {
		api.WriteError(w, err)
		return
	}
	api.WriteJSON(w, http.StatusOK, series)
}

// clock is one that a test sets.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.t }
func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = t
}
func (c *clock) pass(d time.Duration) { c.set(c.now().Add(d)) }

var berlin = func() *time.Location {
	loc, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		panic(err)
	}
	return loc
}()

func date(month time.Month, day, hour, minute, second int) time.Time {
	return time.Date(2026, month, day, hour, minute, second, 0, berlin)
}

// lived is a history: what its GPUs did from a time on, in each minute.
func lived(t *testing.T, c *clock) *history.History {
	t.Helper()
	h := history.Open(filepath.Join(t.TempDir(), "history"), c.now)
	t.Cleanup(func() { _ = h.Close() })
	return h
}

const gpuA, gpuB = "GPU-aaaa1111-0000-0000-0000-000000000000", "GPU-bbbb2222-0000-0000-0000-000000000000"

// spend writes a history from one time to another: GPU A does what is given, B works.
func spend(t *testing.T, h *history.History, from, to time.Time, percent float64) {
	t.Helper()
	for at := from; at.Before(to); at = at.Add(20 * time.Second) {
		s := gpu.Sample{SampledAt: at, GPUs: []gpu.GPU{{Index: 0, UUID: gpuA, Utilization: &percent}, {Index: 1, UUID: gpuB,
			Utilization: ptr(80.0)}}}
		require.NoError(t, h.Append(&s))
	}
}

func two(a, b float64) gpu.Summary {
	return gpu.Summary{GPUs: []gpu.GPUSummary{{Name: "A100", ID: "aaaa1111", Index: 0, Utilization: &a},
		{Name: "A100", ID: "bbbb2222", Index: 1, Utilization: &b}}}
}

// openAt is open with a clock.
func openAt(t *testing.T, a *agents, c *clock, names ...string) (*Hub, *workspace.Workspace) {
	t.Helper()
	a.now = c.now
	old, w := open(t, a, nil, names...)
	old.Close()
	return hubAt(t, w, c), w
}

func hubAt(t *testing.T, w *workspace.Workspace, c *clock) *Hub {
	h := New(Options{Workspace: w, Log: slog.New(slog.DiscardHandler), Now: c.now})
	t.Cleanup(h.Close)
	return h
}

func idleOf(f api.FleetFigures) (seconds float64, why string) {
	if f.IdleToday == nil {
		return -1, ""
	}
	return f.IdleToday.GPUSeconds, f.IdleToday.Why
}

func TestIdleOfToday(t *testing.T) {
	c := &clock{t: date(time.November, 24, 12, 0, 30)}
	a := newAgents(t)
	past := lived(t, c)
	spend(t, past, date(time.November, 23, 20, 0, 0), date(time.November, 24, 6, 0, 0), 0) // yesterday too
	spend(t, past, date(time.November, 24, 7, 0, 0), date(time.November, 24, 10, 0, 0), 97)
	spend(t, past, date(time.November, 24, 10, 0, 0), date(time.November, 24, 12, 0, 30), 4.9)
	a.set(func() { a.past["vision"], a.summary["vision"] = past, two(0, 99) })
	h, w := openAt(t, a, c, "vision")
	known, stop := watch(t, h, w, time.Second)
	has := func(want time.Duration) {
		t.Helper()
		until(t, fmt.Sprint(want, " of idleness"), func() bool {
			s, why := idleOf(known("vision"))
			return s == want.Seconds() && why == ""
		})
	}
	has(8 * time.Hour)
	rec, err := w.Record("vision")
	require.NoError(t, err)
	perHour := *rec.RunningUSDPerHour
	require.Positive(t, perHour)
	require.InDelta(t, 8*perHour/2, *known("vision").IdleToday.USD, 1e-9, "one of its two GPUs")
	require.Equal(t, "2026-11-24", known("vision").IdleToday.Day)
	require.Nil(t, known("vision").IdleToday.SumUSD)

	// It goes on live, minute for minute.
	for i := range 3 {
		c.pass(time.Minute)
		has(8*time.Hour + time.Duration(i+1)*time.Minute)
	}
	// A minute in which it worked for a second is none.
	a.set(func() { a.summary["vision"] = two(50, 99) })
	until(t, "it works", func() bool { return *known("vision").Summary.GPUs[0].Utilization == 50 })
	a.set(func() { a.summary["vision"] = two(0, 99) })
	until(t, "it rests", func() bool { return *known("vision").Summary.GPUs[0].Utilization == 0 })
	c.pass(time.Minute)
	until(t, "the next minute", func() bool { return known("vision").Summary.At.Equal(c.now()) })
	has(8*time.Hour + 3*time.Minute)

	// The line breaks: what was missed is read from its history, and nothing is counted twice.
	a.set(func() { a.gone["vision"] = true })
	until(t, "silence", func() bool { _, why := idleOf(known("vision")); return why == "its agent is silent" })
	s, _ := idleOf(known("vision"))
	require.Equal(t, (8*time.Hour + 4*time.Minute).Seconds(), s, "its last minute is over")
	require.NotNil(t, known("vision").IdleToday.USD)
	spend(t, past, date(time.November, 24, 12, 0, 40), date(time.November, 24, 12, 3, 0), 0)
	spend(t, past, date(time.November, 24, 12, 3, 0), date(time.November, 24, 12, 4, 0), 60)
	c.set(date(time.November, 24, 13, 0, 30))
	spend(t, past, date(time.November, 24, 12, 30, 0), c.now(), 0)
	a.set(func() { a.gone["vision"] = false; a.asked = nil })
	has(8*time.Hour + 4*time.Minute + 30*time.Minute)
	a.set(func() { require.Equal(t, []string{"vision 11:00:00"}, a.asked, "only from where it was read before") })

	// It stops; the next daemon knows it still, until the day is over.
	op, err := w.Action(t.Context(), "vision", "stop", api.ActionRequest{})
	require.NoError(t, err)
	until(t, "it is stopped", func() bool {
		op, err = w.Operation(t.Context(), op.ID)
		return err == nil && op.State.Done()
	})
	until(t, "it is kept", func() bool {
		rec, err := w.Record("vision")
		return err == nil && rec.IdleDay != nil && !rec.IdleDay.Ended.IsZero()
	})
	kept := 8*time.Hour + 35*time.Minute // with the minute in which it stopped
	has(kept)
	stop()
	h.Close()
	h = hubAt(t, w, c)
	known, stop = watch(t, h, w, time.Second)
	has(kept)
	require.InDelta(t, kept.Hours()*perHour/2, *known("vision").IdleToday.USD, 1e-9)
	c.set(date(time.November, 25, 0, 0, 1))
	h.mu.Lock()
	h.roll()
	h.mu.Unlock()
	until(t, "a new day", func() bool { return known("vision").IdleToday == nil })
	stop()
	h.Close()
	// Nor does a daemon that starts tomorrow count it.
	h = hubAt(t, w, c)
	known, stop = watch(t, h, w, time.Second)
	defer stop()
	until(t, "its figures", func() bool { return known("vision").Summary != nil })
	require.Nil(t, known("vision").IdleToday)
}

// The daemon ends while an instance runs: the next one asks only for what it does not know.
func TestIdleAfterARestartOfTheDaemon(t *testing.T) {
	c := &clock{t: date(time.November, 24, 9, 0, 30)}
	a := newAgents(t)
	past := lived(t, c)
	spend(t, past, date(time.November, 24, 8, 0, 0), c.now(), 0)
	a.set(func() { a.past["vision"], a.summary["vision"] = past, two(0, 99) })
	h, w := openAt(t, a, c, "vision")
	known, stop := watch(t, h, w, time.Second)
	until(t, "an hour", func() bool { s, why := idleOf(known("vision")); return s == 3600 && why == "" })
	stop()
	until(t, "it is kept", func() bool { rec, err := w.Record("vision"); return err == nil && rec.IdleDay != nil })
	h.Close()
	c.pass(30 * time.Minute)
	spend(t, past, date(time.November, 24, 9, 0, 40), c.now(), 0)
	a.set(func() { a.asked = nil })
	h = hubAt(t, w, c)
	known, stop = watch(t, h, w, time.Second)
	defer stop()
	until(t, "an hour and a half", func() bool { s, why := idleOf(known("vision")); return s == 5400 && why == "" })
	a.set(func() { require.Equal(t, []string{"vision 08:00:00"}, a.asked) }) // 9:00 in Berlin
}

func TestIdleOnDaysOf23And25Hours(t *testing.T) {
	for _, day := range []struct {
		month time.Month
		day   int
		hours float64
	}{{time.March, 29, 22.5}, {time.October, 25, 24.5}} {
		c := &clock{t: date(day.month, day.day, 23, 30, 0)}
		a := newAgents(t)
		past := lived(t, c)
		spend(t, past, date(day.month, day.day-1, 22, 0, 0), c.now(), 0)
		a.set(func() { a.past["vision"], a.summary["vision"] = past, two(0, 99) })
		h, w := openAt(t, a, c, "vision")
		known, stop := watch(t, h, w, time.Second)
		until(t, "its day", func() bool { s, why := idleOf(known("vision")); return s == day.hours*3600 && why == "" })
		// Midnight comes while it runs.
		c.set(date(day.month, day.day+1, 0, 0, 10))
		until(t, "a new day", func() bool { s, _ := idleOf(known("vision")); return s == 0 })
		c.pass(time.Minute)
		until(t, "its first minute", func() bool { s, why := idleOf(known("vision")); return s == 60 && why == "" })
		require.Equal(t, date(day.month, day.day+1, 0, 0, 0).Format(time.DateOnly), known("vision").IdleToday.Day)
		stop()
	}
}

// An instance whose clock is wrong has its own minutes, but our day.
func TestIdleWithAnotherClock(t *testing.T) {
	c, wrong := &clock{t: date(time.November, 24, 2, 0, 30)}, &clock{t: date(time.November, 24, 5, 0, 30)}
	a := newAgents(t)
	past := lived(t, wrong)
	spend(t, past, date(time.November, 24, 0, 0, 0), wrong.now(), 0) // from 21:00 of yesterday, truly
	a.set(func() { a.past["vision"], a.summary["vision"] = past, two(0, 99) })
	h, w := openAt(t, a, c, "vision")
	a.set(func() { a.now = wrong.now })
	known, _ := watch(t, h, w, time.Second)
	until(t, "two hours", func() bool { s, why := idleOf(known("vision")); return s == 7200 && why == "" })
}

// What can't be known is said, and is no money.
func TestIdleThatIsNotKnown(t *testing.T) {
	c := &clock{t: date(time.November, 24, 12, 0, 30)}
	a := newAgents(t)
	past := lived(t, c)
	spend(t, past, date(time.November, 24, 11, 0, 0), c.now(), 0)
	a.set(func() {
		a.summary["older"], a.summary["cpu"], a.summary["hung"], a.summary["good"] = two(0, 0), gpu.Summary{CPU: ptr(1.0)},
			two(0, 0), two(0, 99)
		a.past["good"], a.past["hung"], a.hangs["hung"] = past, past, true
	})
	h, w := openAt(t, a, c, "older", "cpu", "hung", "good")
	known, _ := watch(t, h, w, time.Second)
	until(t, "the one that is well", func() bool { s, why := idleOf(known("good")); return s == 3600 && why == "" })
	until(t, "the old agent", func() bool {
		_, why := idleOf(known("older"))
		return strings.Contains(why, "keeps no history")
	})
	require.Nil(t, known("older").IdleToday.USD)
	until(t, "the one without a GPU", func() bool { return known("cpu").Summary != nil })
	require.Nil(t, known("cpu").IdleToday)
	until(t, "the one that hangs", func() bool { return known("hung").IdleToday != nil })
	require.Equal(t, "its history has not been read yet", known("hung").IdleToday.Why)
	c.pass(time.Minute)
	// the other GPU works, says "good" on the same host
	until(t, "its live figures go on", func() bool { s, _ := idleOf(known("hung")); return s == 60 })

	// Utilisation that is not known (MIG), a driver that hangs and a lost GPU are no idleness.
	now := c.now()
	for _, s := range []gpu.Summary{
		{GPUs: []gpu.GPUSummary{{ID: "m", MemoryUsed: ptr(int64(1))}}},
		{Stale: true, GPUs: []gpu.GPUSummary{{ID: "m", Utilization: ptr(0.0)}}},
		{GPUs: []gpu.GPUSummary{{ID: "m", Utilization: ptr(0.0), Error: "lost"}}},
	} {
		x := h.newHost()
		s.At = now
		x.noteIdle(&s, now)
		require.Empty(t, x.day.GPUs)
	}
	// Without a price there is time, and no money.
	h2 := New(Options{Workspace: records{}, Now: c.now})
	x := h2.newHost()
	x.in = api.Instance{State: api.StateRunning}
	x.day.Mark(0, "m", false)
	x.in.RunningUSDPerHour = ptr(1.0)
	x.last = &gpu.Summary{GPUError: "no driver"}
	require.Contains(t, h2.idleToday(x).Why, "give no figures")
	x.in.RunningUSDPerHour, x.counted = nil, false
	got := h2.idleToday(x)
	require.Equal(t, 60.0, got.GPUSeconds)
	require.Nil(t, got.USD)
	require.Contains(t, got.Why, "price")
}

// ran is a Workspace whose instances ran today.
type ran struct{ Workspace }

func (ran) Record(string) (store.Instance, error) {
	return store.Instance{Usage: store.Usage{Day: "2026-11-24", Seconds: 1000}}, nil
}

func TestAnInstanceThatRanUnseen(t *testing.T) {
	c := &clock{t: date(time.November, 24, 12, 0, 0)}
	h := New(Options{Workspace: ran{}, Now: c.now})
	x := h.newHost()
	x.in = api.Instance{State: api.StateStopped, StateSince: date(time.November, 24, 11, 0, 0), GPUs: make([]api.GPU, 1),
		RunningUSDPerHour: ptr(2.0)}
	require.Contains(t, h.idleToday(x).Why, "before it stopped")
	// Its line broke before it was known to stop; what was missed before that had not been read yet.
	x.heardAt, x.counted = date(time.November, 24, 10, 58, 0), false
	x.ended()
	require.Contains(t, h.idleToday(x).Why, "before it stopped")
	x.whole, x.counted = true, false
	x.ended()
	require.Equal(t, x.heardAt, x.day.Ended)
	require.Nil(t, h.idleToday(x), "it was followed until it stopped, and did not idle")
	x.day.Mark(3, "m", false)
	x.counted = false
	require.Equal(t, 2.0/60, *h.idleToday(x).USD)
	h.o.Workspace, x.day.Ended, x.counted = records{}, time.Time{}, false
	require.Empty(t, h.idleToday(x).Why, "it did not run today, by the workspace's count")
}

// Instances on one host show the same GPUs, which idle once.
func TestIdleGPUsOfOneHostCountOnce(t *testing.T) {
	c := &clock{t: date(time.November, 24, 12, 0, 0)}
	h := New(Options{Workspace: records{}, Now: c.now})
	add := func(id string, usd *float64, key string, minutes ...int) *host {
		x := h.newHost()
		x.in = api.Instance{ID: id, Name: id, State: api.StateRunning, RunningUSDPerHour: usd}
		x.day.Until = c.now()
		for _, m := range minutes {
			x.day.Mark(m, key, false)
		}
		h.hosts[id] = x
		return x
	}
	add("a", nil, "x", 0, 1, 2, 3, 4, 5) // has no price: it takes nothing away
	b := add("b", ptr(60.0), "x", 0, 1, 2, 3)
	d := add("d", ptr(60.0), "x", 2, 3, 4, 5)
	add("e", ptr(60.0), "y", 0)
	add("f", ptr(60.0), "#0", 0)
	add("g", ptr(60.0), "#0", 0) // no UUID: not known to be the same
	total := func() (sum float64) {
		for _, x := range h.hosts {
			switch f := h.idleToday(x); {
			case f.SumUSD != nil:
				sum += *f.SumUSD
			case f.USD != nil:
				sum += *f.USD
			}
		}
		return sum
	}
	require.InDelta(t, 6+3, total(), 1e-9)
	require.InDelta(t, 4, *h.idleToday(d).USD, 1e-9)
	require.InDelta(t, 2, *h.idleToday(d).SumUSD, 1e-9)
	// What the first comes to know, the others count no more, and say so although nothing is heard of them.
	w := &watcher{ready: coalesce.NewSignal()}
	h.watchers[w] = struct{}{}
	b.day.Mark(4, "x", false)
	b.counted = false
	h.publish(b)
	require.InDelta(t, 1, *w.pending.Waiting("d").IdleToday.SumUSD, 1e-9)
	require.InDelta(t, 6+3, total(), 1e-9)
	// What one saw at work did not idle.
	d.day.Mark(0, "x", true)
	d.counted = false
	h.idleToday(d)
	b.counted = false
	require.InDelta(t, 5+3, total(), 1e-9)
}

// Many instances that come at once are read a few at a time, and none that hangs keeps the others waiting for ever.
func TestHistoriesAreReadAFewAtATime(t *testing.T) {
	c := &clock{t: date(time.November, 24, 0, 10, 30)}
	a := newAgents(t)
	past := lived(t, c)
	spend(t, past, date(time.November, 24, 0, 0, 0), c.now(), 0)
	var names []string
	for i := range 3 * readParallel {
		name := fmt.Sprintf("box-%d", i)
		names = append(names, name)
		a.set(func() {
			a.past[name], a.hangs[name] = past, i == 1
			a.summary[name] = gpu.Summary{GPUs: []gpu.GPUSummary{{Name: "A100", ID: fmt.Sprint(i), Utilization: ptr(50.0)}}}
		})
	}
	h, w := openAt(t, a, c, names...)
	known, _ := watch(t, h, w, time.Second)
	for i, name := range names {
		if i != 1 {
			until(t, name, func() bool { s, why := idleOf(known(name)); return s == 600 && why == "" })
		}
	}
	a.set(func() {
		require.LessOrEqual(t, a.most, readParallel)
		require.Greater(t, a.most, 1)
		require.Len(t, a.asked, len(names))
		slices.Sort(a.asked)
		require.Len(t, slices.Compact(a.asked), len(names))
	})
	require.Equal(t, "its history has not been read yet", known("box-1").IdleToday.Why)
}
