package data

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"berth/backend/api"
	"berth/gpu"
)

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

func at() time.Time { return noon }

func line(id string, gpus ...gpu.GPUSummary) api.FleetFigures {
	return api.FleetFigures{Instance: id, Summary: &gpu.Summary{At: noon, GPUs: gpus}}
}

func pct(v float64) *float64 { return &v }

// A line leaves out names that have not changed; they are known all the same, however lines are gathered.
func TestNamesOfGPUsAreKept(t *testing.T) {
	f := NewFigureFeed(nil, nil, at)
	s := NewStore()
	take := func() {
		d, ok := f.Take()
		require.True(t, ok)
		s.ApplyFigures(d, noon)
	}
	f.Add(line("a", gpu.GPUSummary{Name: "A100"}, gpu.GPUSummary{Index: 1, Name: "A100"}))
	f.Add(line("a", gpu.GPUSummary{}, gpu.GPUSummary{Index: 1, Name: "H100"}))
	take()
	require.Equal(t, "A100", s.Figures("a").GPUs[0].Name)
	require.Equal(t, "H100", s.Figures("a").GPUs[1].Name)
	later := line("a", gpu.GPUSummary{Index: 1}, gpu.GPUSummary{})
	f.Add(later)
	take()
	require.Equal(t, "H100", s.Figures("a").GPUs[0].Name)
	require.Equal(t, "A100", s.Figures("a").GPUs[1].Name)
	require.Empty(t, later.Summary.GPUs[0].Name, "the line itself is not changed")
	_, ok := f.Take()
	require.False(t, ok)
}

// Silence keeps the last figures, with their time; what comes later ends it.
func TestSilence(t *testing.T) {
	s := NewStore()
	s.Apply(Delta{Changed: []*api.Instance{{ID: "a", State: api.StateRunning}}})
	now := noon
	f := NewFigureFeed(nil, nil, func() time.Time { return now })
	apply := func(l api.FleetFigures) *Figures {
		f.Add(l)
		d, _ := f.Take()
		s.ApplyFigures(d, now)
		return s.Figures("a")
	}
	require.Nil(t, s.Figures("a"))
	x := apply(line("a", gpu.GPUSummary{Utilization: pct(90)}))
	require.True(t, s.Live(s.Row("a"), x))
	require.Equal(t, noon, x.Seen())
	now = noon.Add(time.Hour)
	since := noon.Add(time.Minute)
	x = apply(api.FleetFigures{Instance: "a", Silent: &since, Why: "no answer"})
	require.False(t, s.Live(s.Row("a"), x))
	require.Equal(t, 90.0, *x.GPUs[0].Utilization)
	require.Equal(t, noon, x.Seen())
	require.Equal(t, "no answer", x.Why)
	x = apply(line("a", gpu.GPUSummary{Utilization: pct(10)}))
	require.True(t, s.Live(s.Row("a"), x))
	require.Equal(t, noon, x.Seen(), "it was old when it came")
	s.Apply(Delta{Removed: []string{"a"}})
	require.Nil(t, s.Figures("a"))
	// Of one that is silent from the start nothing is known.
	x = apply(api.FleetFigures{Instance: "a", Silent: &since})
	require.False(t, x.Known)
	require.True(t, x.Seen().IsZero())
}

func TestFigureTotals(t *testing.T) {
	four, idleSince, yesterday := 4.0, noon.Add(-3*time.Hour), noon.Add(-30*time.Hour)
	s := NewStore()
	require.Zero(t, s.FigureTotals(noon))
	run := func(id string) *api.Instance {
		return &api.Instance{ID: id, State: api.StateRunning, RunningUSDPerHour: &four}
	}
	stopped := run("stopped")
	stopped.State = api.StateStopped
	unpriced := run("unpriced")
	unpriced.RunningUSDPerHour = nil
	s.Apply(Delta{Changed: []*api.Instance{run("half"), run("idle"), run("long"), run("silent"), stopped, unpriced}})
	one := func(u *float64, w *float64, e string) gpu.GPUSummary {
		return gpu.GPUSummary{Utilization: u, Power: w, Error: e}
	}
	add := func(id string, since *time.Time, att []api.Attention, g ...gpu.GPUSummary) FigureLine {
		l := FigureLine{FleetFigures: line(id, g...), Received: noon}
		l.Summary.GPUIdleSince, l.Attention = since, att
		return l
	}
	muted := noon.Add(time.Hour)
	silent := add("silent", nil, []api.Attention{{Finding: gpu.Finding{ID: "s", Severity: "warning"}}},
		one(pct(50), pct(100), ""))
	silent.Silent = &idleSince
	silent.IdleToday = &api.IdleToday{USD: pct(2), Why: "its agent is silent"}
	wasted := add("stopped", nil, nil, one(pct(99), pct(99), ""))
	wasted.IdleToday = &api.IdleToday{USD: pct(8), SumUSD: pct(5)} // another instance of its host counts the rest
	half := add("unknown to us", nil, nil, one(pct(99), pct(99), ""))
	half.IdleToday = &api.IdleToday{USD: pct(1000)}
	free := add("unpriced", &idleSince, nil, one(pct(0), nil, ""))
	free.IdleToday = &api.IdleToday{GPUSeconds: 3600, Why: "no price of it is known"}
	s.ApplyFigures(FigureDelta{Lines: []FigureLine{
		add("half", nil, []api.Attention{{Finding: gpu.Finding{ID: "x", Severity: "critical"}},
			{Finding: gpu.Finding{ID: "y", Severity: "critical"}, Acknowledged: true},
			{Finding: gpu.Finding{ID: "z", Severity: "info"}, MutedUntil: &muted}},
			one(pct(90), pct(300), ""), one(pct(1), pct(50), ""), one(nil, nil, "lost"), one(nil, pct(70), "")),
		add("idle", &idleSince, nil, one(pct(0), nil, "")),
		add("long", &yesterday, nil, one(pct(0), nil, "")),
		silent,
		wasted, free, half,
	}}, noon)
	require.Equal(t, FigureTotals{Any: true, Busy: 1, Idle: 4, Lost: 1, Power: 420, PowerKnown: true, IdlePerHour: 1 + 4 +
		4, IdleToday: 2 + 5, IdleUnsure: 2, IdleKnown: true, Critical: 1, Warning: 1}, s.FigureTotals(noon))
}

// A critical finding rings once: not where it was there before, not while it lasts, again after it went.
func TestAlarms(t *testing.T) {
	s := NewStore()
	apply := func(att ...api.Attention) []Alarm {
		return s.ApplyFigures(FigureDelta{Lines: []FigureLine{{FleetFigures: api.FleetFigures{Instance: "a",
			Summary: &gpu.Summary{At: noon}, Attention: att}, Received: noon}}}, noon)
	}
	f := func(id, severity string) api.Attention {
		return api.Attention{Finding: gpu.Finding{ID: id, Severity: severity}}
	}
	require.Empty(t, apply(f("old", "critical")))
	require.Empty(t, apply(f("old", "critical"), f("w", "warning")))
	require.Len(t, apply(f("old", "critical"), f("w", "critical")), 1, "it became worse")
	require.Empty(t, apply(f("old", "critical"), f("w", "critical")))
	require.Empty(t, apply())
	require.Empty(t, apply(f("old", "critical")), "the line was down; it is the one that was told")
	require.Empty(t, apply())
	again := f("old", "critical")
	again.Since = noon
	require.Len(t, apply(again), 1, "it went, and came again")
	known := f("other", "critical")
	known.Acknowledged = true
	require.Empty(t, apply(f("old", "critical"), known))
}

func TestAttended(t *testing.T) {
	s := NewStore()
	s.ApplyFigures(FigureDelta{Lines: []FigureLine{{FleetFigures: api.FleetFigures{Instance: "a",
		Attention: []api.Attention{{Finding: gpu.Finding{ID: "x", Severity: "critical"}}}}}}}, noon)
	require.Equal(t, 3, s.Figures("a").Worst(noon))
	s.Attended("a", api.AttentionRequest{Finding: "x", Acknowledge: true}, noon)
	require.Zero(t, s.Figures("a").Worst(noon))
	s.Attended("a", api.AttentionRequest{Finding: "x"}, noon)
	require.Len(t, s.Figures("a").Active(noon), 1)
	s.Attended("a", api.AttentionRequest{Finding: "x", MuteSeconds: 60}, noon)
	require.Zero(t, s.Figures("a").Worst(noon))
	require.Equal(t, 3, s.Figures("a").Worst(noon.Add(time.Minute)))
	s.Attended("nobody", api.AttentionRequest{}, noon)
}

// What several instances find of the host that they share counts once, and is said once.
func TestFindingsOfOneHost(t *testing.T) {
	s := NewStore()
	line := func(id, host, severity string, since time.Time) FigureLine {
		found := api.Attention{Finding: gpu.Finding{ID: "disk-full:/", Severity: severity, Since: since}, Host: host}
		return FigureLine{FleetFigures: api.FleetFigures{Instance: id, Summary: &gpu.Summary{At: noon},
			Attention: []api.Attention{found}}, Received: noon}
	}
	var rows []*api.Instance
	for _, id := range []string{"a", "b", "far"} {
		rows = append(rows, &api.Instance{ID: id, Name: id, State: api.StateRunning})
	}
	for _, in := range rows {
		s.rows[in.ID] = &Row{Instance: *in}
	}
	for _, id := range []string{"a", "b", "far"} {
		s.ApplyFigures(FigureDelta{Lines: []FigureLine{{FleetFigures: api.FleetFigures{Instance: id}}}}, noon)
	}
	alarms := 0
	for i, l := range []FigureLine{line("a", "here", "critical", noon), line("b", "here", "critical", noon.Add(time.Second)),
		line("far", "", "critical", noon)} {
		got := s.ApplyFigures(FigureDelta{Lines: []FigureLine{l}}, noon)
		alarms += len(got)
		require.Equal(t, []int{1, 1, 2}[i], alarms)
	}
	require.Equal(t, 2, s.FigureTotals(noon).Critical)
	s.Attended("b", api.AttentionRequest{Finding: "disk-full:/", Acknowledge: true}, noon)
	require.True(t, s.Figures("a").Attention[0].Acknowledged)
	require.False(t, s.Figures("far").Attention[0].Acknowledged)
	require.Equal(t, 1, s.FigureTotals(noon).Critical)
}

// However lines are cut into deltas, the store ends with the last of each instance.
func TestFigureDeltasLoseNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, s := NewFigureFeed(nil, nil, at), NewStore()
		want := map[string]float64{}
		silent := map[string]bool{}
		for i := range rapid.IntRange(1, 60).Draw(t, "lines") {
			id := fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "id"))
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				if d, ok := f.Take(); ok {
					s.ApplyFigures(d, noon)
				}
			case 1:
				f.Add(api.FleetFigures{Instance: id, Silent: &noon})
				silent[id] = true
			default:
				l := line(id)
				l.Summary.CPU = pct(float64(i))
				f.Add(l)
				want[id], silent[id] = float64(i), false
			}
		}
		if d, ok := f.Take(); ok {
			s.ApplyFigures(d, noon)
		}
		for id, quiet := range silent {
			x := s.Figures(id)
			require.Equal(t, quiet, x.Silent != nil)
			if v, ok := want[id]; ok {
				require.Equal(t, v, *x.CPU)
				require.Equal(t, noon, x.Received)
			} else {
				require.False(t, x.Known)
			}
		}
	})
}

// fleets is a FigureWatcher whose streams are given by the test.
type fleets struct {
	mu    sync.Mutex
	n     int
	every []time.Duration
	f     func(n int, ctx context.Context, each func(api.FleetFigures) error) error
}

func (w *fleets) WatchFleet(ctx context.Context, every time.Duration, each func(api.FleetFigures) error) error {
	w.mu.Lock()
	n := w.n
	w.n++
	w.every = append(w.every, every)
	w.mu.Unlock()
	return w.f(n, ctx, each)
}

func (w *fleets) paces() []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]time.Duration(nil), w.every...)
}

// While nobody looks the feed asks for less, and for all again when somebody does; a stream that ends is
// begun again, and said to be down meanwhile.
func TestTheFeedOfFigures(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	w := &fleets{f: func(n int, ctx context.Context, each func(api.FleetFigures) error) error {
		if n == 0 {
			return errors.New("gone")
		}
		_ = each(line(fmt.Sprint(n)))
		<-ctx.Done()
		return ctx.Err()
	}}
	deltas := make(chan FigureDelta, 100)
	f := NewFigureFeed(w, func(d FigureDelta) { deltas <- d }, time.Now)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f.Run(ctx)
	}()
	next := func() FigureDelta {
		select {
		case d := <-deltas:
			return d
		case <-ctx.Done():
			t.Fatal("no delta comes")
			return FigureDelta{}
		}
	}
	d := next()
	if d.Err != nil {
		require.EqualError(t, d.Err, "gone")
		d = next()
	}
	require.NoError(t, d.Err)
	require.Equal(t, "1", d.Lines[0].Instance)
	f.SetBlurred(true)
	f.SetBlurred(true)
	require.Equal(t, "2", next().Lines[0].Instance)
	f.SetBlurred(false)
	require.Equal(t, "3", next().Lines[0].Instance)
	cancel()
	<-ended
	require.Equal(t, []time.Duration{figurePace, figurePace, blurredFigurePace, figurePace}, w.paces())
}
