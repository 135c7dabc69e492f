package workspace

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/base/coalesce"
	"berth/backend/service/store"
	"berth/queue"
)

// Outbox keeps jobs that were submitted for instances that do not run, until they can be handed over. A letter is one
// of them: a document of its own, so that it goes with its instance. See courier.go for how they are handed over.
type Outbox struct{ w *Workspace }

const (
	// letterKind begins the kind of a letter's document; its UUID follows.
	letterKind    = "outbox/"
	letterVersion = 1
	// maxLetters bounds the letters for one instance.
	maxLetters = 1000
	// letterWait is how long a request waits for a change, as with an agent.
	letterWait = 25 * time.Second
)

// letterDoc is a letter as it is stored.
type letterDoc struct {
	Version     int            `json:"version"`
	Job         api.JobRequest `json:"job"`
	From        sender         `json:"from"`
	SubmittedAt time.Time      `json:"submitted_at"`
	// Offered: it may have been handed over: the agent was to be asked, and its answer is not known.
	Offered bool         `json:"offered,omitempty"`
	State   api.JobState `json:"state"` // queued, failed or cancelled
	// By is who cancelled it. One that is Queued and may have been handed over is cancelled there.
	By      string    `json:"by,omitempty"`
	Message string    `json:"message,omitempty"` // of a failure
	EndedAt time.Time `json:"ended_at,omitzero"`
}

// sender is the principal that submitted a job.
type sender struct {
	ID   string                `json:"id"`
	Name string                `json:"name"`
	Kind backend.PrincipalKind `json:"kind"`
}

// letter is one in memory. It is guarded by Workspace.mu.
type letter struct {
	letterDoc
	revision int64
	trouble  string        // why it could not be handed over yet
	busy     chan struct{} // closed when who decides about it is done; nil: nobody does
	cut      func()        // ends the sending of its folder; nil: that is not under way
}

// postbox are the letters for an instance, oldest first. It is guarded by Workspace.mu.
type postbox struct {
	letters []*letter
	seq     int64         // grows by each change
	changed chan struct{} // closed by the next change; nil: nobody waits for it
	wake    coalesce.Signal
	carried bool // a courier sees to them
}

// turned notes a change.
func (p *postbox) turned() {
	p.seq++
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// next is closed by the next change.
func (p *postbox) next() <-chan struct{} {
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return p.changed
}

// waiting counts the letters that are to be handed over.
func (p *postbox) waiting() (n int) {
	for _, l := range p.letters {
		if !l.State.Done() {
			n++
		}
	}
	return n
}

// keeps reports whether a job for an instance in this state is kept here until it runs.
func keeps(s api.State) bool {
	switch s {
	case api.StateStopped, api.StateStopping, api.StateStarting, api.StateRestarting, api.StateCreating:
		return true
	}
	return false
}

// load puts the letters among the store's documents into memory. Nothing runs yet.
func (o Outbox) load(docs []store.Document) {
	for i := range docs {
		l, err := readLetter(&docs[i])
		if err != nil {
			o.w.log.Error("a job that waits for its instance can't be read, and is left as it is", "instance",
				docs[i].InstanceID, "job", docs[i].Kind, "error", err)
			continue
		}
		if e := o.w.entries[docs[i].InstanceID]; e != nil && l != nil {
			e.post.letters = append(e.post.letters, l)
		}
	}
	for _, e := range o.w.entries {
		e.post.sort()
	}
}

func (p *postbox) sort() {
	slices.SortStableFunc(p.letters, func(a, b *letter) int { return a.SubmittedAt.Compare(b.SubmittedAt) })
}

// readLetter reads a letter; it is nil where the document is another feature's.
func readLetter(d *store.Document) (*letter, error) {
	if !strings.HasPrefix(d.Kind, letterKind) {
		return nil, nil
	}
	l := &letter{revision: d.Revision}
	if err := json.Unmarshal(d.Doc, &l.letterDoc); err != nil {
		return nil, err
	}
	if l.Version != letterVersion {
		return nil, fmt.Errorf("it is of version %d, and this Berth knows version %d", l.Version, letterVersion)
	}
	return l, nil
}

// Waiting counts the letters that are to be handed over, of all instances.
func (o Outbox) Waiting() (n int) {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	for _, e := range o.w.entries {
		n += e.post.waiting()
	}
	return n
}

// Of says what there is of the outbox for an instance: whether jobs for it are kept now, and whether some are there.
func (o Outbox) Of(name string) (keeping, some bool) {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	e, err := o.w.find(name)
	return err == nil && keeps(e.rec.State), err == nil && len(e.post.letters) > 0
}

// Submit keeps a job for an instance that does not run, as the caller's of ctx. When it returns, the job is on the
// disk. A UUID that was said before is answered with its job. kept is false where the instance runs by now.
func (o Outbox) Submit(ctx context.Context, name string, q api.JobRequest) (job api.Job, kept bool, err error) {
	w := o.w
	e, release, err := w.claim(name)
	if err != nil {
		return job, false, err
	}
	defer release()
	parcel := false
	if q.Taken {
		if parcel, err = o.parcelFor(ctx, q.UUID); err != nil {
			return job, true, err
		}
	}
	now := w.look(e)
	if !keeps(now.rec.State) && !parcel { // its folder is here, where it has one
		return job, false, nil
	}
	if err := o.check(e, q, parcel); err != nil {
		return job, true, err
	}
	if job, err := o.Job(now.rec.ID, q.UUID); err == nil {
		return job, true, nil
	}
	who := backend.CallerFrom(ctx).Principal
	l := &letter{letterDoc: letterDoc{Version: letterVersion, Job: q, From: sender{who.ID, who.Name, who.Kind},
		SubmittedAt: w.now().UTC(), State: api.JobQueued}}
	w.opts.Fault(pointSubmit)
	doc := l.letterDoc
	err = o.write(now.rec.ID, l, &doc, w.event("job.kept", "info", &now.rec, nil, who, "job %s (%s) waits for %s",
		q.UUID, l.name(), now.rec.Name))
	if err != nil && !errors.Is(err, &api.Error{Code: api.CodeConflict}) { // else it was there, and is in memory now
		return job, true, err
	}
	o.lettered(q.UUID)
	w.opts.Fault(pointKept)
	o.kick(now.rec.ID)
	job, err = o.Job(now.rec.ID, q.UUID)
	return job, true, err
}

// check refuses what can't wait here.
func (o Outbox) check(e *entry, q api.JobRequest, parcel bool) error {
	m := q.Meant()
	switch {
	case !queue.IsUUID(q.UUID):
		return api.Errorf(api.CodeUsage, "%.40q is no UUID, by which a job is known until it has an id", q.UUID)
	case len(m.Argv) == 0 || m.Argv[0] == "":
		return api.Errorf(api.CodeUsage, "there is no command to run")
	case q.Taken && !parcel:
		return api.Errorf(api.CodeRefused, "a job with a folder of its own can't wait for its instance: the folder is there").
			WithHint("start the instance (berth start), then submit the job")
	case len(q.Secrets) > 0:
		return api.Errorf(api.CodeUsage, "a job with secrets can't wait for its instance: they are kept nowhere but there").
			WithHint("start the instance (berth start), then submit the job")
	}
	if err := new(queue.Spec).Read(queue.Words{Array: m.Array, Params: m.Params, ParamFile: m.ParamFile, After: m.After,
		AfterFailure: m.AfterFailure}); err != nil {
		return api.Errorf(api.CodeUsage, "%w", err)
	}
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	if n := len(e.post.letters); n >= maxLetters {
		return api.Errorf(api.CodeRefused, "%d jobs wait for %s already, or have failed", n, e.rec.Name).
			WithHint("berth start %s has them handed over; berth job rm forgets those that failed", e.rec.Name)
	}
	return nil
}

// write stores a letter as doc, or removes it where doc is nil, and shows that when it is stored.
func (o Outbox) write(id string, l *letter, doc *letterDoc, ev *api.Event) error {
	d := store.Document{InstanceID: id, Kind: letterKind + l.Job.UUID, Revision: l.revision}
	c := &store.Change{}
	if doc == nil {
		c.RemoveDocuments = []store.Document{d}
	} else {
		var err error
		if d.Doc, err = json.Marshal(doc); err != nil {
			return err
		}
		c.Documents = []store.Document{d}
	}
	if ev != nil {
		c.Events = []*api.Event{ev}
	}
	err := o.w.commit(c, func() { o.put(id, l, doc, l.revision+1) })
	if doc == nil || doc.State.Done() {
		defer o.sweep()
	}
	if errors.Is(err, &api.Error{Code: api.CodeConflict}) {
		return o.readBack(id, l, d.Doc, err)
	}
	return err
}

// put makes memory what the store has of a letter; doc is nil where that is nothing. w.mu must be held.
func (o Outbox) put(id string, l *letter, doc *letterDoc, revision int64) {
	e := o.w.entries[id]
	if e == nil {
		return
	}
	e.post.letters = slices.DeleteFunc(e.post.letters, func(x *letter) bool { return x.Job.UUID == l.Job.UUID })
	if doc != nil {
		l.letterDoc, l.revision, l.trouble = *doc, revision, ""
		e.post.letters = append(e.post.letters, l)
		e.post.sort()
	}
	e.post.turned()
	o.w.publish(e)
}

// readBack makes memory what the store has of a letter that could not be written because that was another one. It
// returns nil where it has what was to be written: the store had said that it failed, and did not.
func (o Outbox) readBack(id string, l *letter, wanted json.RawMessage, why error) error {
	docs, err := o.w.opts.Store.Documents(context.Background(), id) // as for what is written
	if err != nil {
		return err
	}
	var has *letter
	for i := range docs {
		if docs[i].Kind != letterKind+l.Job.UUID {
			continue
		}
		if has, err = readLetter(&docs[i]); err != nil {
			return err
		}
		if bytes.Equal(docs[i].Doc, wanted) {
			why = nil
		}
	}
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	if has == nil {
		o.put(id, l, nil, 0)
		if wanted == nil {
			return nil
		}
		return why
	}
	o.put(id, l, &has.letterDoc, has.revision)
	return why
}

// take makes the caller the one who decides about a letter, until done is called.
func (o Outbox) take(ctx context.Context, name, uuid string) (e *entry, l *letter, done func(), err error) {
	for {
		o.w.mu.Lock()
		e, l, err = o.find(name, uuid)
		if err != nil {
			o.w.mu.Unlock()
			return nil, nil, nil, err
		}
		busy := l.busy
		if busy == nil {
			l.busy = make(chan struct{})
		}
		o.w.mu.Unlock()
		if busy == nil {
			return e, l, sync.OnceFunc(func() {
				o.w.mu.Lock()
				defer o.w.mu.Unlock()
				close(l.busy)
				l.busy = nil
			}), nil
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, nil, nil, ctx.Err()
		}
	}
}

// Cancel cancels a job that is kept. One that may have been handed over already is cancelled there, once the instance
// can be asked. It is CodeNotFound where it has been handed over.
func (o Outbox) Cancel(ctx context.Context, name, uuid string) (api.Job, error) {
	o.interrupt(name, uuid)
	return o.decide(ctx, name, uuid, func(rec *store.Instance, l *letterDoc) *api.Event {
		if l.State.Done() {
			return nil
		}
		who := backend.CallerFrom(ctx).Principal
		if l.By = orElse(who.Name, "nobody known"); !l.Offered {
			l.State, l.EndedAt = api.JobCancelled, o.w.now().UTC()
		}
		return o.w.event("job.cancelled", "info", rec, nil, who, "job %s was cancelled", l.Job.UUID)
	})
}

// interrupt ends the sending of a letter's folder, which may take long: who decides about the letter waits for nothing.
func (o Outbox) interrupt(name, uuid string) {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	if _, l, err := o.find(name, uuid); err == nil && l.cut != nil {
		l.cut()
	}
}

// decide stores what change makes of a letter; nothing where it returns no event.
func (o Outbox) decide(ctx context.Context, name, uuid string,
	change func(rec *store.Instance, l *letterDoc) *api.Event) (job api.Job, err error) {
	e, l, done, err := o.take(ctx, name, uuid)
	if err != nil {
		return job, err
	}
	defer done()
	rec := o.w.look(e).rec
	next := l.letterDoc // who took it alone writes it
	if ev := change(&rec, &next); ev != nil {
		if err := o.write(rec.ID, l, &next, ev); err != nil {
			return job, err
		}
		o.kick(rec.ID)
	}
	return o.Job(rec.ID, l.Job.UUID)
}

// Remove forgets a job that was never handed over and never will be.
func (o Outbox) Remove(ctx context.Context, name, uuid string) error {
	e, l, done, err := o.take(ctx, name, uuid)
	if err != nil {
		return err
	}
	defer done()
	if !l.State.Done() {
		return api.Errorf(api.CodeConflict, "job %s waits: only what is done is forgotten", l.Job.UUID).
			WithHint("berth job cancel NAME %s ends it", l.Job.UUID)
	}
	return o.write(o.w.look(e).rec.ID, l, nil, nil)
}
