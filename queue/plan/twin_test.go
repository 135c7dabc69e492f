package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"berth/queue"
)

// twin decides what to start as plainly as can be: it looks at every job that the journal has, again for each start.
type twin struct {
	limits Limits
	now    time.Time
	jobs   map[queue.ID]queue.Job // the waiting elements of arrays are jobs here
	rest   map[queue.ID]bool      // these
}

// newTwin has the jobs of a journal as they were before some were started.
func newTwin(w *world, before map[queue.ID]queue.Job, started map[queue.ID]bool) *twin {
	tw := &twin{limits: w.limits, now: w.now, jobs: map[queue.ID]queue.Job{}, rest: map[queue.ID]bool{}}
	for id, j := range w.journal {
		if started[id] {
			j.State = queue.Queued
		}
		if id.Element || j.Spec.Array == nil {
			tw.jobs[id] = j
			continue
		}
		for place := range j.Spec.Array.Len() { // elements without jobs, those that were started just now included
			el := id.At(j.Spec.Array.Index(place))
			_, own := w.journal[el]
			_, had := before[el]
			if !own && j.State.Waiting() {
				rest := j
				rest.ID = el
				tw.jobs[el], tw.rest[el] = rest, true
			}
			if started[el] && !had {
				tw.rest[el] = true
			}
		}
	}
	return tw
}

// amount is so much of an instance. GPUs that are taken are nobody's.
type amount struct{ slots, gpus int }

func (a amount) plus(b amount) amount  { return amount{a.slots + b.slots, a.gpus + b.gpus} }
func (a amount) minus(b amount) amount { return amount{a.slots - b.slots, a.gpus - b.gpus} }

// in reports whether a is there, of what b has. Where no GPU is wanted, it doesn't matter how many there are.
func (a amount) in(b amount) bool {
	return (a.slots == 0 || a.slots <= b.slots) && (a.gpus == 0 || a.gpus <= b.gpus)
}

// need is what a job that waits wants.
func (tw *twin) need(j queue.Job) amount {
	r := j.Spec.Request
	n := amount{wanted(j), r.GPUs}
	if r.GPUs < 0 {
		n.gpus = min(len(tw.limits.GPUs), 1)
	}
	if r.Exclusive {
		n.slots = tw.limits.Slots
		if r.GPUs < 0 {
			n.gpus = len(tw.limits.GPUs)
		}
	}
	return n
}

// wanted is how many slots a job says that it takes.
func wanted(j queue.Job) int {
	if j.Spec.Service != nil {
		return 0
	}
	return max(j.Spec.Request.Slots, 1)
}

// has is what a job that runs has.
func (tw *twin) has(j queue.Job) amount {
	n := amount{slots: tw.need(j).slots}
	for _, g := range tw.limits.GPUs {
		if len(g.Users) == 0 && slices.Contains(j.GPUs, g.GPU) {
			n.gpus++
		}
	}
	return n
}

// begin begins a job.
func (tw *twin) begin(j *queue.Job) {
	j.State, j.StartedAt, j.GPUs = queue.Preparing, tw.now, nil
	active, _ := tw.active()
	for _, g := range tw.limits.GPUs {
		held := slices.ContainsFunc(active, func(a queue.Job) bool { return slices.Contains(a.GPUs, g.GPU) })
		if len(g.Users) == 0 && !held && len(j.GPUs) < tw.need(*j).gpus {
			j.GPUs = append(j.GPUs, g.GPU)
		}
	}
	tw.jobs[j.ID] = *j
}

// active are the jobs that hold slots, and free what they leave.
func (tw *twin) active() (active []queue.Job, free amount) {
	free.slots = tw.limits.Slots
	for _, g := range tw.limits.GPUs {
		free.gpus += boolInt(len(g.Users) == 0)
	}
	for _, id := range slices.SortedFunc(maps.Keys(tw.jobs), compareIDs) {
		if j := tw.jobs[id]; j.State.Active() {
			active = append(active, j)
			free = free.minus(tw.has(j))
		}
	}
	return active, free
}

// line is what may start, in order.
func (tw *twin) line() (line []queue.Job) {
	active, _ := tw.active()
	for _, j := range tw.jobs {
		group, elements := 0, 0
		for _, a := range active {
			if a.Spec.Group == j.Spec.Group {
				group++
			}
			if a.ID.Number == j.ID.Number {
				elements++
			}
		}
		limit, limited := tw.limits.Groups[j.Spec.Group]
		switch {
		case j.State != queue.Queued, len(j.Unmet) > 0, j.Spec.Begin.After(tw.now), j.EligibleAt.After(tw.now),
			wanted(j) > tw.limits.Slots, tw.need(j).gpus > len(tw.limits.GPUs),
			limited && group >= limit, j.Spec.Array != nil && j.Spec.Array.Limit > 0 && elements >= j.Spec.Array.Limit:
			continue
		}
		line = append(line, j)
	}
	slices.SortFunc(line, func(a, b queue.Job) int {
		return cmp.Or(boolInt(b.Spec.Service != nil)-boolInt(a.Spec.Service != nil),
			cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.Order, b.Order),
			cmp.Compare(a.ID.Number, b.ID.Number), boolInt(tw.rest[a.ID])-boolInt(tw.rest[b.ID]),
			cmp.Compare(a.ID.Index, b.ID.Index))
	})
	return line
}

// start starts what may go, and says what.
func (tw *twin) start() (started []queue.ID) {
	var held *queue.Job // the first that did not fit
	passed := map[shapeKey]bool{}
	for {
		again := false
		for _, j := range tw.line() {
			_, free := tw.active()
			if held != nil && j.ID == held.ID || passed[keyOf(&j.Spec)] {
				continue
			}
			if !tw.need(j).in(free) {
				if held == nil {
					held = &j
				}
				passed[keyOf(&j.Spec)] = true
				continue
			}
			if held != nil && tw.delays(*held, j) {
				passed[keyOf(&j.Spec)] = true
				continue
			}
			tw.begin(&j)
			started = append(started, j.ID)
			again = true
			break
		}
		if !again {
			return started
		}
	}
}

// delays reports whether a job that starts now could delay another one that does not fit. It plays both through: each
// run lasts as long as it may, and of those that may last for ever all others end at some time after, in any order.
func (tw *twin) delays(held, j queue.Job) bool {
	with := &twin{limits: tw.limits, now: tw.now, jobs: maps.Clone(tw.jobs), rest: tw.rest}
	with.begin(&j)
	without, forever := tw.atLatest(held)
	then, never := with.atLatest(held)
	if !forever {
		return never || then.After(without)
	}
	// Nobody knows when it starts: it must fit beside the job as soon as those have ended that must.
	active, free := tw.active()
	for _, a := range active {
		if m := tw.need(held).gpus; m > 0 && m == len(tw.limits.GPUs) && len(a.GPUs) > 0 && tw.listed(a) {
			free = free.plus(tw.has(a))
		}
	}
	n, m := tw.need(j), tw.need(held)
	if n.gpus == 0 {
		m.gpus = 0 // it takes none of them
	}
	return !n.plus(m).in(free)
}

// atLatest is when a job fits, if all others last as long as they may.
func (tw *twin) atLatest(held queue.Job) (at time.Time, never bool) {
	active, free := tw.active()
	times := map[time.Time]amount{}
	for _, a := range active {
		if end, known := tw.end(a); known {
			times[end] = times[end].plus(tw.has(a))
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(times), time.Time.Compare) {
		free = free.plus(times[at])
		if tw.need(held).in(free) {
			return at, false
		}
	}
	return time.Time{}, true
}

// listed reports whether the instance has one of a job's GPUs.
func (tw *twin) listed(j queue.Job) bool {
	return slices.ContainsFunc(tw.limits.GPUs, func(g GPU) bool { return slices.Contains(j.GPUs, g.GPU) })
}

// end is when a run has ended at the latest.
func (tw *twin) end(j queue.Job) (at time.Time, known bool) {
	grace := cmp.Or(j.Spec.Grace, queue.DefaultGrace)
	switch {
	case !j.StopAt.IsZero():
		at = j.StopAt.Add(grace)
		return at, at.After(tw.now) // what was killed, and is still there, may be there for ever
	case j.Spec.Timeout == 0, j.State == queue.Paused, j.State == queue.Stopping:
		return at, false
	case j.State == queue.Preparing:
		return tw.now.Add(j.Spec.Timeout + grace), true
	}
	return j.StartedAt.Add(j.PausedFor + j.Spec.Timeout + grace), true
}

// draws makes things up.
type draws struct{ *rapid.T }

func (d draws) n(label string, from, to int) int { return rapid.IntRange(from, to).Draw(d.T, label) }

// job is one of those that were submitted, or an element.
func (d draws) job(w *world) queue.ID {
	n := w.p.Last()
	if n == 0 {
		d.Skip("no job yet")
	}
	id := id(int64(d.n("number", 1, int(n))))
	if arr := w.journal[id].Spec.Array; arr != nil && d.n("element", 0, 1) == 1 {
		return id.At(arr.Index(d.n("place", 0, arr.Len()-1)))
	}
	return id
}

// gpus are up to 4 GPUs, some of them taken.
func (d draws) gpus() []GPU {
	gpus := someGPUs(d.n("all GPUs", 0, 4))
	for i := range gpus {
		if d.n("taken", 0, 4) == 0 {
			gpus[i].Users = []User{{Text: "python of bob"}}
		}
	}
	return gpus
}

// run is a job that holds slots.
func (d draws) run(w *world, of func(queue.Job) bool) queue.Job {
	var jobs []queue.Job
	for _, id := range slices.SortedFunc(maps.Keys(w.journal), compareIDs) {
		if j := w.journal[id]; j.State.Active() && (id.Element || j.Spec.Array == nil) && of(j) {
			jobs = append(jobs, j)
		}
	}
	if len(jobs) == 0 {
		d.Skip("none")
	}
	return jobs[d.n("run", 0, len(jobs)-1)]
}

func (d draws) spec(w *world) queue.Spec {
	s := spec()
	s.Request.Slots = d.n("slots", 0, 4)
	s.Request.GPUs = []int{0, 0, -1, 1, 2, 4}[d.n("gpus", 0, 5)]
	s.Request.Exclusive = d.n("exclusive", 0, 15) == 0
	s.Group = []string{"", "", "a", "b"}[d.n("group", 0, 3)]
	s.Priority = d.n("priority", -1, 1)
	s.Hold = d.n("hold", 0, 9) == 0
	if s.Retries = max(d.n("retries", -2, 2), 0); s.Retries > 0 {
		for range d.n("retry on", 0, 2) {
			s.RetryOn = append(s.RetryOn, queue.RetryCauses[d.n("cause", 0, len(queue.RetryCauses)-1)])
		}
	}
	s.Grace = time.Duration(d.n("grace", 0, 2)) * 20 * time.Second
	s.KillLeftovers = d.n("kill leftovers", 0, 1) == 1
	if d.n("limited", 0, 1) == 1 {
		s.Timeout = time.Duration(d.n("timeout", 1, 10)) * time.Minute
		if d.n("notice", 0, 1) == 1 {
			s.Notice = queue.Notice{Signal: "USR1", Before: 30 * time.Second}
		}
	}
	if d.n("later", 0, 4) == 0 {
		s.Begin = w.now.Add(time.Duration(d.n("begin", -60, 60)) * 10 * time.Second)
	}
	for range max(d.n("after", -2, 2), 0) {
		if w.p.Last() > 0 {
			when := []queue.Ending{queue.Success, queue.Any, queue.Failure}[d.n("when", 0, 2)]
			s.After = append(s.After, queue.Dependency{ID: d.job(w), When: when})
		}
	}
	if d.n("service", 0, 9) == 0 {
		s.Service = &queue.Service{Port: 8000}
		s.Request = queue.Request{Slots: -1, GPUs: max(s.Request.GPUs, 0)}
		s.Timeout, s.Notice, s.Retries, s.RetryOn = 0, queue.Notice{}, 0, nil
		return s
	}
	if d.n("array", 0, 3) == 0 {
		s.Array = &queue.Array{Ranges: []queue.Range{{First: 1, Last: 1 + 2*d.n("elements", 0, 6), Step: 2}},
			Limit: max(d.n("limit", -2, 2), 0)}
	}
	return s
}

// TestThePlanIsThatOfItsTwin makes everything happen in any order, and looks after each time whether the same is
// started as the twin starts, and whether a planner that loads the journal stands where this one does.
func TestThePlanIsThatOfItsTwin(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := draws{rt}
		w := &world{t: rt, now: epoch, journal: map[queue.ID]queue.Job{},
			limits: Limits{Slots: d.n("all slots", 1, 5), GPUs: d.gpus(), Groups: map[string]int{"a": d.n("limit of a", 0, 2)}}}
		w.p = New(w.limits, 0)
		attempts := map[string]bool{}
		do := func(in ...Input) {
			before := maps.Clone(w.journal)
			w.do(in...)
			w.check(rt, before, attempts)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"submit": func(rt *rapid.T) { do(Submit{Spec: draws{rt}.spec(w), Known: w.known()}) },
			"time passes": func(rt *rapid.T) {
				w.after(time.Duration(draws{rt}.n("seconds", 1, 200)) * time.Second)
				do()
			},
			"started": func(rt *rapid.T) {
				j := draws{rt}.run(w, func(j queue.Job) bool { return j.StartedAt.IsZero() })
				do(w.started(j.ID))
			},
			"ended": func(rt *rapid.T) {
				d := draws{rt}
				j := d.run(w, func(j queue.Job) bool { return j.EndedAt.IsZero() })
				e := queue.Ended{At: w.now, Exit: d.n("exit", -1, 1)}
				switch d.n("how", 0, 4) {
				case 0:
					e.Left = []string{"sleep"}
				case 1:
					e.Exit, e.Lost = -1, "restarted"
				case 2:
					e.OOM = "it used all of its memory"
				}
				do(w.event(j.ID, queue.Event{Ended: &e}))
			},
			"left": func(rt *rapid.T) {
				j := draws{rt}.run(w, func(j queue.Job) bool { return !j.EndedAt.IsZero() })
				do(w.event(j.ID, queue.Event{Left: &queue.Left{}}))
			},
			"cancel":   func(rt *rapid.T) { do(Cancel{draws{rt}.job(w), "ann"}) },
			"hold":     func(rt *rapid.T) { do(Hold{draws{rt}.job(w)}) },
			"release":  func(rt *rapid.T) { do(Release{draws{rt}.job(w)}) },
			"pause":    func(rt *rapid.T) { do(Pause{draws{rt}.job(w)}) },
			"resume":   func(rt *rapid.T) { do(Resume{draws{rt}.job(w)}) },
			"put back": func(rt *rapid.T) { do(PutBack{draws{rt}.job(w), "ann"}) },
			"priority": func(rt *rapid.T) { do(SetPriority{draws{rt}.job(w), draws{rt}.n("to", -1, 1)}) },
			"move": func(rt *rapid.T) {
				do(Move{draws{rt}.job(w), []Way{Up, Down, Top, End}[draws{rt}.n("way", 0, 3)]})
			},
			"limits": func(rt *rapid.T) {
				w.limits.Slots = draws{rt}.n("all slots", 1, 5)
				do(SetLimits{w.limits})
			},
			"GPUs": func(rt *rapid.T) {
				w.limits.GPUs = draws{rt}.gpus()
				do(SetGPUs{GPUs: w.limits.GPUs})
			},
			"retry": func(rt *rapid.T) {
				id := draws{rt}.job(w)
				r := Retry{Job: w.journal[id]}
				if arr, ok := w.journal[id.Array()]; ok && id.Element {
					if r.Array = &arr; r.Job.ID != id {
						r.Job = queue.Job{ID: id, Spec: arr.Spec, Status: queue.Status{State: queue.Cancelled}}
					}
				}
				do(r)
			},
			"restart": func(*rapid.T) { w.restart() },
			"a commit fails": func(rt *rapid.T) {
				j := draws{rt}.run(w, func(j queue.Job) bool { return j.EndedAt.IsZero() })
				ended := w.exit(j.ID, draws{rt}.n("exit", 0, 1))
				lost := w.p.Do(w.now, ended, Submit{Spec: spec()})
				for _, a := range lost.Actions {
					require.Contains(rt, []Do{DoStart, DoSignal}, a.Do)
				}
				w.restart()
				do(ended)
			},
		})
	})
}

// checkRetries looks at what became of runs that are over: those run again whose cause is one to retry on.
func (w *world) checkRetries(t require.TestingT, before map[queue.ID]queue.Job) {
	for id, j := range w.journal {
		was := before[id]
		if !was.State.Active() || !id.Element && j.Spec.Array != nil || j.Attempt != was.Attempt || j.State.Active() {
			continue
		}
		if j.State == queue.Queued && j.Retried == was.Retried && j.Spec.Service == nil {
			require.True(t, was.Again, "%s was not put back", id)
			continue
		}
		if j.Spec.Service != nil {
			told := was.By != "" && !was.Again || was.Retried == queue.AlwaysAgain
			require.Equal(t, told || j.Cause == queue.ByCancel, j.State != queue.Queued, "%s ended by %s of %q", id, j.Cause, j.By)
			continue
		}
		on := j.Spec.RetryOn
		if len(on) == 0 {
			on = []queue.Cause{"exit", "signal", "oom", "xid", "gpu_lost", "lost"}
		}
		well := j.ExitCode != nil && *j.ExitCode == 0 && j.Cause == "exit"
		again := !well && was.Retried < j.Spec.Retries && slices.Contains(on, j.Cause)
		require.Equal(t, again, j.State == queue.Queued, "%s ended by %s, retries %d on %v", id, j.Cause, j.Spec.Retries, on)
	}
}

// check looks at what one Do decided.
func (w *world) check(t require.TestingT, before map[queue.ID]queue.Job, attempts map[string]bool) {
	started := map[queue.ID]bool{}
	var order []queue.ID
	for _, a := range w.last.Actions {
		if a.Do == DoStart {
			key := fmt.Sprintf("%s/%d", a.ID, a.Attempt)
			require.False(t, attempts[key], "a run is started once: %s", key)
			attempts[key], started[a.ID] = true, true
			order = append(order, a.ID)
		}
	}
	tw := newTwin(w, before, started)
	require.Equal(t, tw.start(), order, "what is started")

	active, free := newTwin(w, w.journal, nil).active()
	_, had := newTwin(w, w.journal, started).active()
	require.False(t, free.slots < min(had.slots, 0), "more was started than there is: %v, before %v", free, had)
	holder := map[queue.GPU]queue.ID{}
	for _, j := range active {
		for _, g := range j.GPUs {
			require.NotContains(t, holder, g, "%s has it already", holder[g])
			holder[g] = j.ID
			taken := slices.ContainsFunc(w.limits.GPUs, func(o GPU) bool { return o.GPU == g && len(o.Users) > 0 })
			require.False(t, taken && started[j.ID], "%s got %s, which is taken", j.ID, g.Name())
		}
		if started[j.ID] {
			require.Len(t, j.GPUs, tw.need(j).gpus)
		}
	}
	w.checkArrays(t)
	w.checkRetries(t, before)
	holds, waits := 0, 0
	for _, j := range newTwin(w, w.journal, nil).jobs {
		if j.Spec.Service != nil {
			continue
		}
		if j.State.Active() {
			holds++
		} else if j.State.Waiting() {
			waits++
		}
	}
	running, waiting := w.p.Counts()
	require.Equal(t, []int{holds, waits}, []int{running, waiting})
	wants := slices.ContainsFunc(active, func(j queue.Job) bool { return j.Spec.Request.GPUs != 0 })
	for _, s := range w.p.shapes {
		wants = wants || s.request.GPUs != 0 && len(s.items) > 0
	}
	require.Equal(t, wants, w.p.WantsGPUs())

	other := New(w.limits, 0)
	out, err := other.Load(w.now, w.alive())
	require.NoError(t, err)
	require.Empty(t, out.Changes, "all was decided")
	if killed := slices.ContainsFunc(w.p.active, func(it *item) bool { return it.run.killed }); !killed {
		require.Equal(t, w.last.Wake, out.Wake)
	}
	var ids []queue.ID
	for id, j := range w.journal {
		st, ok := w.p.Status(id)
		require.Equal(t, !j.State.Done(), ok, "%s is %s", id, j.State)
		if ok {
			require.Equal(t, j.Status, st)
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, compareIDs)
	reasons := w.p.Reasons(w.now, ids)
	require.Equal(t, reasons, other.Reasons(w.now, ids))
	tw = newTwin(w, w.journal, nil)
	line := tw.line()
	for i, r := range reasons {
		j := w.journal[ids[i]]
		require.Equal(t, j.State.Waiting(), r.Code != "", "%s is %s", j.ID, j.State)
		if r.Code == WaitsBehind || r.Code == WaitsSlots {
			at := slices.IndexFunc(line, func(l queue.Job) bool {
				return l.ID == j.ID || !j.ID.Element && l.ID.Number == j.ID.Number && tw.rest[l.ID]
			})
			require.Equal(t, at, r.Behind, "%s in %v", j.ID, line)
		}
	}
}

// checkArrays counts the elements of each array.
func (w *world) checkArrays(t require.TestingT) {
	for id, arr := range w.journal {
		if id.Element || arr.Spec.Array == nil {
			continue
		}
		var tally queue.Tally
		own := 0
		for place := range arr.Spec.Array.Len() {
			el, ok := w.journal[id.At(arr.Spec.Array.Index(place))]
			require.Equal(t, ok, has(arr.Begun, place), "%s has begun %v", id, arr.Begun)
			switch {
			case ok:
				own++
				if el.State.Done() {
					*tally.Of(el.State)++
				}
			case !arr.State.Waiting():
				tally.Cancelled++
			}
		}
		require.Equal(t, tally, arr.Tally, "%s", id)
		require.Equal(t, tally.Done() == arr.Spec.Array.Len(), arr.State.Done(), "%s is %s with %v", id, arr.State, tally)
		require.False(t, own == arr.Spec.Array.Len() && arr.State.Waiting(), "%s waits for nothing", id)
	}
}
