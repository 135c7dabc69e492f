package workspace

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/store"
)

// aliasSetting is the setting with the names that the person of a personal workspace has at its backends: a JSON array
// of BACKEND/IDENTITY. They are kept so that nobody is locked out while a provider can't be asked.
const aliasSetting = "aliases"

// loadAliases reads the person's names. A store of a build that kept none holds them in its records: what stood there
// as an owner could be opened, so the person is taken for all of them. It could not where the instance was assigned,
// but to the person: who that is, only their backend says, unless it is private.
func (w *Workspace) loadAliases(ctx context.Context, recs []store.Instance) error {
	w.aliases = map[string]bool{}
	text, err := w.opts.Store.Setting(ctx, aliasSetting)
	if err != nil {
		return err
	}
	if text != "" {
		var names []string
		if err := json.Unmarshal([]byte(text), &names); err != nil {
			return api.Errorf(api.CodeStore, "the setting %q of the store can't be read: %w", aliasSetting, err)
		}
		for _, n := range names {
			w.aliases[n] = true
		}
		return nil
	}
	assigned := map[string]bool{}
	for i := range recs {
		b := w.opts.Backends[recs[i].Backend]
		if who := recs[i].AssignedTo; who != "" && (b == nil || !b.Info().Private) {
			assigned[alias(recs[i].Backend, who)] = true
		}
	}
	for i := range recs {
		r := &recs[i]
		if name := alias(r.Backend, r.Owner); r.Owner != "" && r.Owner != api.OwnerUnknown && !assigned[name] {
			w.aliases[name] = true
		}
	}
	return w.opts.Store.Apply(ctx, w.aliasChange())
}

func alias(backendName, who string) string { return backendName + "/" + backend.NormalIdentity(who) }

// aliasChange stores the person's names.
func (w *Workspace) aliasChange() *store.Change {
	b, _ := json.Marshal(slices.Sorted(maps.Keys(w.aliases))) // strings: it can't fail
	return &store.Change{Settings: map[string]string{aliasSetting: string(b)}}
}

// learn notes what the person is called at a backend. Where that can't be stored it counts until the daemon ends, and
// is to be learned again. w.mu must not be held.
func (w *Workspace) learn(backendName, who string) error {
	w.learning.Lock() // of two writes the later has all names
	defer w.learning.Unlock()
	w.mu.Lock()
	known := who == "" || w.aliases[alias(backendName, who)] && !w.unkept
	var c *store.Change
	if !known {
		w.aliases[alias(backendName, who)], w.unkept = true, true
		c = w.aliasChange()
	}
	w.mu.Unlock()
	if known {
		return nil
	}
	if err := w.commit(c, func() { w.unkept = false }); err != nil {
		return fmt.Errorf("keeping who you are at %s: %w", backendName, err)
	}
	return nil
}

// isMe reports whether who, a name at a backend, is the principal. w.mu must be held.
func (w *Workspace) isMe(p backend.Principal, backendName, who string) bool {
	if who == "" || who == api.OwnerUnknown {
		return false
	}
	return who == p.ID || w.isPerson(p) && (who == w.opts.Person.ID || w.aliases[alias(backendName, who)])
}

// isPerson reports whether a principal is the one person of a personal workspace, or acts for them.
func (w *Workspace) isPerson(p backend.Principal) bool {
	return w.opts.Person.ID == "" || p.ID == w.opts.Person.ID || p.Kind == backend.PrincipalSystem
}
