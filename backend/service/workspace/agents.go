package workspace

import (
	"cmp"
	"context"
	"errors"
	"net"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/base/version"
	"berth/backend/service/operation"
	"berth/backend/service/store"
)

// AgentClient returns a client of the instance's agent that uses its line. Close it after use.
func (w *Workspace) AgentClient(rec store.Instance) *api.AgentClient {
	// Dial is called in a goroutine of the HTTP client.
	return &api.AgentClient{Home: w.home(), Dial: func(ctx context.Context) (net.Conn, error) {
		return guarded(w, "reaching the agent of "+rec.Name, func() (net.Conn, error) {
			return w.opts.Dialer.Agent(w.inPlaceOf(ctx, rec.Backend, rec.Account), rec.Endpoint())
		})
	}}
}

// reachAgent waits until the agent answers and takes over what it says of its host. Where none can
// run the step succeeds and the instance says what is lost.
func reachAgent(ctx context.Context, w *Workspace, r *operation.Run) error {
	_, rec, err := w.target(r)
	if err != nil {
		return err
	}
	client := w.AgentClient(rec)
	defer func() { client.Close() }()
	began, forced := time.Now(), false
	var looked time.Time
	var last error
	wait := 2 * time.Millisecond
	for {
		info, ahead, err := client.InfoAndClock(ctx)
		if err == nil && r.Record().Boot != "" && info.BootID == r.Record().Boot {
			err = api.Errorf(api.CodeUnreachable, "%s has not restarted yet", rec.Name)
			if !forced && time.Since(began) > w.limits.Gentle {
				forced = true
				w.force(ctx, r, &rec)
			}
		}
		if err == nil {
			return w.agentSeen(ctx, r.InstanceID, &info, ahead)
		}
		var un *backend.AgentUnavailable
		if errors.As(err, &un) {
			w.agentStatus(r.InstanceID, &api.AgentStatus{State: "unavailable", Reason: un.Reason, Transport: "ssh"})
			return nil
		}
		if asked := backend.CallerFrom(ctx).Ask != nil; r.Kind == opAdopt || asked && errors.Is(err, backend.ErrNoAnswer) {
			return err // said at once: waiting does not mend a wrong key, nor is who did not answer asked again
		}
		// The machine may get its address only now, or may have ended while it started.
		if time.Since(looked) > time.Second || rec.Line == (backend.Line{}) {
			looked = time.Now()
			next, lerr := w.lookAtMachine(ctx, r)
			if lerr != nil {
				return lerr
			}
			if next.Line != rec.Line {
				client.Close()
				rec = next
				client = w.AgentClient(rec)
			}
		}
		if ctx.Err() == nil || last == nil {
			last = err
			w.note(r, "agent", func(s *api.Step) { s.Message = err.Error() })
		}
		select {
		case <-ctx.Done():
			if errors.As(context.Cause(ctx), new(operation.Superseded)) || errors.Is(context.Cause(ctx), operation.ErrClosing) {
				return context.Cause(ctx)
			}
			return api.Errorf(api.CodeUnreachable, "%w; last: %w%s", context.Cause(ctx), last, w.consoleTail(r))
		case <-time.After(wait):
			wait = min(wait*8/5, agentPause)
		}
	}
}

// agentPause is the longest pause before an agent that does not answer is tried again.
const agentPause = 400 * time.Millisecond

// lookAtMachine asks the provider how the machine is whose agent is waited for.
func (w *Workspace) lookAtMachine(ctx context.Context, r *operation.Run) (store.Instance, error) {
	b, rec, err := w.target(r)
	if err != nil || rec.Adopted {
		return rec, err
	}
	m, err := w.pollers.next(ctx, rec.Backend, b, ref(&rec), false, 0)
	err = w.accounts.missing(ctx, &rec, err)
	switch {
	case errors.Is(err, backend.ErrNotFound):
		return rec, api.Errorf(api.CodeNotFound, "the machine of %s is gone: it was deleted outside Berth", rec.Name)
	case err != nil:
		return rec, nil // the agent is what is waited for
	case m.State == api.StateStopped || m.State == api.StateUnusable || m.State == api.StateCreateFailed:
		return rec, api.Errorf(api.CodeFailed, "the machine of %s is %s%s%s", rec.Name, m.State, because(m.Reason),
			w.consoleTail(r))
	}
	if m.State == api.StateRunning {
		m.State = rec.State // running for the user only when its agent answers
	}
	if err := w.store(ctx, r, &m); err != nil {
		return rec, err
	}
	_, rec, err = w.target(r)
	return rec, err
}

// agentSeen merges what an agent says into the record. ahead is by how much its clock is ahead.
func (w *Workspace) agentSeen(ctx context.Context, id string, info *api.AgentInfo, ahead time.Duration) error {
	st := &api.AgentStatus{State: "ready", Version: info.Version, Capability: info.Capability,
		AfterReboot: info.AfterReboot, Environment: info.Environment, ClockAhead: ahead.Seconds(), Jobs: info.Jobs}
	if info.Capability < version.Capability {
		st.Reason = "an older agent: what it lacks is greyed"
	}
	if !w.agentIs(id, st, info) {
		return nil
	}
	return w.keep(ctx, id, func(rec *store.Instance) { w.mergeAgent(rec, info) })
}

// agentIs shows st and reports whether info says something new.
func (w *Workspace) agentIs(id string, st *api.AgentStatus, info *api.AgentInfo) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.entries[id]
	if e == nil {
		return false
	}
	if e.agent != nil {
		st.Transport = e.agent.Transport
	}
	changed := e.agent == nil || *e.agent != *st
	e.agent = st
	rec := e.rec
	w.mergeAgent(&rec, info)
	same := sameRecord(&rec, &e.rec)
	if same && changed {
		w.publish(e)
	}
	return !same
}

// mergeAgent writes what an agent says of its host into the record.
func (w *Workspace) mergeAgent(rec *store.Instance, info *api.AgentInfo) {
	if rec.Unreached != "" {
		rec.Unreached = ""
		if rec.State == api.StateUnusable {
			w.setState(rec, api.StateRunning, "")
		}
	}
	if rec.User == "" {
		rec.User = info.User
	}
	if rec.Workdir == "" {
		rec.Workdir = info.Workdir
	}
	if rec.Adopted || rec.VCPUs == 0 {
		rec.VCPUs, rec.MemoryBytes, rec.DiskBytes = info.VCPUs, info.MemoryBytes, info.DiskBytes
		if len(info.GPUs) > 0 {
			rec.GPUs = info.GPUs
		}
	}
	if info.LastActivity.IsZero() {
		return
	}
	// Ages are computed from receipt: the instance's clock may be off.
	idle := max(0, info.Now.Sub(info.LastActivity))
	t := w.now().UTC().Add(-idle).Truncate(time.Second)
	if rec.IdleSince == nil || t.Sub(*rec.IdleSince).Abs() > 2*time.Second {
		rec.IdleSince = &t
	}
}

// JobsAre keeps in w how many jobs of an instance run and wait, as its agent says.
func JobsAre(w *Workspace, id string, n api.JobCounts) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.entries[id]
	if e == nil || e.agent == nil || e.agent.Jobs == n {
		return
	}
	st := *e.agent
	st.Jobs = n
	e.agent = &st
	w.publish(e)
}

func (w *Workspace) agentStatus(id string, st *api.AgentStatus) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.entries[id]
	if e == nil || (e.agent != nil && *e.agent == *st) {
		return
	}
	e.agent = st
	w.publish(e)
}

// LineState is called when the connection to an instance comes up or is lost; st, if not nil, is what is now known of
// its agent. Where that does not fit the machine's state, the provider is asked soon.
func (w *Workspace) LineState(id string, up bool, st *api.AgentStatus) {
	w.mu.Lock()
	e := w.entries[id]
	if e == nil {
		w.mu.Unlock()
		return
	}
	if up {
		e.post.stir()
		delete(w.down, id)
	} else if _, known := w.down[id]; !known {
		w.down[id] = 0
	}
	look := up != (e.rec.State == api.StateRunning)
	// Why a machine that exists could not be reached is not what its line says by now: one of them is old.
	look = look || st != nil && e.rec.Adopted && e.rec.State == api.StateUnknown && st.Reason != e.rec.StateReason &&
		(e.agent == nil || st.Reason != e.agent.Reason)
	if look && e.run == nil {
		w.suspects[id] = true
		defer w.Reconciler.wake(e.rec.Backend)
	}
	if st != nil && e.agent != nil { // what a connection does not tell anew is known from before
		next := *st
		next.Version = orElse(next.Version, e.agent.Version)
		next.Capability = cmp.Or(next.Capability, e.agent.Capability)
		next.AfterReboot = orElse(next.AfterReboot, e.agent.AfterReboot)
		next.Jobs = cmp.Or(next.Jobs, e.agent.Jobs)
		next.Environment = cmp.Or(next.Environment, e.agent.Environment)
		next.ClockAhead = cmp.Or(next.ClockAhead, e.agent.ClockAhead)
		st = &next
	}
	w.mu.Unlock()
	if st != nil {
		w.agentStatus(id, st)
	}
}

// looks is how often a machine whose line went down is looked at again while its provider still calls it
// running: it may have been on its way down when it was first asked for.
const looks = 6

// lookLater has instances looked at again, ever later, whose line is down while they are said to run, and
// those that are on their way up or down until they are there: nobody else may be looking.
func (w *Workspace) lookLater(ids []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		n, down := w.down[id]
		e := w.entries[id]
		if !down || e == nil || e.run != nil {
			continue
		}
		switch e.rec.State {
		case api.StateStopping, api.StateStarting:
			n = min(n, looks-1)
		case api.StateRunning:
			if n >= looks {
				continue
			}
		default:
			continue
		}
		w.down[id] = n + 1
		name := e.rec.Backend
		time.AfterFunc(500*time.Millisecond<<n, func() {
			w.mu.Lock()
			w.suspects[id] = true
			w.mu.Unlock()
			w.Reconciler.wake(name)
		})
	}
}

// takeSuspects returns the instances of a backend whose line has changed.
func (w *Workspace) takeSuspects(name string) (ids []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.suspects {
		e := w.entries[id]
		if e != nil && e.rec.Backend != name {
			continue
		}
		delete(w.suspects, id)
		if e != nil {
			ids = append(ids, id)
		}
	}
	return ids
}
