package workspace

import (
	"context"
	"maps"
	"time"

	"golang.org/x/sync/errgroup"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/operation"
	"berth/backend/service/store"
	"berth/gpu"
	"berth/gpu/idle"
)

// Background returns ctx for work that nobody asked for: nobody is there to answer a question.
func (w *Workspace) Background(ctx context.Context) context.Context { return w.background(ctx) }

// KeepFigures keeps the last figures of an instance, to be shown while it is stopped.
func (w *Workspace) KeepFigures(ctx context.Context, id string, s *gpu.Summary) error {
	return w.keep(ctx, id, func(rec *store.Instance) { rec.LastFigures = s })
}

// KeepIdle keeps, by instance id, when GPUs were idle. The days are not changed any more.
func (w *Workspace) KeepIdle(ctx context.Context, days map[string]*idle.Day) error {
	var g errgroup.Group // what is queued together is written together
	g.SetLimit(keepParallel)
	for id, d := range days {
		g.Go(func() error { return w.keep(ctx, id, func(rec *store.Instance) { rec.IdleDay = d }) })
	}
	return g.Wait()
}

// keepParallel is how many instances' changes are queued at once where many are to be written.
const keepParallel = 64

// KeepTold keeps for which findings the hook was called.
func (w *Workspace) KeepTold(ctx context.Context, id string, told map[string]time.Time) error {
	return w.keep(ctx, id, func(rec *store.Instance) { rec.Told = told })
}

// maxMute is how long a rule may be muted.
const maxMute = 30 * 24 * time.Hour

// Attend notes what somebody says of a finding of an instance.
func (w *Workspace) Attend(ctx context.Context, name string, f gpu.Finding, q api.AttentionRequest) error {
	mute := time.Duration(q.MuteSeconds * float64(time.Second))
	if !(q.MuteSeconds >= 0 && q.MuteSeconds <= maxMute.Seconds()) {
		return api.Errorf(api.CodeUsage, "a rule is muted for 0 to %.0f seconds, not for %v", maxMute.Seconds(),
			q.MuteSeconds)
	}
	rec, err := w.Record(name)
	if err != nil {
		return err
	}
	return w.persist(ctx, rec.ID, func(e *entry) *store.Change {
		if e == nil {
			return &store.Change{}
		}
		rec := e.rec
		now := w.now().UTC()
		seen, muted := maps.Clone(rec.Acknowledged), maps.Clone(rec.Muted)
		if seen == nil {
			seen = map[string]time.Time{}
		}
		if muted == nil {
			muted = map[string]time.Time{}
		}
		// What is long over is forgotten here, where there is something to write anyway.
		maps.DeleteFunc(seen, func(_ string, since time.Time) bool { return now.Sub(since) > maxMute })
		maps.DeleteFunc(muted, func(_ string, until time.Time) bool { return now.After(until) })
		said := "is looked at again"
		delete(seen, f.ID)
		delete(muted, f.Rule)
		if q.Acknowledge {
			seen[f.ID] = f.Since
			said = "acknowledged"
		}
		if mute > 0 {
			muted[f.Rule] = now.Add(mute)
			said = "muted for " + operation.Brief(mute)
		}
		rec.Acknowledged, rec.Muted = seen, muted
		ev := w.event("attention", "info", &rec, nil, backend.CallerFrom(ctx).Principal, "%s (%s): %s", f.Rule, f.Subject, said)
		return &store.Change{Instances: []store.Instance{rec}, Events: []*api.Event{ev}}
	})
}
