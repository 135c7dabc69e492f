package uitest

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"berth/backend/api"
	"berth/backend/base/coalesce"
	"berth/gpu"
	"berth/ui/screen"
)

// measured is the part of a Workspace that has to do with figures, which are fed by hand: no agent measures any.
type measured struct {
	// HistoryErr is what every agent's History fails with.
	HistoryErr error

	ws      *Workspace
	mu      sync.Mutex
	figures map[string]api.FleetFigures // by id, the last ones
	samples map[string]gpu.Sample
	beside  map[string][]gpu.Process
	streams map[*stream]struct{}
	fleets  map[chan api.FleetFigures]struct{}
}

// stream is one WatchFigures under way.
type stream struct {
	id      string
	search  api.ProcessSearch
	pending []gpu.Sample
	waits   bool
	wake    coalesce.Signal
}

func newMeasured(w *Workspace) *measured {
	return &measured{ws: w, figures: map[string]api.FleetFigures{}, samples: map[string]gpu.Sample{},
		beside: map[string][]gpu.Process{}, streams: map[*stream]struct{}{}, fleets: map[chan api.FleetFigures]struct{}{}}
}

// PutBeside sets processes of an instance that its agent sends only to who searches for them.
func (w *measured) PutBeside(id string, list ...gpu.Process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.beside[id] = list
}

// found is a sample with what a stream searches for.
func (w *measured) found(st *stream, s gpu.Sample) gpu.Sample {
	if st.search.Filter == "" {
		return s
	}
	match := st.search.Match()
	s.Processes = slices.Clone(s.Processes)
	for _, p := range w.beside[st.id] {
		if match(&p) {
			s.Processes = append(s.Processes, p)
		}
	}
	return s
}

// PutSample sets what an instance's agent measures now and tells whoever watches.
func (w *measured) PutSample(id string, s gpu.Sample) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.samples[id] = s
	for st := range w.streams {
		if st.id != id {
			continue
		}
		st.pending = append(st.pending, w.found(st, s))
		if st.waits {
			st.waits = false
			w.ws.waits.add(-1)
		}
		st.wake.Send()
	}
}

// PutFigures sets the fleet's line of an instance and tells whoever watches.
func (w *measured) PutFigures(l api.FleetFigures) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.putFigures(l)
}

func (w *measured) putFigures(l api.FleetFigures) {
	w.figures[l.Instance] = l
	w.ws.each(func(f *feed) {
		f.mu.Lock()
		f.figures = append(f.figures, l)
		f.mu.Unlock()
	})
	for ch := range w.fleets {
		select {
		case ch <- l:
		default: // it is far behind, and more comes
		}
	}
}

// Measure has every instance measured anew, as it would be at a time.
func (w *Workspace) Measure(now time.Time) {
	for _, in := range w.real.Instances(asAda(), api.ListOptions{}) {
		l, s := FiguresOf(in, now)
		if l != nil {
			w.PutFigures(*l)
		}
		if s != nil {
			w.PutSample(in.ID, *s)
		}
	}
}

// WatchFleet implements screen.Workspace.
func (w *measured) WatchFleet(ctx context.Context, _ time.Duration, each func(api.FleetFigures) error) error {
	ch := make(chan api.FleetFigures, 1<<14)
	w.mu.Lock()
	for _, l := range w.figures {
		ch <- l
	}
	w.fleets[ch] = struct{}{}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.fleets, ch)
		w.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case l := <-ch:
			if err := each(l); err != nil {
				return err
			}
		}
	}
}

// Attend implements screen.Workspace: the service keeps what is said, and the line that is fed shows it from now on.
func (w *measured) Attend(ctx context.Context, name string, r api.AttentionRequest) error {
	w.ws.call("attend %s %s ack=%t mute=%.0f", name, r.Finding, r.Acknowledge, r.MuteSeconds)
	rec, err := w.ws.real.Record(name)
	if err != nil {
		return err
	}
	w.mu.Lock()
	l := w.figures[rec.ID]
	w.mu.Unlock()
	i := slices.IndexFunc(l.Attention, func(a api.Attention) bool { return a.ID == r.Finding })
	if i < 0 {
		return api.Errorf(api.CodeNotFound, "nothing is found of %s that is called %q", rec.Name, r.Finding)
	}
	if err := w.ws.real.Attend(w.ws.ctx(ctx), rec.ID, l.Attention[i].Finding, r); err != nil {
		return err
	}
	if rec, err = w.ws.real.Record(rec.ID); err != nil {
		return err
	}
	l.Attention = slices.Clone(l.Attention)
	a := &l.Attention[i]
	_, a.Acknowledged = rec.Acknowledged[a.ID]
	a.MutedUntil = nil
	if until, ok := rec.Muted[a.Rule]; ok {
		a.MutedUntil = &until
	}
	w.PutFigures(l)
	return nil
}

// agent is a simulated one.
type agent struct {
	w   *Workspace
	ref string
}

// AgentOf returns the agent of an instance.
func (w *Workspace) AgentOf(ref string) screen.Agent { return agent{w, ref} }

// WatchFigures implements screen.Agent.
func (a agent) WatchFigures(ctx context.Context, _ time.Duration, search api.ProcessSearch,
	each func(gpu.Sample) error) error {
	w := a.w.measured
	in, err := a.w.real.Instance(asAda(), a.ref)
	if err == nil && in.State != api.StateRunning {
		err = api.Errorf(api.CodeUnreachable, "%s is %s: its agent can't be reached", in.Name,
			in.State).WithHint("berth start %s", in.Name)
	}
	if err != nil {
		return err
	}
	w.mu.Lock()
	st := &stream{id: in.ID, search: search, wake: coalesce.NewSignal()}
	if s, ok := w.samples[in.ID]; ok {
		st.pending = append(st.pending, w.found(st, s))
	}
	w.streams[st] = struct{}{}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.streams, st)
		if st.waits {
			w.ws.waits.add(-1)
		}
		w.mu.Unlock()
	}()
	for {
		w.mu.Lock()
		p := st.pending
		st.pending = nil
		if len(p) == 0 && !st.waits {
			st.waits = true
			w.ws.waits.add(1)
		}
		w.mu.Unlock()
		for _, s := range p {
			if err := each(s); err != nil {
				return err
			}
		}
		if len(p) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-st.wake:
		}
	}
}

// History implements screen.Agent: waves with a gap of an hour, and one point in a hundred missing.
func (a agent) History(_ context.Context, o api.HistoryOptions) ([]gpu.Series, error) {
	w := a.w
	w.call("history %s %v %s", a.ref, o.Metrics, o.Subject)
	if w.HistoryErr != nil {
		return nil, w.HistoryErr
	}
	until := w.clock()
	span := until.Sub(o.Since)
	step := time.Minute
	switch {
	case span <= 16*time.Minute:
		step = time.Second
	case span <= 7*time.Hour:
		step = 10 * time.Second
	}
	step = max(step, (span / time.Duration(max(o.Points, 100))).Truncate(step))
	var out []gpu.Series
	for k, m := range o.Metrics {
		s := gpu.Series{Metric: m, Subject: o.Subject, Step: step.Seconds()}
		for t := o.Since.Truncate(step); t.Before(until); t = t.Add(step) {
			if ago := until.Sub(t); ago > span/2 && ago < span/2+span/12 {
				continue
			}
			x := float64(t.Unix()) / span.Seconds()
			v := 55 + 40*math.Sin(13*x+float64(k))*math.Cos(5*x)
			s.Points = append(s.Points, gpu.Point{At: t, Mean: scaled(m, v), Max: scaled(m, min(100, v+8*(1+math.Sin(91*x))))})
		}
		out = append(out, s)
	}
	return out, nil
}

// scaled turns a share of 0 to 100 into a plausible figure of a metric.
func scaled(metric string, v float64) float64 {
	switch {
	case v < 0:
		v = 0
	}
	switch {
	case hasSuffix(metric, "_bytes"):
		return v / 100 * (38 << 30)
	case hasSuffix(metric, "_per_second"):
		return v / 100 * (900 << 20)
	case hasSuffix(metric, "_watts"):
		return 60 + v*3.3
	case hasSuffix(metric, "_celsius"):
		return 30 + v/2
	case hasSuffix(metric, "_mhz"):
		return 210 + v*12
	}
	return v
}

func hasSuffix(s, end string) bool { return len(s) >= len(end) && s[len(s)-len(end):] == end }

// Info implements screen.Agent: as the service knows it.
func (a agent) Info(context.Context) (api.AgentInfo, error) {
	in, err := a.w.real.Instance(asAda(), a.ref)
	if err != nil || in.Agent == nil {
		return api.AgentInfo{}, err
	}
	return api.AgentInfo{Version: in.Agent.Version, Jobs: in.Agent.Jobs}, nil
}

// Departure implements screen.Agent: a terminal ends, and another laptop uses the machine.
func (a agent) Departure(context.Context) (api.Departure, error) {
	a.w.call("departure %s", a.ref)
	return api.Departure{Ends: []api.Terminal{{ID: "3", Command: "bash", Attached: 1}},
		Others: []api.HomeUse{{Home: api.Home{ID: "1", Name: "ada@tower"}, SeenAt: a.w.clock()}}}, nil
}

// SignalProcess implements screen.Agent.
func (a agent) SignalProcess(_ context.Context, pid int, r api.SignalRequest) error {
	w := a.w
	w.call("signal %s %d %s other=%t", a.ref, pid, r.Signal, r.Other)
	in, err := w.real.Instance(asAda(), a.ref)
	if err != nil {
		return err
	}
	w.measured.mu.Lock()
	defer w.measured.mu.Unlock()
	for _, p := range w.samples[in.ID].Processes {
		if p.PID != pid {
			continue
		}
		switch {
		case pid == 1:
			return api.Errorf(api.CodeRefused, "process 1 is never signalled")
		case p.User != in.User && !r.Other:
			return api.Errorf(api.CodeRefused, "process %d is %s's", pid, p.User)
		}
		return nil
	}
	return api.Errorf(api.CodeNotFound, "there is no process %d any more", pid)
}
