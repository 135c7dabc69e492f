package workspace

import (
	"context"
	"errors"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/machine/keys"
	"berth/backend/service/store"
)

// Membership is which workspace this home belongs to. Several homes may belong to one: each takes the machines of the
// others into its fleet, and none takes them for left behind.
type Membership struct{ w *Workspace }

// The settings of a store that say so. A home that joins another workspace goes on looking for what it made before.
const (
	settingWorkspace = "workspace_id"
	settingFormer    = "former_workspace_ids" // with commas between
)

// workspaceIDs are the forms of ids that newID makes.
var workspaceIDs = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-f]{16}$`) })

// load reads which workspace this is.
func (m Membership) load(ctx context.Context) (err error) {
	w := m.w
	if w.id, err = setting(ctx, w.opts.Store, settingWorkspace); err != nil {
		return err
	}
	former, err := w.opts.Store.Setting(ctx, settingFormer)
	w.former = strings.FieldsFunc(former, func(r rune) bool { return r == ',' })
	return err
}

// Join makes this home one of the workspace with that id, for good, and returns what is then seen of the others.
func (m Membership) Join(ctx context.Context, q api.JoinRequest) (api.Joined, error) {
	w := m.w
	if !workspaceIDs().MatchString(q.ID) {
		return api.Joined{}, api.Errorf(api.CodeUsage, "%.40q is no id of a workspace: 16 digits and letters a to f", q.ID).
			WithHint("berth workspace show, in the home that made the machines, prints it")
	}
	if err := m.takeKey(q); err != nil {
		return api.Joined{}, err
	}
	former, err := m.become(ctx, q.ID)
	if err != nil {
		return api.Joined{}, err
	}
	w.Reconciler.Reconcile(ctx)
	out := api.Joined{ID: q.ID, Former: former, Imported: []string{}}
	for _, in := range w.Instances(ctx, api.ListOptions{}) {
		if rec, err := w.Record(in.ID); err == nil && rec.Foreign {
			out.Imported = append(out.Imported, in.Name)
		}
	}
	return out, nil
}

// become writes down which workspace this home belongs to, and returns those that it did before.
func (m Membership) become(ctx context.Context, id string) ([]string, error) {
	w := m.w
	w.joining.Lock()
	defer w.joining.Unlock()
	w.mu.Lock()
	was, former := w.id, w.former
	w.mu.Unlock()
	if was == id {
		return former, nil
	}
	former = slices.DeleteFunc(append(slices.Clone(former), was), func(x string) bool { return x == id })
	return former, w.commit(&store.Change{
		Settings: map[string]string{settingWorkspace: id, settingFormer: strings.Join(former, ",")},
		Events: []*api.Event{w.event("workspace.joined", "info", nil, nil, backend.CallerFrom(ctx).Principal,
			"this home joined the workspace %s; it was %s", id, was)}}, func() { w.id, w.former = id, former })
}

// ours reports whether a machine's tags name the workspace of this home, or one that it was. w.mu must be held.
func (w *Workspace) ours(m *backend.Machine) bool {
	id := m.Tags[backend.TagWorkspace]
	return id != "" && (id == w.id || slices.Contains(w.former, id))
}

// foreignNote is what a machine that another home made does not promise here.
const foreignNote = "Another home of this workspace made it: what is deleted here is gone there too. " +
	"berth help workspace says how to get in."

// retag has what this home made before it joined carry the workspace's id, so that the other homes see it. A machine
// that can't be tagged now is when its backend is listed again.
func (w *Workspace) retag(ctx context.Context, name string, ms []backend.Machine) {
	b, ok := w.opts.Backends[name].(backend.Tagger)
	if !ok {
		return
	}
	for i := range ms {
		m := &ms[i]
		rec, tags := w.outdated(name, m)
		if rec == nil {
			continue
		}
		cctx, cancel := context.WithTimeout(ctx, w.limits.Call)
		_, err := guarded(w, "tagging "+rec.Name, func() (struct{}, error) { return struct{}{}, b.Retag(cctx, ref(rec), tags) })
		cancel()
		if err != nil && !errors.Is(err, backend.ErrNotFound) {
			w.log.Warn("the tag of its workspace could not be changed", "instance", rec.Name, "error", err)
			return
		}
	}
}

// outdated returns the record of a machine that this home made as one of a workspace that it was before, and what its
// tags are to be; nil: it is none.
func (w *Workspace) outdated(name string, m *backend.Machine) (*store.Instance, map[string]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.Tags[backend.TagHome] != w.homeID || !slices.Contains(w.former, m.Tags[backend.TagWorkspace]) {
		return nil, nil
	}
	for _, e := range w.entries {
		if e.rec.Backend == name && e.rec.ProviderID == m.ID {
			rec := e.rec
			tags := maps.Clone(m.Tags)
			tags[backend.TagWorkspace] = w.id
			return &rec, tags
		}
	}
	return nil, nil
}

// takeKey keeps the key of another home's workspace, which opens what that home made.
func (m Membership) takeKey(q api.JoinRequest) error {
	if q.KeyPath == "" {
		return nil
	}
	if m.w.opts.KeyPath == "" {
		return api.Errorf(api.CodeUnsupported, "this workspace has no keys")
	}
	if _, err := os.Stat(q.KeyPath); err != nil {
		return api.Errorf(api.CodeUsage, "the key can't be read: %w", err)
	}
	if err := keys.Copy(q.KeyPath, m.w.joinedKey(q.ID)); err != nil {
		return api.Errorf(api.CodeUsage, "%w", err)
	}
	return nil
}

// joinedKey is where the key of another home of the workspace is kept.
func (w *Workspace) joinedKey(id string) string { return w.opts.KeyPath + "-" + id }

// foreignLine is the line to a machine that another home made. It is reached as any machine that exists: whose host key
// is asked about once, and with the user's own keys, unless the key of that home was handed over (Join).
func (w *Workspace) foreignLine(r *store.Instance, t backend.SSHTarget) backend.Line {
	t.Made, t.HostKey, t.PinnedBy = false, "", ""
	if key := w.joinedKey(r.Tags[backend.TagWorkspace]); keys.Exists(key) {
		t.IdentityFile = key
	}
	return backend.Line{SSH: &t}
}
