package workspace

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"berth/backend"
	"berth/backend/base/coalesce"
	"berth/backend/service/operation"
)

const (
	// listFrom is how many operations must wait for machines of a backend for one list to serve them all. Fewer are
	// asked for one by one, which says sooner what one wants to know.
	listFrom = 4
	// parallelGets is how many machines of a backend without a list are asked for at once.
	parallelGets = 16
	// listPause is the shortest pause between two lists; each is followed by one of twice the time that it took.
	listPause    = 5 * time.Millisecond
	longestPause = time.Second
)

// pollers ask the providers for the machines that operations wait for. Operations of one backend that run with the same
// environment (it says for whom the provider is asked) have one poller: how often the provider is asked does not depend
// on how many they are.
type pollers struct {
	ctx   context.Context // ends with the workspace
	limit time.Duration   // of one call
	guard *operation.Guard

	mu  sync.Mutex // guards all pollers
	all map[signIn]*poller
	wg  sync.WaitGroup
}

// poller asks one backend. It runs while somebody waits.
type poller struct {
	p       *pollers
	key     signIn
	b       backend.Backend
	list    bool
	waiting map[*waiter]bool
	poked   coalesce.Signal // one waits who was not there before
	gets    chan struct{}   // has room for those who ask for one machine
}

// waiter is an operation that waits for the next look at its machine.
type waiter struct {
	ctx    context.Context
	ref    backend.Ref
	alone  bool // its machine is in no list
	due    time.Time
	answer chan look // has room for it
}

// look is what a provider says of a machine.
type look struct {
	m   backend.Machine
	err error
}

func newPollers(ctx context.Context, limit time.Duration, guard *operation.Guard) *pollers {
	return &pollers{ctx: ctx, limit: limit, guard: guard, all: map[signIn]*poller{}}
}

// next waits for the next look at a machine, which begins after this call, and about when that long has passed: sooner
// where others of the same backend are looked at. alone: the machine is in no list.
func (p *pollers) next(ctx context.Context, name string, b backend.Backend, ref backend.Ref, alone bool,
	wait time.Duration) (backend.Machine, error) {
	x := &waiter{ctx: ctx, ref: ref, alone: alone, due: time.Now().Add(wait), answer: make(chan look, 1)}
	q := p.add(name, b, x)
	select {
	case a := <-x.answer:
		return a.m, a.err
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(q.waiting, x)
		return backend.Machine{}, ctx.Err()
	}
}

func (p *pollers) add(name string, b backend.Backend, x *waiter) *poller {
	key := signIn{name, backend.Fingerprint(backend.CallerFrom(x.ctx).Env)}
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.all[key]
	if q == nil {
		q = &poller{p: p, key: key, b: b, list: b.Info().Capabilities.List, waiting: map[*waiter]bool{},
			poked: coalesce.NewSignal(),
			gets:  make(chan struct{}, parallelGets)}
		p.all[key] = q
		p.wg.Go(q.run)
	}
	q.waiting[x] = true
	q.poked.Send()
	return q
}

// run serves those who wait, until nobody does.
func (q *poller) run() {
	var pause time.Time // until when no list is asked for
	for {
		due, shared, over := q.nextDue()
		if over {
			return
		}
		if shared && due.Before(pause) {
			due = pause
		}
		if wait := time.Until(due); wait > 0 {
			t := time.NewTimer(wait)
			select {
			case <-t.C:
			case <-q.poked:
				t.Stop()
				continue
			case <-q.p.ctx.Done(): // the operations end by themselves, and stop waiting
				t.Stop()
				<-time.After(listPause)
				continue
			}
		}
		if !shared {
			q.each(q.take(func(x *waiter) bool { return !x.due.After(time.Now()) }))
			continue
		}
		began := time.Now()
		q.listFor(q.take(func(x *waiter) bool { return !x.alone || !x.due.After(began) }))
		took := time.Since(began)
		pause = time.Now().Add(min(max(2*took, listPause), longestPause))
	}
}

// nextDue says when the first of those who wait wants to know, and whether a list is asked for then.
func (q *poller) nextDue() (due time.Time, shared, over bool) {
	q.p.mu.Lock()
	defer q.p.mu.Unlock()
	listed := 0
	for x := range q.waiting {
		if due.IsZero() || x.due.Before(due) {
			due = x.due
		}
		if !x.alone {
			listed++
		}
	}
	if over = len(q.waiting) == 0; over {
		delete(q.p.all, q.key)
	}
	return due, q.list && listed >= listFrom, over
}

// take takes those out of the ones who wait who are chosen.
func (q *poller) take(chosen func(*waiter) bool) (out []*waiter) {
	q.p.mu.Lock()
	defer q.p.mu.Unlock()
	for x := range q.waiting {
		if chosen(x) {
			out = append(out, x)
			delete(q.waiting, x)
		}
	}
	return out
}

// each asks for the machine of each, and does not wait for the answers: one that hangs holds up no other.
func (q *poller) each(xs []*waiter) {
	for _, x := range xs {
		q.p.wg.Go(func() {
			select {
			case q.gets <- struct{}{}:
			case <-x.ctx.Done():
				return
			}
			defer func() { <-q.gets }()
			ctx, cancel := context.WithTimeout(x.ctx, q.p.limit)
			defer cancel()
			var a look
			err := q.p.guard.Do("looking at "+x.ref.Name, func() error {
				a.m, a.err = q.b.Get(ctx, x.ref)
				return a.err
			})
			x.answer <- look{a.m, err}
		})
	}
}

// listFor asks for all machines once. What is not in the list is asked for by itself: only that says what is gone.
func (q *poller) listFor(xs []*waiter) {
	if len(xs) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(backend.WithCaller(q.p.ctx, backend.CallerFrom(xs[0].ctx)), q.p.limit)
	defer cancel()
	var left atomic.Int64
	left.Store(int64(len(xs)))
	for _, x := range xs { // when the last one has gone, nobody waits for the list
		defer context.AfterFunc(x.ctx, func() {
			if left.Add(-1) == 0 {
				cancel()
			}
		})()
	}
	var ms []backend.Machine
	err := q.p.guard.Do("listing machines", func() (err error) {
		ms, err = q.b.List(ctx)
		return err
	})
	if errors.Is(err, backend.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded) {
		for _, x := range xs {
			x.answer <- look{err: err}
		}
		return
	}
	byID, byToken := map[string]backend.Machine{}, map[string]backend.Machine{}
	if err == nil {
		for _, m := range ms {
			byID[m.ID], byToken[m.Token] = m, m
		}
	}
	var missing []*waiter
	for _, x := range xs {
		m, ok := byID[x.ref.ID]
		if x.ref.ID == "" {
			m, ok = byToken[x.ref.Token]
		}
		if ok && !x.alone && (x.ref.ID != "" || x.ref.Token != "") {
			x.answer <- look{m: m}
		} else {
			missing = append(missing, x)
		}
	}
	q.each(missing)
}
