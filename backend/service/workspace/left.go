package workspace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/operation"
	"berth/backend/service/store"
)

// What stays on machines that were forgotten all the same (rm --force) is kept, so that doctor can tell of it.

// leftSetting is the setting with it.
const leftSetting = "left"

// leftDoc is the setting's document.
type leftDoc struct {
	Version int         `json:"version"`
	Left    []leftEntry `json:"left"`
}

// leftVersion is the version of the document that this build writes, and the newest that it reads.
const leftVersion = 1

// leftEntry is what stays on one machine.
type leftEntry struct {
	ID         string       `json:"id"` // the instance's
	Name       string       `json:"name"`
	ProviderID string       `json:"provider_id"`
	Line       backend.Line `json:"line"`
	Host       string       `json:"host"`
	Path       string       `json:"path,omitempty"`
	Command    string       `json:"command,omitempty"`
	Why        string       `json:"why"`
	At         time.Time    `json:"at"`
}

// letGo closes the line; from an adopted machine it first removes the agent and its folder. What can't be removed is a
// failure, and the instance stays; with --force it is forgotten all the same, and kept in mind.
func letGo(ctx context.Context, w *Workspace, r *operation.Run) error {
	_, rec, err := w.target(r)
	if err != nil {
		return err
	}
	cctx, cancel := context.WithTimeout(ctx, min(w.limits.Agent, 15*time.Second))
	defer cancel()
	uninstall := ""
	if rec.Adopted {
		uninstall = w.homeID
	}
	shared, err := w.opts.Dialer.Forget(cctx, rec.Endpoint(), uninstall)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil && shared != nil:
		return w.warn(ctx, r, "agent.stays", "%s", stays(rec.Name, shared))
	case err == nil:
		return nil
	}
	e := w.leftBy(&rec, err)
	code := api.AsError(err).Code
	if errors.Is(err, context.DeadlineExceeded) {
		code = api.CodeUnreachable
	}
	if !r.Record().Force {
		return api.Errorf(code, "%s is not forgotten, because %s", rec.Name, e.says()).
			WithHint("%s; berth rm --force %s forgets it all the same", e.fix("berth rm "+rec.Name), rec.Name)
	}
	if err := w.leave(ctx, e); err != nil {
		return err
	}
	if _, err := w.opts.Dialer.Forget(ctx, rec.Endpoint(), ""); err != nil {
		w.log.Warn("closing the line of an instance that is forgotten", "instance", rec.Name, "error", err)
	}
	return w.warn(ctx, r, "agent.left", "%s; %s; berth doctor keeps this in mind", e.says(), e.fix("berth doctor --remove "+
		e.orphan()))
}

// stays says for whom an agent stays on a machine. One that stays for an older Berth alone may stay for nobody: then
// it is said what stays, until when the older one counts, and what removes it.
func stays(name string, shared *backend.Shared) string {
	says := fmt.Sprintf("the agent stays on %s, for %s: what was opened from here has ended", name,
		strings.Join(api.NameHomes(shared.Others), ", "))
	until, nameless := api.NamelessUntil(shared.Others)
	if !nameless {
		return says
	}
	says += fmt.Sprintf("; an older Berth does not say who it is, and counts until %s; nothing removes the agent, "+
		"with its folder %s, after that", until.Local().Format(time.DateOnly), shared.Path)
	if shared.Command == "" {
		return says
	}
	return says + "; if that was this Berth before its upgrade, this does, there: " + shared.Command
}

// leftBy is what a removal that failed has left.
func (w *Workspace) leftBy(rec *store.Instance, err error) leftEntry {
	e := leftEntry{ID: rec.ID, Name: rec.Name, ProviderID: rec.ProviderID, Line: rec.Line, At: w.now().UTC(),
		Host: rec.Name, Why: err.Error()}
	var left *backend.Left
	if errors.As(err, &left) {
		e.Host, e.Path, e.Command, e.Why = left.Host, left.Path, left.Command, left.Err.Error()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		e.Why = "it did not answer in time"
	}
	return e
}

// says tells what stays where, and why.
func (e *leftEntry) says() string {
	what := "Berth's agent, with its folder " + e.Path + ","
	if e.Path == "" {
		what = "what Berth may have put there"
	}
	return fmt.Sprintf("%s could not be removed from %s: %s", what, e.Host, e.Why)
}

// fix says what removes it: a command there, or berth's own (again) from here.
func (e *leftEntry) fix(again string) string {
	fix := "when it can be reached: " + again
	if e.Command != "" {
		fix += "; or there: " + e.Command
	}
	return fix
}

// leftMark tells, in the id of an orphan, what stays on a machine that was forgotten.
const leftMark = "left:"

func (e *leftEntry) orphan() string { return leftMark + e.ID }

// leftBehind reads what stays on forgotten machines.
func (w *Workspace) leftBehind(ctx context.Context) ([]leftEntry, error) {
	text, err := w.opts.Store.Setting(ctx, leftSetting)
	if err != nil || text == "" {
		return nil, err
	}
	var doc leftDoc
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return nil, api.Errorf(api.CodeStore, "the setting %q of the store can't be read: %w", leftSetting, err)
	}
	if doc.Version > leftVersion {
		return nil, api.Errorf(api.CodeVersion, "the setting %q of the store is of a newer Berth", leftSetting)
	}
	return doc.Left, nil
}

// changeLeft stores what change makes of what stays on forgotten machines.
func (w *Workspace) changeLeft(ctx context.Context, change func([]leftEntry) []leftEntry) error {
	w.leaving.Lock()
	defer w.leaving.Unlock()
	was, err := w.leftBehind(ctx)
	if err != nil {
		return err
	}
	now := change(slices.Clone(was))
	if len(now) == 0 && len(was) == 0 {
		return nil
	}
	b, err := json.Marshal(leftDoc{Version: leftVersion, Left: now})
	if err != nil {
		return fmt.Errorf("writing what stays on forgotten machines: %w", err)
	}
	return w.commit(&store.Change{Settings: map[string]string{leftSetting: string(b)}}, nil)
}

// leave keeps in mind what stays on a machine.
func (w *Workspace) leave(ctx context.Context, e leftEntry) error {
	return w.changeLeft(ctx, func(all []leftEntry) []leftEntry {
		return append(slices.DeleteFunc(all, func(o leftEntry) bool { return o.ID == e.ID }), e)
	})
}

// cameBack forgets what stayed on a machine that was taken in again: it is in use.
func (w *Workspace) cameBack(ctx context.Context, providerID string) error {
	return w.changeLeft(ctx, func(all []leftEntry) []leftEntry {
		return slices.DeleteFunc(all, func(o leftEntry) bool { return o.ProviderID == providerID })
	})
}

// left says what stays on machines that were forgotten.
func (d Doctor) left(ctx context.Context) []api.Check {
	all, err := d.w.leftBehind(ctx)
	if err != nil {
		return []api.Check{{Area: "leftover", Name: "forgotten machines", Status: "fail", Message: err.Error()}}
	}
	var out []api.Check
	for _, e := range all {
		out = append(out, api.Check{Area: "leftover", Name: e.Name, Status: "warn",
			Message: fmt.Sprintf("%s was forgotten on %s, although %s", e.Name, e.At.Local().Format(time.DateOnly), e.says()),
			Fix:     e.fix("berth doctor --remove "+e.orphan()) + "; with --force this is forgotten, too", OrphanID: e.orphan()})
	}
	return out
}

// removeLeft removes what stays on a forgotten machine; with force only what is known of it.
func (d Doctor) removeLeft(ctx context.Context, id string, force bool) error {
	w := d.w
	all, err := w.leftBehind(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(e leftEntry) bool { return e.orphan() == id })
	if i < 0 {
		return api.Errorf(api.CodeNotFound, "nothing is known to stay on a forgotten machine with the id %q",
			strings.TrimPrefix(id, leftMark)).WithHint("berth doctor lists what is")
	}
	e := all[i]
	if !force {
		to := backend.Endpoint{ID: e.ID, Name: e.Name, State: api.StateRunning, Line: e.Line}
		_, err := within(ctx, w, "removing what stays on "+e.Host, func(ctx context.Context) (*backend.Shared, error) {
			return w.opts.Dialer.Forget(ctx, to, w.homeID)
		})
		if err != nil {
			return api.Errorf(api.AsError(err).Code, "what stays on %s: %w", e.Host, err).
				WithHint("if the machine is gone, or was cleaned by hand: berth doctor --remove %s --force", id)
		}
	}
	return w.changeLeft(ctx, func(all []leftEntry) []leftEntry {
		return slices.DeleteFunc(all, func(o leftEntry) bool { return o.orphan() == id })
	})
}
