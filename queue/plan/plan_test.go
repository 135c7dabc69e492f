package plan

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/queue"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// world is a planner, with a journal that keeps what it decided.
type world struct {
	t interface {
		require.TestingT
		Helper()
	}
	p       *Planner
	now     time.Time
	limits  Limits
	journal map[queue.ID]queue.Job
	actions []string // those of the last do
	last    Outcome
}

func newWorld(t *testing.T, l Limits) *world {
	return &world{t: t, p: New(l, 0), now: epoch, limits: l, journal: map[queue.ID]queue.Job{}}
}

func (w *world) do(inputs ...Input) []Answer {
	w.t.Helper()
	out := w.p.Do(w.now, inputs...)
	w.took(out)
	require.Len(w.t, out.Answers, len(inputs))
	return out.Answers
}

// took writes down an outcome.
func (w *world) took(out Outcome) {
	w.t.Helper()
	seen := map[queue.ID]bool{}
	for _, c := range out.Changes {
		require.False(w.t, seen[c.ID], "%s is there twice", c.ID)
		seen[c.ID] = true
		j, known := w.journal[c.ID]
		require.Equal(w.t, known || c.ID.Element, c.Spec == nil, "a spec comes with a new job: %s", c.ID)
		if c.Spec != nil {
			j.Spec = *c.Spec
		}
		if c.ID.Element {
			j.Spec = w.journal[c.ID.Array()].Spec
		}
		j.ID, j.Status = c.ID, c.Status
		w.journal[c.ID] = j
	}
	w.last, w.actions = out, nil
	for _, a := range out.Actions {
		s := fmt.Sprintf("%s %s/%d", a.Do, a.ID, a.Attempt)
		if a.Do == DoSignal {
			s = fmt.Sprintf("%s %s %s", a.Signal.Name, a.Signal.Scope, a.ID)
		}
		w.actions = append(w.actions, s)
	}
}

// restart loads the journal into a new planner.
func (w *world) restart() {
	w.t.Helper()
	w.p = New(w.limits, w.p.Last())
	out, err := w.p.Load(w.now, w.alive())
	require.NoError(w.t, err)
	w.took(out)
}

func (w *world) alive() iter.Seq2[queue.Job, error] {
	var jobs []queue.Job
	for _, j := range w.journal {
		if !j.State.Done() {
			jobs = append(jobs, j)
		}
	}
	slices.SortFunc(jobs, func(a, b queue.Job) int {
		x, y := a.ID, b.ID
		switch {
		case x.Number != y.Number:
			return int(x.Number - y.Number)
		case x.Element != y.Element:
			return map[bool]int{true: 1, false: -1}[x.Element]
		}
		return x.Index - y.Index
	})
	return func(yield func(queue.Job, error) bool) {
		for _, j := range jobs {
			if !yield(j, nil) {
				return
			}
		}
	}
}

func (w *world) after(d time.Duration) *world {
	w.now = w.now.Add(d)
	return w
}

// submit asks for a job, which is to be taken.
func (w *world) submit(change ...func(*queue.Spec)) queue.ID {
	w.t.Helper()
	a := w.do(Submit{Spec: spec(change...), Known: w.known()})
	require.NoError(w.t, a[0].Err)
	return a[0].ID
}

func (w *world) known() map[queue.ID]queue.State {
	out := map[queue.ID]queue.State{}
	for id, j := range w.journal {
		if j.State.Done() {
			out[id] = j.State
		}
	}
	return out
}

func spec(change ...func(*queue.Spec)) queue.Spec {
	s := queue.Spec{Argv: []string{"true"}, Workdir: "/"}
	for _, c := range change {
		c(&s)
	}
	return s
}

// ok does one input, which is to be taken.
func (w *world) ok(in Input) {
	w.t.Helper()
	require.NoError(w.t, w.do(in)[0].Err)
}

func (w *world) event(id queue.ID, e queue.Event) Input {
	e.ID, e.Attempt = id, w.journal[id].Attempt
	return Happened{e}
}

func (w *world) started(id queue.ID) Input {
	return w.event(id, queue.Event{Started: &queue.Started{PID: 1, At: w.now, Supervised: true}})
}

func (w *world) exit(id queue.ID, code int, left ...string) Input {
	return w.event(id, queue.Event{Ended: &queue.Ended{At: w.now, Exit: code, Left: left}})
}

// states are those of jobs, as the journal has them.
func (w *world) states(ids ...queue.ID) string {
	var out []string
	for _, id := range ids {
		out = append(out, string(w.journal[id].State))
	}
	return strings.Join(out, " ")
}

func id(n int64) queue.ID { return queue.ID{Number: n} }

func TestAJobRuns(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	a, b := w.submit(), w.submit()
	require.Equal(t, []queue.ID{id(1), id(2)}, []queue.ID{a, b})
	require.Equal(t, "preparing queued", w.states(a, b))
	w.ok(w.started(a))
	require.Equal(t, "running queued", w.states(a, b))
	w.after(time.Minute).ok(w.exit(a, 0))
	require.Equal(t, "succeeded preparing", w.states(a, b))
	require.Equal(t, []string{"start 2/1"}, w.actions)
	j := w.journal[a]
	require.Equal(t, queue.ByExit, j.Cause)
	require.Zero(t, *j.ExitCode)
	require.Equal(t, epoch.Add(time.Minute), j.EndedAt)
	w.ok(w.exit(b, 3))
	require.Equal(t, "failed", w.states(b))
	require.Zero(t, w.last.Wake)
	active, waiting := w.p.Counts()
	require.Zero(t, active+waiting+len(w.p.items)+len(w.p.shapes)+len(w.p.groups))
}

func TestCausesAreRead(t *testing.T) {
	w := newWorld(t, Limits{Slots: 10})
	for _, c := range []struct {
		ended queue.Ended
		want  string
	}{
		{queue.Ended{Exit: 137}, "failed exit 137"},
		{queue.Ended{Exit: -1, Signal: "KILL"}, "failed signal KILL"},
		{queue.Ended{Exit: 127, Failed: "no such file"}, "failed start_failed 127 no such file"},
		{queue.Ended{Exit: -1, Lost: "the machine was restarted"}, "lost lost the machine was restarted"},
		{queue.Ended{Exit: -1}, "lost lost"},
		{queue.Ended{Exit: 137, Signal: "KILL", OOM: "all of it"}, "failed oom 137 KILLall of it"},
		{queue.Ended{Exit: 1, OOM: "all of it"}, "failed oom 1 all of it"},
		{queue.Ended{Exit: 0, OOM: "all of it"}, "succeeded exit 0"},
	} {
		a := w.submit()
		c.ended.At = w.now
		w.ok(w.event(a, queue.Event{Ended: &c.ended}))
		j := w.journal[a]
		got := []string{string(j.State), string(j.Cause)}
		if j.ExitCode != nil {
			got = append(got, fmt.Sprint(*j.ExitCode))
		}
		got = append(got, j.Signal+j.Message)
		require.Equal(t, c.want, strings.TrimSpace(strings.Join(got, " ")))
		if c.ended.Exit == 0 {
			require.Equal(t, []string{"all of it"}, j.Warnings)
		}
	}
}

func TestOrderIsByPriorityThenNumber(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	first := w.submit()
	var ids []queue.ID
	for _, prio := range []int{0, 5, -1, 5, 0} {
		ids = append(ids, w.submit(func(s *queue.Spec) { s.Priority = prio; s.Group = fmt.Sprint("g", prio) }))
	}
	want := []queue.ID{ids[1], ids[3], ids[0], ids[4], ids[2]}
	for _, next := range want {
		w.ok(w.exit(first, 0))
		require.Equal(t, "preparing", w.states(next))
		first = next
	}
}

func TestGroupsHaveLimits(t *testing.T) {
	w := newWorld(t, Limits{Slots: 4, Groups: map[string]int{"io": 1, "none": 0}})
	io := func(s *queue.Spec) { s.Group = "io" }
	a, b, c := w.submit(io), w.submit(io), w.submit()
	none := w.submit(func(s *queue.Spec) { s.Group = "none" })
	require.Equal(t, "preparing queued preparing queued", w.states(a, b, c, none))
	w.ok(w.exit(a, 0))
	require.Equal(t, "preparing", w.states(b))
	w.ok(SetLimits{Limits{Slots: 4}})
	require.Equal(t, "preparing", w.states(none), "the limit is gone")
}

func TestHoldAndRelease(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	a := w.submit(func(s *queue.Spec) { s.Hold = true })
	require.Equal(t, "held", w.states(a))
	w.ok(Release{a})
	require.Equal(t, "preparing", w.states(a))
	require.ErrorAs(t, w.do(Hold{a})[0].Err, new(*queue.StepError))
	b := w.submit()
	w.ok(Hold{b})
	w.ok(w.exit(a, 0))
	require.Equal(t, "held", w.states(b))
	require.ErrorAs(t, w.do(Hold{a})[0].Err, new(*GoneError))
	w.restart()
	w.ok(Release{b})
	require.Equal(t, "preparing", w.states(b))
}

func TestBeginIsWaitedFor(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	at := epoch.Add(time.Hour)
	a := w.submit(func(s *queue.Spec) { s.Begin = at })
	require.Equal(t, at, w.last.Wake)
	w.restart()
	require.Equal(t, at, w.last.Wake)
	w.after(time.Hour - 1).do()
	require.Equal(t, "queued", w.states(a))
	w.after(1).do()
	require.Equal(t, "preparing", w.states(a))
	b := w.submit(func(s *queue.Spec) { s.Begin = at.Add(time.Hour) })
	w.ok(Cancel{b, "ann"})
	require.Zero(t, w.last.Wake, "nothing waits for it")
}

func TestCancel(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	a, b := w.submit(), w.submit()
	w.ok(w.started(a))
	w.ok(Cancel{b, "ann"})
	require.Equal(t, "cancelled", w.states(b))
	require.Equal(t, "ann", w.journal[b].By)
	w.ok(Cancel{a, "ann"})
	require.Equal(t, "stopping", w.states(a))
	require.Equal(t, []string{"TERM leader 1"}, w.actions)
	require.Equal(t, w.now.Add(time.Minute), w.last.Wake)
	w.ok(Cancel{a, "bob"})
	require.Empty(t, w.actions, "once is enough")
	w.after(time.Minute).do()
	require.Equal(t, []string{"KILL all 1"}, w.actions)
	w.after(10 * time.Second).do()
	require.Equal(t, []string{"KILL all 1"}, w.actions, "it is still there")
	w.ok(w.event(a, queue.Event{Ended: &queue.Ended{At: w.now, Exit: -1, Signal: "KILL"}}))
	j := w.journal[a]
	require.Equal(t, queue.Cancelled, j.State)
	require.Equal(t, queue.ByCancel, j.Cause)
	require.Equal(t, "ann KILL", j.By+" "+j.Signal)
}

func TestWhatEndedBeforeItWasToldKeepsItsCause(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	a := w.submit()
	w.ok(w.started(a))
	ended := w.after(time.Second).exit(a, 0)
	w.after(time.Second).ok(Cancel{a, "ann"})
	w.ok(ended)
	require.Equal(t, "succeeded", w.states(a))
	require.Empty(t, w.journal[a].By)
}

// A job that was cancelled is not run again, also if it failed by itself just before, or had ended and left processes.
func TestACancelEndsTheRetries(t *testing.T) {
	w := newWorld(t, Limits{Slots: 2})
	retries := func(s *queue.Spec) { s.Retries = 2 }
	a, b := w.submit(retries), w.submit(retries)
	w.ok(w.started(a))
	w.ok(w.started(b))
	ended := w.after(time.Second).exit(a, 1)
	w.ok(w.exit(b, 1, "sleep"))
	w.after(time.Second).ok(Cancel{a, "ann"})
	w.ok(Cancel{b, "ann"})
	w.restart()
	w.ok(ended)
	w.ok(w.event(b, queue.Event{Left: &queue.Left{}}))
	require.Equal(t, "failed failed", w.states(a, b))
	require.Equal(t, queue.ByExit, w.journal[a].Cause)
	w.ok(Retry{Job: w.journal[a]})
	require.Equal(t, 0, w.journal[a].Retried, "who asks for a run gets its retries")
}

func TestCancelWhileItIsStarted(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	a := w.submit()
	w.ok(Cancel{a, "ann"})
	require.Equal(t, "stopping", w.states(a))
	require.Equal(t, []string{"TERM leader 1"}, w.actions, "it need not be begun")
	w.ok(w.started(a))
	require.Empty(t, w.actions, "it was told")
	w.ok(w.exit(a, 0))
	require.Equal(t, "cancelled", w.states(a))
}

func TestACancelledJobThatNeverBeganIsCancelled(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	a := w.submit(func(s *queue.Spec) { s.Retries = 1 })
	w.ok(Cancel{a, "ann"})
	w.restart()
	require.Equal(t, []string{"adopt 1/1"}, w.actions, "it is not started any more")
	w.after(time.Second).ok(w.event(a, queue.Event{Ended: &queue.Ended{Exit: -1, Lost: "it never began"}}))
	require.Equal(t, "cancelled", w.states(a))
	require.Equal(t, w.now, w.journal[a].EndedAt)
}

func TestTimeoutWithNotice(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	a := w.submit(func(s *queue.Spec) {
		s.Timeout, s.Grace, s.Retries = time.Hour, 5*time.Second, 3
		s.Notice = queue.Notice{Signal: "USR1", Before: time.Minute}
	})
	w.after(time.Minute).ok(w.started(a))
	require.Equal(t, w.now.Add(59*time.Minute), w.last.Wake)
	w.after(59 * time.Minute).do()
	require.Equal(t, []string{"USR1 leader 1"}, w.actions)
	require.Equal(t, w.now.Add(time.Minute), w.last.Wake)
	w.restart()
	w.ok(w.event(a, queue.Event{Started: &queue.Started{At: epoch.Add(time.Minute), Supervised: true}}))
	require.Empty(t, w.actions, "the notice comes once")
	w.after(time.Minute).do()
	require.Equal(t, []string{"TERM leader 1"}, w.actions)
	require.Equal(t, "stopping", w.states(a))
	w.after(5 * time.Second).do()
	require.Contains(t, w.actions, "KILL all 1")
	w.ok(w.exit(a, 0))
	require.Equal(t, "timed_out", w.states(a), "and no retry")
}

func TestPauseStopsTheTimeout(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	a := w.submit(func(s *queue.Spec) { s.Timeout = time.Hour })
	w.ok(w.started(a))
	w.after(30 * time.Minute).ok(Pause{a})
	require.Equal(t, []string{"STOP all 1"}, w.actions)
	require.Zero(t, w.last.Wake)
	w.after(10 * time.Hour).restart()
	require.Zero(t, w.last.Wake)
	w.ok(w.event(a, queue.Event{Started: &queue.Started{At: epoch, Supervised: true}}))
	require.Equal(t, []string{"STOP all 1"}, w.actions, "it may have missed it")
	w.ok(Resume{a})
	require.Equal(t, []string{"CONT all 1"}, w.actions)
	require.Equal(t, w.now.Add(30*time.Minute), w.last.Wake)
	w.restart()
	require.Equal(t, w.now.Add(30*time.Minute), w.last.Wake)
	w.ok(Pause{a})
	w.ok(Cancel{a, ""})
	require.Equal(t, []string{"TERM leader 1", "CONT all 1"}, w.actions)
	require.Error(t, w.do(Resume{a})[0].Err)
}

func TestRetries(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	a := w.submit(func(s *queue.Spec) { s.Retries = 2 })
	b := w.submit(func(s *queue.Spec) { s.After = []queue.Dependency{{ID: a, When: queue.Failure}} })
	w.ok(w.started(a))
	w.ok(w.exit(a, 1))
	require.Equal(t, "queued queued", w.states(a, b))
	require.Equal(t, w.now.Add(5*time.Second), w.last.Wake)
	w.restart()
	require.Equal(t, w.now.Add(5*time.Second), w.last.Wake)
	w.after(5 * time.Second).do()
	require.Equal(t, []string{"start 1/2"}, w.actions)
	w.ok(w.event(a, queue.Event{Ended: &queue.Ended{At: w.now, Exit: -1, Lost: "restarted"}}))
	w.after(10 * time.Second).do()
	require.Equal(t, []string{"start 1/3"}, w.actions)
	stale := queue.Event{ID: a, Attempt: 2, Ended: &queue.Ended{At: w.now}}
	require.ErrorAs(t, w.do(Happened{stale})[0].Err, new(*GoneError))
	w.ok(w.exit(a, 1))
	require.Equal(t, "failed preparing", w.states(a, b))
	require.Equal(t, 3, w.journal[a].Attempt)

	w.ok(Retry{Job: w.journal[a]})
	require.Equal(t, "queued", w.states(a))
	w.ok(w.exit(b, 0))
	require.Equal(t, []string{"start 1/4"}, w.actions)
	w.ok(w.exit(a, 1))
	require.Equal(t, "queued", w.states(a), "who asks for a run gets its retries, too")
	require.Error(t, w.do(Retry{Job: w.journal[a]})[0].Err)
}

func TestRetriesByCause(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	on := func(causes ...queue.Cause) queue.ID {
		return w.submit(func(s *queue.Spec) { s.Retries, s.RetryOn, s.Timeout = 1, causes, time.Hour })
	}
	oom := queue.Ended{Exit: 137, Signal: "KILL", OOM: "all of it"}
	for _, c := range []struct {
		on    []queue.Cause
		ended queue.Ended
		want  string
	}{
		{nil, oom, "queued"},
		{[]queue.Cause{"oom"}, oom, "queued"},
		{[]queue.Cause{"exit", "xid"}, oom, "failed"},
		{[]queue.Cause{"oom"}, queue.Ended{Exit: 1}, "failed"},
		{[]queue.Cause{"oom", "exit"}, queue.Ended{Exit: 1}, "queued"},
		{[]queue.Cause{"exit"}, queue.Ended{Exit: 0, OOM: "of a child"}, "succeeded"},
		{[]queue.Cause{"exit"}, queue.Ended{Exit: -1, Lost: "restarted"}, "lost"},
	} {
		a := on(c.on...)
		c.ended.At = w.now
		w.ok(w.event(a, queue.Event{Ended: &c.ended}))
		require.Equal(t, c.want, w.states(a), "%v %v", c.on, c.ended)
		w.do(Cancel{a, ""})
	}
	for want, causes := range map[string][]queue.Cause{"queued": {"timeout"}, "timed_out": nil} {
		a := on(causes...)
		w.ok(w.started(a))
		w.after(time.Hour).do()
		require.Equal(t, "stopping", w.states(a))
		w.ok(w.event(a, queue.Event{Ended: &queue.Ended{At: w.now, Exit: 143, Signal: "TERM"}}))
		require.Equal(t, want, w.states(a))
		w.do(Cancel{a, ""})
	}
}

func TestAProgramThatIsNotThereIsNotRetried(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	a := w.submit(func(s *queue.Spec) { s.Retries = 2 })
	w.ok(w.event(a, queue.Event{Ended: &queue.Ended{At: w.now, Exit: 127, Failed: "no such file"}}))
	require.Equal(t, "failed", w.states(a))
}

func TestLeftoversHoldTheSlot(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	a, b := w.submit(), w.submit(func(s *queue.Spec) { s.KillLeftovers = true; s.Grace = time.Second })
	w.ok(w.started(a))
	w.ok(w.exit(a, 3, "sleep"))
	require.Equal(t, "stopping queued", w.states(a, b))
	require.Equal(t, []string{"sleep"}, w.journal[a].Left)
	require.Empty(t, w.actions)
	require.Zero(t, w.last.Wake)
	w.restart()
	w.ok(w.event(a, queue.Event{Left: &queue.Left{Names: []string{"sleep", "cat"}}}))
	require.Equal(t, "stopping", w.states(a))
	w.ok(w.event(a, queue.Event{Left: &queue.Left{}}))
	require.Equal(t, "failed preparing", w.states(a, b))
	require.Equal(t, 3, *w.journal[a].ExitCode)

	w.ok(w.exit(b, 0, "sleep"))
	require.Equal(t, []string{"TERM all 2"}, w.actions)
	w.after(time.Second).do()
	require.Equal(t, []string{"KILL all 2"}, w.actions)
	w.ok(w.event(b, queue.Event{Left: &queue.Left{}}))
	require.Equal(t, "succeeded", w.states(b))
}

// A runner that adopts a run tells its end again, with what is left by now.
func TestAnEndThatIsToldAgain(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	a := w.submit()
	w.ok(w.exit(a, 3, "cat", "sleep"))
	w.restart()
	w.ok(w.exit(a, 3, "sleep"))
	require.Equal(t, []string{"sleep"}, w.journal[a].Left)
	w.ok(w.exit(a, 3))
	require.Equal(t, "failed", w.states(a))
}

func TestARunThatIsDelayed(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	a := w.submit()
	full := w.event(a, queue.Event{Delayed: &queue.Delayed{Why: "no space left"}})
	w.ok(full)
	require.Equal(t, "preparing", w.states(a))
	require.Equal(t, "no space left", w.journal[a].Message)
	w.ok(full)
	require.Empty(t, w.last.Changes)
	began := &queue.Started{At: w.now, Supervised: true, Warnings: []string{"no limit"}}
	w.ok(w.event(a, queue.Event{Started: began}))
	require.Equal(t, "running", w.states(a))
	require.Empty(t, w.journal[a].Message)
	require.Equal(t, []string{"no limit"}, w.journal[a].Warnings)
	w.restart()
	w.ok(w.event(a, queue.Event{Started: &queue.Started{At: began.At, Supervised: true}}))
	require.Equal(t, []string{"no limit"}, w.journal[a].Warnings)
}

func TestCancelOfLeftovers(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	a := w.submit()
	w.ok(w.exit(a, 0, "sleep"))
	w.ok(Cancel{a, "ann"})
	require.Equal(t, []string{"TERM all 1"}, w.actions)
	w.after(time.Minute).do()
	require.Equal(t, []string{"KILL all 1"}, w.actions)
	w.ok(w.event(a, queue.Event{Left: &queue.Left{}}))
	require.Equal(t, "succeeded", w.states(a), "its main process had ended")
}

func TestDependencies(t *testing.T) {
	w := newWorld(t, Limits{Slots: 10})
	after := func(when queue.Ending, ids ...queue.ID) func(*queue.Spec) {
		return func(s *queue.Spec) {
			for _, id := range ids {
				s.After = append(s.After, queue.Dependency{ID: id, When: when})
			}
		}
	}
	a, b := w.submit(), w.submit()
	both := w.submit(after(queue.Success, a, b))
	anyOf := w.submit(after(queue.Any, a))
	failure := w.submit(after(queue.Failure, a))
	behind := w.submit(after(queue.Success, failure))
	require.Equal(t, "queued queued queued queued", w.states(both, anyOf, failure, behind))
	w.restart()
	w.ok(w.exit(a, 0))
	require.Equal(t, "queued preparing cancelled cancelled", w.states(both, anyOf, failure, behind))
	require.Equal(t, queue.ByDependency, w.journal[failure].Cause)
	require.Equal(t, "job 1, which it waited for to fail, is succeeded", w.journal[failure].Message)
	require.Equal(t, "job 5, which it waited for to succeed, is cancelled", w.journal[behind].Message)
	require.Equal(t, []queue.Dependency{{ID: b, When: queue.Success}}, w.journal[both].Unmet)
	w.ok(w.exit(b, 0))
	require.Equal(t, "preparing", w.states(both))

	require.Equal(t, "preparing", w.states(w.submit(after(queue.Success, a, b))), "done long ago")
	require.Equal(t, "cancelled", w.states(w.submit(after(queue.Failure, a))), "it can't be met any more")
	require.Equal(t, []queue.ID{a, id(99)}, w.p.Unknown(spec(after(queue.Any, a, both, id(99))).After))
	require.ErrorContains(t, w.do(Submit{Spec: spec(after(queue.Any, id(99)))})[0].Err, "there is no job 99 to wait for")
}

func TestALongChainIsCancelledAtOnce(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	a := w.submit()
	var in []Input
	const n = 3000
	for i := range n {
		in = append(in, Submit{Spec: spec(func(s *queue.Spec) {
			s.After = []queue.Dependency{{ID: id(a.Number + int64(i)), When: queue.Success}}
		})})
	}
	w.do(in...)
	w.ok(w.exit(a, 1))
	require.Len(t, w.last.Changes, n+1)
	require.Equal(t, "cancelled", w.states(id(n+1)))
	require.Empty(t, w.p.items)
	require.Empty(t, w.p.waiters)
}

func TestPutBack(t *testing.T) {
	w := newWorld(t, Limits{Slots: 2})
	a, b := w.submit(func(s *queue.Spec) { s.Retries = 1 }), w.submit()
	w.do(w.started(a), w.started(b), Drain{true})
	require.NoError(t, w.do(PutBack{a, "ann"})[0].Err)
	require.Equal(t, []string{"TERM leader 1"}, w.actions)
	require.ErrorContains(t, w.do(PutBack{b, "ann"})[0].Err, "not started twice")
	w.ok(w.exit(a, 0))
	require.Equal(t, "queued running", w.states(a, b))
	require.Empty(t, w.journal[a].Cause, "nobody cancelled it")
	require.Equal(t, []queue.ID{b}, w.p.Active())
	w.ok(Drain{false})
	require.Equal(t, []string{"start 1/2"}, w.actions)
	w.ok(w.started(a))
	w.ok(PutBack{a, "ann"})
	w.ok(Cancel{a, "bob"})
	w.ok(w.exit(a, 0))
	require.Equal(t, "cancelled", w.states(a))
	require.Equal(t, "bob", w.journal[a].By)
}

func TestMove(t *testing.T) {
	w := newWorld(t, Limits{})
	w.do(Raise{Last: 100}, Raise{Last: 50})
	for range 4 {
		w.submit()
	}
	order := func() string {
		var out []queue.Job
		for _, j := range w.journal {
			out = append(out, j)
		}
		slices.SortFunc(out, func(a, b queue.Job) int { return int(a.Order - b.Order) })
		var s []string
		for _, j := range out {
			s = append(s, fmt.Sprint(j.ID.Number-100))
		}
		return strings.Join(s, "")
	}
	require.Equal(t, "1234", order())
	for _, c := range []struct {
		n    int64
		to   Way
		want string
	}{{3, Up, "1324"}, {3, Up, "3124"}, {3, Up, "3124"}, {3, Down, "1324"}, {4, Top, "4132"}, {4, Down, "1432"}, {1, End, "4321"},
		{3, Top, "3421"}, {1, Down, "3421"}} {
		w.ok(Move{id(100 + c.n), c.to})
		require.Equal(t, c.want, order())
	}
	w.submit()
	require.Equal(t, "34215", order())
	require.Error(t, w.do(Move{id(101), "sideways"})[0].Err)
	w.ok(SetLimits{Limits{Slots: 1}})
	require.Equal(t, []string{"start 103/1"}, w.actions)
	require.Error(t, w.do(Move{id(103), Up})[0].Err)
	w.ok(SetPriority{id(101), 7})
	w.ok(w.exit(id(103), 0))
	require.Equal(t, []string{"start 101/1"}, w.actions)
}

func TestASubmitInOneBatchIsSaidOnce(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	s := Submit{Spec: spec(func(s *queue.Spec) { s.UUID = "u" })}
	a := w.do(s, s, Submit{Spec: queue.Spec{}})
	require.Equal(t, a[0], a[1])
	require.Error(t, a[2].Err)
	require.Len(t, w.last.Changes, 1)
}

func TestLoadRefusesWhatIsBroken(t *testing.T) {
	for _, jobs := range [][]queue.Job{
		{{ID: id(1).At(1), Status: queue.Status{State: queue.Queued}}},
		{{ID: id(1), Status: queue.Status{State: queue.Succeeded}}},
		{{ID: id(0), Status: queue.Status{State: queue.Queued}}},
		{{ID: id(1), Status: queue.Status{State: queue.Queued}}, {ID: id(1), Status: queue.Status{State: queue.Queued}}},
	} {
		_, err := New(Limits{}, 0).Load(epoch, func(yield func(queue.Job, error) bool) {
			for _, j := range jobs {
				if !yield(j, nil) {
					return
				}
			}
		})
		require.Error(t, err)
	}
	cause := errors.New("disk")
	_, err := New(Limits{}, 0).Load(epoch, func(yield func(queue.Job, error) bool) { yield(queue.Job{}, cause) })
	require.ErrorIs(t, err, cause)
}

func TestAMissingDependencyOfADamagedJournalIsNamed(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1})
	a := w.submit()
	b := w.submit(func(s *queue.Spec) { s.After = []queue.Dependency{{ID: a, When: queue.Any}} })
	delete(w.journal, a)
	w.restart()
	require.Equal(t, "cancelled", w.states(b))
	require.Equal(t, "it waits for job 1, of which nothing is known", w.journal[b].Message)
}

func TestRunsAreAdopted(t *testing.T) {
	w := newWorld(t, Limits{Slots: 3})
	a, b, c := w.submit(), w.submit(), w.submit()
	d := w.submit()
	w.do(w.started(b), w.started(c))
	w.ok(Cancel{c, "ann"})
	w.after(45 * time.Second).restart()
	require.Equal(t, []string{"start 1/1", "adopt 2/1", "adopt 3/1"}, w.actions)
	require.Equal(t, "queued", w.states(d), "the slots are taken")
	require.Equal(t, w.now.Add(15*time.Second), w.last.Wake, "the rest of the grace")
	w.ok(w.event(c, queue.Event{Started: &queue.Started{At: epoch}}))
	require.Equal(t, []string{"TERM leader 3"}, w.actions, "it may have missed it")
	require.False(t, w.journal[c].Supervised)
	w.ok(w.event(b, queue.Event{Ended: &queue.Ended{At: w.now, Exit: -1, Lost: "the machine was restarted"}}))
	require.Equal(t, "preparing lost stopping preparing", w.states(a, b, c, d))
}
