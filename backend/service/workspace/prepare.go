package workspace

import (
	"context"
	"errors"
	"strings"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/operation"
)

// doPrepare lets the backend fetch what it needs before it can create.
func doPrepare(ctx context.Context, w *Workspace, r *operation.Run) error {
	b, rec, err := w.target(r)
	if err != nil {
		return err
	}
	p, ok := b.(backend.Preparer)
	if !ok {
		return nil
	}
	return w.transfer(ctx, r, "prepare", func(ctx context.Context, say func(backend.Progress)) error {
		return p.Prepare(ctx, *rec.Spec, say)
	})
}

// transfer calls f, which may take as long as it goes on saying how far it is, for a step; again while the
// provider can't be reached.
func (w *Workspace) transfer(ctx context.Context, r *operation.Run, step string,
	f func(context.Context, func(backend.Progress)) error) error {
	what := r.Kind + " of " + r.Instance
	return w.long(ctx, what, func(ctx context.Context) error {
		stalled := api.Errorf(api.CodeUnreachable, "%s: nothing has moved for %s", what, w.limits.Call)
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		watch := time.AfterFunc(w.limits.Call, func() { cancel(stalled) })
		defer watch.Stop()
		tell := w.teller(r, step)
		err := f(ctx, func(p backend.Progress) {
			watch.Reset(w.limits.Call)
			tell(p)
		})
		if err != nil && context.Cause(ctx) == stalled {
			err = stalled
		}
		if errors.Is(err, backend.ErrUnreachable) {
			tell(backend.Progress{What: err.Error()}) // it may be tried again, and till then that is how it stands
		}
		return err
	})
}

// long calls f again while the provider can't be reached.
func (w *Workspace) long(ctx context.Context, what string, f func(context.Context) error) error {
	wait := w.limits.Backoff
	for try := 1; ; try++ {
		err := f(ctx)
		if err == nil || ctx.Err() != nil || try >= w.limits.Tries || !errors.Is(err, backend.ErrUnreachable) {
			return err
		}
		w.log.Warn("trying again", "what", what, "try", try, "error", err)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
			wait = min(2*wait, 30*time.Second)
		}
	}
}

// tellEvery is how often the progress of a transfer is shown.
const tellEvery = 100 * time.Millisecond

// teller shows the progress of a step, not more often than anybody can read.
func (w *Workspace) teller(r *operation.Run, step string) func(backend.Progress) {
	var last time.Time
	var what string
	return func(p backend.Progress) {
		if now := time.Now(); p.What != what || p.Done == p.Total || now.Sub(last) >= tellEvery {
			last, what = now, p.What
			w.note(r, step, func(s *api.Step) { s.Message, s.DoneBytes, s.TotalBytes = p.What, p.Done, p.Total })
		}
	}
}

// note changes what is shown of a step under way, without writing it: it says nothing that the next
// daemon would need.
func (w *Workspace) note(r *operation.Run, step string, change func(*api.Step)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e := w.entries[r.InstanceID]; e != nil && e.run == r && r.Note(step, change) {
		w.hub.publish(api.Change{Operation: ptr(r.Snapshot())})
		w.publish(e)
	}
}

// consoleTail is the last output of the console of r's machine, for an error, or "": who asked for r may not be who may
// read it.
func (w *Workspace) consoleTail(r *operation.Run) string {
	b, rec, err := w.target(r)
	if err != nil || !rec.Capabilities.Console || rec.Adopted {
		return ""
	}
	ctx := backend.WithCaller(w.operations.Context(), r.Caller())
	if w.May(ctx, api.ActionAccess, &rec.Instance) != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, min(w.limits.Call, 10*time.Second))
	defer cancel()
	text, err := b.Console(ctx, ref(&rec))
	if err != nil {
		w.log.Warn("reading a console", "instance", rec.Name, "error", err)
		return ""
	}
	lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(strings.ToValidUTF8(string(text), "?"), "\r", "")), "\n")
	lines = tellingLines(lines)
	if len(lines) == 0 || lines[0] == "" {
		return ""
	}
	return "; the console's last lines (berth show --console " + rec.Name + "):\n" + strings.Join(lines, "\n")
}

// tellingLines are the last lines of a console; where the kernel panicked, the line that says why stands
// before them.
func tellingLines(lines []string) []string {
	const keep = 8
	n := len(lines) - keep
	if n <= 0 {
		return lines
	}
	out := lines[n:]
	for i := n - 1; i >= 0; i-- {
		if strings.Contains(lines[i], "Kernel panic") {
			return append([]string{lines[i], "…"}, out...)
		}
	}
	return out
}
