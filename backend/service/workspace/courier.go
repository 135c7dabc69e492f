package workspace

import (
	"context"
	"errors"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/base/coalesce"
	"berth/backend/service/store"
)

// A courier hands over the letters for one instance, oldest first, once that runs. There is one while letters wait.
//
// Each is handed over once, wherever the daemon is killed: that it is offered is stored before its agent is asked. That
// is asked again until it answers, and answers a UUID that it knows with the first one's job. Then the letter goes.

const (
	// lookEvery is how often a provider is asked for an instance that letters wait for: it may be started elsewhere.
	lookEvery = time.Minute
	// handLimit is how long one hand-over may take, and handFirst and handLast the pauses after one that failed.
	handLimit = time.Minute
	handFirst = time.Second
	handLast  = time.Minute
)

// The fault points of the outbox.
const (
	pointSubmit  = "outbox.submit.before"
	pointParcel  = "outbox.submit.parcel"
	pointKept    = "outbox.submit.kept"
	pointBegin   = "outbox.handover.before"
	pointBrought = "outbox.handover.brought"
	pointOffered = "outbox.handover.offered"
	pointTaken   = "outbox.handover.taken"
	pointDone    = "outbox.handover.done"
)

// OutboxFaultPoints lists the points at which Options.Fault is called on a job's way through the outbox, in order.
func OutboxFaultPoints() []string {
	return []string{pointParcel, pointSubmit, pointKept, pointBegin, pointBrought, pointOffered, pointTaken, pointDone}
}

// stir wakes the courier, if there is one. w.mu must be held.
func (p *postbox) stir() {
	if p.carried {
		p.wake.Send()
	}
}

// kick has the letters for an instance seen to, if some wait.
func (o Outbox) kick(id string) {
	w := o.w
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.entries[id]
	if e == nil || w.operations.Context().Err() != nil || e.post.waiting() == 0 {
		return
	}
	if e.post.carried {
		e.post.wake.Send()
		return
	}
	e.post.carried, e.post.wake = true, coalesce.NewSignal()
	wake := e.post.wake
	w.couriers.Go(func() { // it ends with the last letter, or with the operations
		if err := w.guard("the outbox", func() error { return o.carry(w.operations.Context(), id, wake) }); err != nil {
			w.log.Info("jobs that wait for an instance are left", "instance", id, "error", err)
		}
		o.sweep() // letters go with their instance
	})
}

// close waits for the couriers. The operations must have ended.
func (o Outbox) close() {
	o.w.mu.Lock()
	//lint:ignore SA2001 no other one begins after this: who takes it sees that the operations have ended
	o.w.mu.Unlock()
	o.w.couriers.Wait()
}

// carry is a courier.
func (o Outbox) carry(ctx context.Context, id string, wake coalesce.Signal) error {
	pause := handFirst
	for {
		rec, uuid := o.first(id)
		wait := lookEvery
		switch {
		case uuid == "":
			return nil
		case handed(rec.State):
			if err := o.hand(ctx, &rec, uuid); err == nil {
				pause = handFirst
				continue
			}
			wait, pause = pause, min(2*pause, handLast)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-wake:
		case <-time.After(wait):
			if !handed(rec.State) {
				if err := o.w.observe(ctx, id, nil, false); err != nil {
					o.w.log.Info("looking whether an instance runs that jobs wait for", "instance", rec.Name, "error", err)
				}
			}
		}
	}
}

// handed reports whether jobs are handed over to an instance in this state.
func handed(s api.State) bool { return s == api.StateRunning || s == api.StateSetupFailed }

// first is the oldest letter for an instance that is to be handed over; where there is none there is no courier any
// more.
func (o Outbox) first(id string) (rec store.Instance, uuid string) {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	e := o.w.entries[id]
	if e == nil {
		return rec, ""
	}
	for _, l := range e.post.letters {
		if !l.State.Done() {
			return e.rec, l.Job.UUID
		}
	}
	e.post.carried = false
	return rec, ""
}

// hand hands one letter over. It returns nil when that is done, or will never be.
func (o Outbox) hand(ctx context.Context, rec *store.Instance, uuid string) error {
	_, l, done, err := o.take(ctx, rec.ID, uuid)
	if err != nil {
		return err
	}
	defer done()
	if l.State.Done() {
		return nil // it was cancelled meanwhile
	}
	w := o.w
	w.opts.Fault(pointBegin)
	who := backend.Principal{ID: l.From.ID, Name: l.From.Name, Kind: l.From.Kind}
	ctx = backend.WithCaller(ctx, &backend.Caller{Principal: who})
	if !l.Offered {
		if err := w.May(ctx, api.ActionAccess, &rec.Instance); err != nil {
			return o.fail(rec, l, err)
		}
	}
	gone := false
	if l.Job.Taken {
		err := o.bring(ctx, rec, l)
		switch gone = errors.Is(err, &api.Error{Code: api.CodeGone}); {
		case gone, err == nil:
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case refused(err):
			return o.fail(rec, l, err)
		default:
			return o.troubled(rec, l, err)
		}
		w.opts.Fault(pointBrought)
	}
	if !l.Offered {
		doc := l.letterDoc
		doc.Offered = true
		if err := o.write(rec.ID, l, &doc, nil); err != nil {
			return o.troubled(rec, l, err)
		}
	}
	w.opts.Fault(pointOffered)
	var job api.Job
	if !gone {
		job, err = o.offer(ctx, rec, l)
		gone = errors.Is(err, &api.Error{Code: api.CodeGone})
	}
	switch {
	case gone: // it was handed over, and is forgotten there
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil && refused(err):
		return o.fail(rec, l, err)
	case err != nil:
		return o.troubled(rec, l, err)
	}
	w.opts.Fault(pointTaken)
	said := "job " + l.Job.UUID + " was handed over to " + rec.Name
	switch {
	case gone:
		said += ", and is forgotten there"
	case job.ID != nil:
		said += ": it is job " + *job.ID + " there"
	}
	if err := o.write(rec.ID, l, nil, w.event("job.handed_over", "info", rec, nil, who, "%s", said)); err != nil {
		return o.troubled(rec, l, err)
	}
	w.opts.Fault(pointDone)
	return nil
}

// offer submits a letter to its instance. One that was cancelled, and may have been taken before, is cancelled there:
// it is submitted so that it can't begin, which changes nothing of one that was taken.
func (o Outbox) offer(ctx context.Context, rec *store.Instance, l *letter) (api.Job, error) {
	ctx, cancel := context.WithTimeout(ctx, handLimit)
	defer cancel()
	client := o.w.AgentClient(*rec)
	defer client.Close()
	client.Home = api.NewHome(o.w.homeID, l.From.Name)
	q := l.Job
	if l.By != "" {
		q.Hold = true
	}
	job, err := o.w.submit(ctx, rec.Name, client, q)
	if err == nil && l.By != "" {
		return client.Jobs().Do(ctx, *job.ID, "cancel")
	}
	return job, err
}

// refused reports whether the agent will never take a job that it answered so.
func refused(err error) bool {
	switch api.AsError(err).Code {
	case api.CodeUsage, api.CodeNotFound, api.CodeUnsupported, api.CodeForbidden:
		return true
	}
	return false
}

// fail ends a letter that can't be handed over. It stays to be seen until it is removed.
func (o Outbox) fail(rec *store.Instance, l *letter, why error) error {
	doc := l.letterDoc
	doc.State, doc.EndedAt, doc.Message = api.JobFailed, o.w.now().UTC(), api.AsError(why).Message
	if doc.By != "" { // it was not taken, and is not to be
		doc.State, doc.Message = api.JobCancelled, ""
	}
	who := backend.Principal{ID: l.From.ID, Name: l.From.Name}
	err := o.write(rec.ID, l, &doc, o.w.event("job.refused", "warn", rec, nil, who, "job %s was not taken: %s", l.Job.UUID,
		api.AsError(why).Message))
	if err != nil {
		return o.troubled(rec, l, err)
	}
	return nil
}

// troubled notes why a letter could not be handed over for now.
func (o Outbox) troubled(rec *store.Instance, l *letter, err error) error {
	o.w.log.Info("handing over a job", "instance", rec.Name, "job", l.Job.UUID, "error", err)
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	if l.trouble = api.AsError(err).Message; o.w.entries[rec.ID] != nil {
		o.w.entries[rec.ID].post.turned()
	}
	return err
}
