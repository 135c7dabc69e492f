package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"berth/backend/api"
	"berth/backend/store"
	"berth/backend/version"
)

// AgentClient returns a client of the instance's agent that uses its line. Close it after use.
func (w *Workspace) AgentClient(rec store.Instance) *api.Client {
	return &api.Client{Dial: func(ctx context.Context) (net.Conn, error) { return w.opts.Lines.Agent(ctx, &rec) }}
}

// reachAgent waits until the agent answers and takes over what it says of its host. Where none can
// run the step succeeds and the instance says what is lost.
func reachAgent(ctx context.Context, w *Workspace, r *run) error {
	_, rec, err := w.target(r)
	if err != nil {
		return err
	}
	client := w.AgentClient(rec)
	defer client.Close()
	wait := 2 * time.Millisecond
	for {
		info, err := client.AgentInfo(ctx)
		if err == nil {
			return w.agentSeen(ctx, r.op.InstanceID, &info)
		}
		var un *AgentUnavailable
		if errors.As(err, &un) {
			w.agentStatus(r.op.InstanceID, &api.AgentStatus{State: "unavailable", Reason: un.Reason, Transport: "ssh"})
			return nil
		}
		if r.op.Kind == opAdopt {
			return err // said at once: waiting does not mend a wrong key
		}
		select {
		case <-ctx.Done():
			return api.Errorf(api.CodeUnreachable, "%w; last: %w", context.Cause(ctx), err)
		case <-time.After(wait):
			wait = min(wait*8/5, 2*time.Second)
		}
	}
}

// agentSeen merges what an agent says into the record.
func (w *Workspace) agentSeen(ctx context.Context, id string, info *api.AgentInfo) error {
	st := &api.AgentStatus{State: "ready", Version: info.Version, AfterReboot: info.AfterReboot}
	if info.Capability < version.Capability {
		st.Reason = "an older agent: what it lacks is greyed"
	}
	w.mu.Lock()
	e := w.entries[id]
	if e == nil {
		w.mu.Unlock()
		return nil
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
	w.mu.Unlock()
	if same {
		return nil
	}
	return w.persist(ctx, func() *store.Change {
		e := w.entries[id]
		if e == nil {
			return &store.Change{} // deleted meanwhile
		}
		rec := e.rec // as it is now: an operation may have changed it
		w.mergeAgent(&rec, info)
		return &store.Change{Instances: []store.Instance{rec}}
	})
}

// mergeAgent writes what an agent says of its host into the record.
func (w *Workspace) mergeAgent(rec *store.Instance, info *api.AgentInfo) {
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

// LineState is called by the lines when the way to an instance changes: it is up or lost, or st, if
// not nil, is what is now known of the agent at its end. Where there is no provider to ask, what the
// line says is what is known of the machine: it is looked at soon.
func (w *Workspace) LineState(id string, up bool, st *api.AgentStatus) {
	w.mu.Lock()
	e := w.entries[id]
	if e == nil {
		w.mu.Unlock()
		return
	}
	if look := up != (e.rec.State == api.StateRunning); look && e.run == nil {
		w.suspects[id] = true
		defer w.Wake()
	}
	if st != nil && e.agent != nil { // what a connection does not tell anew is known from before
		next := *st
		next.Version = orElse(next.Version, e.agent.Version)
		next.AfterReboot = orElse(next.AfterReboot, e.agent.AfterReboot)
		st = &next
	}
	w.mu.Unlock()
	if st != nil {
		w.agentStatus(id, st)
	}
}

// takeSuspects returns the instances whose line has changed.
func (w *Workspace) takeSuspects() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := slices.Collect(maps.Keys(w.suspects))
	clear(w.suspects)
	return ids
}

// runSetup runs the set-up script of a fresh instance, if there is one, and calls the instance running.
func runSetup(ctx context.Context, w *Workspace, r *run) error {
	_, rec, err := w.target(r)
	if err != nil {
		return err
	}
	if rec.Spec != nil && strings.TrimSpace(rec.Spec.Setup) != "" {
		if err := w.setupScript(ctx, r, rec); err != nil {
			return err
		}
	}
	return w.persist(ctx, func() *store.Change {
		rec := w.entries[r.op.InstanceID].rec
		w.setState(&rec, api.StateRunning, "")
		return &store.Change{Instances: []store.Instance{rec}}
	})
}

// setupWrapper runs a set-up script once and waits for it, however often it is itself run: the daemon
// may be killed and resume. $1 is the script, $2 the operation. The script runs in a session of its own,
// so that it outlives this connection; its output and code stand in a folder.
const setupWrapper = `d=${BERTH_SCRATCH:-${TMPDIR:-/tmp}}/setup-$2
own=; command -v setsid >/dev/null 2>&1 && own=setsid
mkdir -p "${d%/*}" || exit 126
if mkdir "$d" 2>/dev/null; then
  S=$1 D=$d $own sh -c 'echo $$ >"$D/pid"; sh -e -c "$S" >"$D/log" 2>&1 </dev/null; echo $? >"$D/new"; mv "$D/new" "$D/code"' >/dev/null 2>&1 </dev/null &
fi
n=0
until [ -s "$d/code" ]; do
  n=$((n+1))
  if [ $n -gt 50 ] && ! kill -0 "$(cat "$d/pid" 2>/dev/null)" 2>/dev/null && [ ! -s "$d/code" ]; then
    cat "$d/log"; echo "berth: the script was cut off (a reboot, a kill) and is not run a second time"; exit 125
  fi
  sleep 0.02 2>/dev/null || sleep 1
done
cat "$d/log"; c=$(cat "$d/code"); rm -rf "$d"; exit "$c"`

func (w *Workspace) setupScript(ctx context.Context, r *run, rec store.Instance) error {
	client := w.AgentClient(rec)
	defer client.Close()
	s, err := client.OpenStream(ctx, "/v1/exec", api.ExecRequest{Argv: []string{"sh", "-c", setupWrapper, "sh", rec.Spec.Setup, r.op.ID}})
	if err != nil {
		return err
	}
	var out tail
	x, err := s.Run(ctx, api.StreamIO{Stdout: &out, Stderr: &out})
	if err != nil {
		return err
	}
	if x.Code != 0 {
		text := ""
		if t := out.String(); t != "" {
			text = "; its last lines:\n" + t
		}
		return api.Errorf(api.CodeFailed, "the set-up script ended with code %d%s", x.Code, text).
			WithHint("the instance can be reached to mend it: berth ssh %s", rec.Name)
	}
	return nil
}

// tail keeps the last 2 KiB written to it.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if n := len(t.b) - 2<<10; n > 0 {
		t.b = append(t.b[:0], t.b[n:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(bytes.ToValidUTF8(bytes.TrimSpace(t.b), []byte("?"))) }

// letGo closes the line; from an adopted machine it first removes the agent and its folder. A machine
// that can't be reached is forgotten all the same, and what stays there is said.
func letGo(ctx context.Context, w *Workspace, r *run) error {
	_, rec, err := w.target(r)
	if err != nil {
		return err
	}
	cctx, cancel := context.WithTimeout(ctx, min(w.limits.Agent, 15*time.Second))
	defer cancel()
	if err := w.opts.Lines.Forget(cctx, &rec, rec.Adopted); err != nil && ctx.Err() == nil {
		return w.persist(ctx, func() *store.Change {
			msg := fmt.Sprintf("the agent could not be removed from %s and stays there: %s", rec.Name, err)
			r.op.Warnings = append(r.op.Warnings, msg)
			return &store.Change{Operations: []store.Operation{r.op}, Events: []*api.Event{w.event("agent.left", "warn", &rec, &r.op.Operation, "", "%s", msg)}}
		})
	}
	return ctx.Err()
}
