package server

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"berth/backend/agent/part"
	"berth/backend/api"
)

// running is a part of a running agent, and what became of it.
type running struct {
	part.Part
	a *Agent

	mu       sync.Mutex
	failed   error // why it did not start: it serves nothing
	panicked error // the first panic in one of its loops: it serves on, as far as it can
	drained  bool
}

// contained is the agent as one part sees it.
type contained struct {
	*Agent
	r *running
}

// Contain implements part.Agent.
func (c contained) Contain(what string, f func()) {
	if err := c.r.contain(what, f); err != nil {
		c.r.mu.Lock()
		c.r.panicked = cmp.Or(c.r.panicked, err)
		c.r.mu.Unlock()
	}
}

func (a *Agent) newRunning(newPart func(*part.Host) part.Part) *running {
	r := &running{a: a}
	h := a.host
	h.Agent = contained{a, r}
	r.failed = r.contain("its making", func() { r.Part = newPart(&h) })
	return r
}

// contain runs f, and returns its panic as an error, which was logged.
func (r *running) contain(what string, f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = r.caught(what, p)
		}
	}()
	f()
	return nil
}

// caught logs a panic, in the deferred function that caught it.
func (r *running) caught(what string, p any) error {
	err := fmt.Errorf("%s panicked: %v", what, p)
	r.a.c.Log.Error("a part of the agent panicked", "part", r.Name, "err", err, "stack", string(debug.Stack()))
	r.a.events.add("agent.part_failed", "error", r.broken(err))
	return err
}

// broken says that the part does not work.
func (r *running) broken(why error) string {
	return fmt.Sprintf("a part of the agent does not work (%s): %v", r.Name, why)
}

func (r *running) start(ctx context.Context) {
	if r.Start == nil || r.failed != nil {
		return
	}
	var err error
	if perr := r.contain("its start", func() { err = r.Start(ctx) }); perr != nil {
		err = perr
	} else if err != nil {
		r.a.c.Log.Error("a part of the agent does not start", "part", r.Name, "err", err)
		r.a.events.add("agent.part_failed", "error", r.broken(err))
	}
	r.mu.Lock()
	r.failed = err
	r.mu.Unlock()
}

// drainParts leaves the instance to a newer agent.
func (a *Agent) drainParts() {
	for _, r := range slices.Backward(a.parts) {
		if r.Drain == nil {
			continue
		}
		r.mu.Lock()
		r.drained = true
		started := r.failed == nil
		r.mu.Unlock()
		if started {
			_ = r.contain("its hand-over", r.Drain) // logged; the newer agent comes all the same
		}
	}
}

// stopParts ends the work of those that have started.
func (a *Agent) stopParts() {
	for _, r := range slices.Backward(a.parts) {
		if r.Stop != nil && r.works() == nil {
			_ = r.contain("its stop", r.Stop) // logged; the others are stopped all the same
		}
	}
}

// endParts ends what runs outside the agent, of all parts at once.
func (a *Agent) endParts(ctx context.Context, grace time.Duration) error {
	errs := make([]error, len(a.parts))
	var wg sync.WaitGroup
	for i, r := range a.parts {
		if r.End == nil || r.works() != nil {
			continue
		}
		wg.Go(func() {
			if err := r.contain("its end", func() { errs[i] = r.End(ctx, grace) }); err != nil {
				errs[i] = err
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// works returns why the part did not start.
func (r *running) works() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// info adds what the part says, and what is wrong with it.
func (r *running) info(i *api.AgentInfo) {
	r.mu.Lock()
	failed, panicked := r.failed, r.panicked
	r.mu.Unlock()
	if why := cmp.Or(failed, panicked); why != nil {
		i.Warnings = append(i.Warnings, r.broken(why))
	}
	if r.Info != nil && failed == nil {
		_ = r.contain("what it says of itself", func() { r.Info(i) }) // logged
	}
}

// routes are the part's, as the agent serves them.
func (r *running) routes() []api.Route {
	out := slices.Clone(r.Part.Routes)
	for i := range out {
		out[i].Handler = r.serve(out[i].Handler)
	}
	return out
}

// serve answers for a part that does not work or has been drained, and contains panics of h.
func (r *running) serve(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		failed, leaving := r.failed, r.drained
		r.mu.Unlock()
		r.a.mu.Lock()
		leaving = leaving || r.a.stopping()
		r.a.mu.Unlock()
		switch {
		case failed != nil:
			api.WriteError(w, api.Errorf(api.CodeFailed, "%s", r.broken(failed)))
			return
		case leaving:
			part.Leaving(w)
			return
		}
		aw := &answer{ResponseWriter: w}
		defer func() {
			switch p := recover(); {
			case p == nil:
			case p == http.ErrAbortHandler: // how a handler cuts its answer off
				panic(p)
			default:
				err := r.caught("the answer to "+req.Method+" "+req.URL.Path, p)
				if aw.begun {
					panic(http.ErrAbortHandler) // half an answer must not look whole
				}
				api.WriteError(w, api.Errorf(api.CodeFailed, "%s", r.broken(err)))
			}
		}()
		h(aw, req)
	}
}

// answer notes whether an answer has begun.
type answer struct {
	http.ResponseWriter
	begun bool
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	a.begun = true
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	a.begun = true
	return a.ResponseWriter.Write(b)
}

// Hijack implements http.Hijacker.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	a.begun = true
	return http.NewResponseController(a.ResponseWriter).Hijack()
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
