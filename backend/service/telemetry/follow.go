package telemetry

import (
	"context"
	"errors"
	"maps"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/base/coalesce"
	"berth/gpu"
)

// host is what is known of one instance's figures. Its fields are guarded by Hub.mu.
type host struct {
	in     api.Instance
	last   *gpu.Summary
	silent *time.Time
	why    string
	here   bool // its agent runs on this very host, as those of other instances may
	found  []api.Attention
	told   map[string]time.Time // findings that the hook is called for, with when each began
	kept   map[string]time.Time // those of them for which it was called
	stop   context.CancelFunc   // of its following; nil: it is not followed
	again  coalesce.Signal      // its line has come up
	clockness
	idleness
}

func (h *Hub) newHost() *host {
	x := &host{again: coalesce.NewSignal()}
	x.newDay(h.today)
	return x
}

func (h *Hub) figures(x *host) api.FleetFigures {
	return api.FleetFigures{Instance: x.in.ID, Summary: x.last, Silent: x.silent, Why: x.why, Attention: x.found,
		IdleToday: h.idleToday(x)}
}

// unheard says that the figures are those of then until the agent is heard again.
func (x *host) unheard(now time.Time) {
	if x.last != nil {
		now = now.UTC()
		x.silent, x.why = &now, "its agent has not been heard yet"
	}
	x.quiet()
}

// How long is waited before an agent that is lost is asked again.
const (
	firstWait = time.Second
	lastWait  = 30 * time.Second
	// futileWait is for instances on which no agent can run, and for those that need a person to sign in: to
	// knock again and again would lock the user out.
	futileWait = 5 * time.Minute
)

// usable reports whether an instance's agent is there to be asked.
func usable(s api.State) bool {
	return s == api.StateRunning || s == api.StateSetupFailed || s == api.StateSettingUp
}

// follow follows every instance that runs until ctx ends.
func (h *Hub) follow(ctx context.Context) {
	sub, all := h.o.Workspace.Subscribe()
	defer sub.Close()
	defer h.unfollow(ctx)
	h.wg.Go(func() { h.keepDay(ctx) })
	for i := range all {
		h.see(ctx, &all[i])
	}
	for {
		changes := sub.Next(ctx)
		if changes == nil {
			return
		}
		for _, c := range changes {
			switch {
			case c.Removed != "":
				h.gone(c.Removed)
			case c.Instance != nil:
				h.see(ctx, c.Instance)
			}
		}
	}
}

// see takes note of an instance as it is now.
func (h *Hub) see(ctx context.Context, in *api.Instance) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.roll()
	x := h.hosts[in.ID]
	if x == nil {
		x = h.newHost()
		if rec, err := h.o.Workspace.Record(in.ID); err == nil {
			x.last, x.told, x.kept = rec.LastFigures, maps.Clone(rec.Told), maps.Clone(rec.Told)
			if d := rec.IdleDay; d != nil && d.Same(h.today) {
				x.day = d.Clone()
			}
		}
		h.hosts[in.ID] = x
	}
	x.counted = false // its price or its state may be another
	news := x.in.State != in.State || x.in.ID == ""
	x.in = *in
	if x.silent != nil && in.Agent != nil && in.Agent.State == "ready" { // its line is up, so it may be heard
		x.again.Send()
	}
	switch {
	case usable(in.State) && x.stop == nil:
		hctx, cancel := context.WithCancel(ctx)
		x.stop = cancel
		x.unheard(h.o.Now())
		news = true
		h.wg.Go(func() {
			defer cancel()
			h.followOne(hctx, in.ID, x.again)
		})
		heard := coalesce.NewSignal()
		x.heard = heard
		h.wg.Go(func() { h.followIdle(hctx, in.ID, heard) })
	case !usable(in.State) && x.stop != nil:
		x.stop()
		x.stop = nil
		x.ended()
		x.silent, x.why = nil, ""
		x.quiet()
		h.keepIdle(ctx, x)
		if last := x.last; last != nil {
			h.wg.Go(func() {
				if err := h.o.Workspace.KeepFigures(ctx, in.ID, last); err != nil && ctx.Err() == nil {
					h.o.Log.Warn("keeping the last figures", "instance", in.Name, "error", err)
				}
			})
		}
	}
	if news {
		h.find(x)
		h.publish(x)
	}
}

// futile reports whether trying again soon can't help.
func futile(err error) bool {
	switch api.AsError(err).Code {
	case api.CodeAuth, api.CodeNoAnswer, api.CodeForbidden, api.CodeRefused, api.CodeUnsupported:
		return true
	}
	return errors.As(err, new(*backend.AgentUnavailable))
}

func (h *Hub) gone(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if x := h.hosts[id]; x != nil {
		if x.stop != nil {
			x.stop()
		}
		delete(h.hosts, id)
	}
}

// unfollow ends the following of all hosts; what is known of them stays.
func (h *Hub) unfollow(ctx context.Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []*host
	for _, x := range h.hosts {
		if x.stop != nil {
			x.stop()
			x.stop = nil
			x.quiet()
			all = append(all, x)
		}
	}
	h.keepIdle(ctx, all...)
}

// followOne follows one instance's agent until ctx ends, whatever becomes of the line; again ends a pause.
func (h *Hub) followOne(ctx context.Context, id string, again <-chan struct{}) {
	wait := firstWait
	for ctx.Err() == nil {
		began := h.o.Now()
		err := h.stream(ctx, id)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			h.silence(ctx, id, err)
		}
		switch {
		case err == nil: // the pace is another
			wait = 0
		case futile(err):
			wait = futileWait
		case h.o.Now().Sub(began) > time.Minute:
			wait = firstWait
		}
		select {
		case <-ctx.Done():
			return
		case <-again:
			wait = firstWait
			continue
		case <-time.After(wait):
		}
		wait = min(max(2*wait, firstWait), lastWait)
	}
}

// errPace ends a stream whose pace is to be another.
var errPace = errors.New("another pace")

// stream takes the summaries of one instance until its line breaks (the error says why) or the pace changes.
func (h *Hub) stream(ctx context.Context, id string) error {
	rec, err := h.o.Workspace.Record(id)
	if err != nil {
		return err
	}
	if err := h.o.Workspace.May(ctx, api.ActionAccess, &rec.Instance); err != nil {
		return err
	}
	h.mu.Lock()
	pace, changed := h.pace, h.changed
	h.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(silence+3*pace, func() {
		cancel(api.Errorf(api.CodeUnreachable, "the agent of %s has said nothing for %s", rec.Name, silence+3*pace))
	})
	defer quiet.Stop()
	stopped := make(chan struct{})
	defer close(stopped)
	h.wg.Go(func() {
		select {
		case <-changed:
			cancel(errPace)
		case <-stopped:
		}
	})
	client := h.o.Workspace.AgentClient(rec)
	defer client.Close()
	_, ahead, err := client.InfoAndClock(ctx)
	if err == nil {
		h.clock(id, ahead)
	}
	if err == nil && h.o.Jobs != nil {
		h.wg.Go(func() { h.followJobs(ctx, id, client, true) })
	}
	// One that answers, and does not say what time it is, may have figures; another is not knocked at twice.
	if err == nil || !futile(err) && api.AsError(err).Code != api.CodeUnreachable {
		err = h.lines(ctx, id, client, pace, func() { quiet.Reset(silence + 3*pace) })
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if errors.Is(err, errPace) {
		return nil
	}
	if err == nil {
		err = api.Errorf(api.CodeUnreachable, "the agent of %s ended; it starts again by itself", rec.Name)
	}
	return err
}

// lines takes in the lines of an instance's figures; heard is called for each. A clock that was set meanwhile is
// measured again.
func (h *Hub) lines(ctx context.Context, id string, client *api.AgentClient, pace time.Duration, heard func()) error {
	return client.WatchSummary(ctx, pace, func(s gpu.Summary) error {
		heard()
		if !h.take(ctx, id, &s) {
			return nil
		}
		_, ahead, err := client.InfoAndClock(ctx)
		if err == nil {
			h.clock(id, ahead)
		}
		return err
	})
}

// silence is how long an agent may say nothing beyond three intervals before its line is given up.
const silence = 5 * time.Second

// take merges a summary: what stays as it was (the names of GPUs) an agent says only at first.
func (h *Hub) take(ctx context.Context, id string, s *gpu.Summary) (moved bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	x := h.hosts[id]
	if x == nil || ctx.Err() != nil {
		return false
	}
	if x.last != nil {
		s.GPUs = gpu.KeepNames(s.GPUs, x.last.GPUs)
	}
	h.roll()
	x.noteIdle(s, h.o.Now())
	x.last, x.silent, x.why = s, nil, ""
	h.find(x)
	h.publish(x)
	return x.clockMoved(s.At.Sub(h.o.Now()))
}

// silence notes that an instance's agent can't be heard.
func (h *Hub) silence(ctx context.Context, id string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	x := h.hosts[id]
	if x == nil || ctx.Err() != nil {
		return
	}
	if x.silent == nil {
		t := h.o.Now().UTC()
		x.silent = &t
		x.quiet()
		h.keepIdle(ctx, x)
	}
	x.why = api.AsError(err).Message
	h.find(x)
	h.publish(x)
}
