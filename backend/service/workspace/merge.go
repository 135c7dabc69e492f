package workspace

import (
	"maps"
	"strings"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/store"
)

// listed merges a complete list of a backend's machines, which becomes its own, that was asked for at began.
func (w *Workspace) listed(name, account string, private bool, ms []backend.Machine, began time.Time) {
	byToken, byID := map[string]*backend.Machine{}, map[string]*backend.Machine{}
	for i := range ms {
		ms[i] = sane(ms[i])
		if ms[i].ID != "" { // pages that overlap repeat a machine: one of them counts
			byID[ms[i].ID] = &ms[i]
		}
	}
	for _, m := range byID {
		if m.Token != "" {
			byToken[m.Token] = m
		}
	}
	// What is being written just now is merged when that is done; the others don't wait for it.
	free, busy := w.claimAll(name)
	func() {
		defer release(free)
		w.mergeList(list{name, account, private, byID, byToken, began}, free, true)
	}()
	for _, id := range busy {
		e, done, err := w.claim(id)
		if err != nil {
			continue // deleted meanwhile
		}
		func() {
			defer done()
			w.mergeList(list{name, account, private, byID, byToken, began}, []*entry{e}, false)
		}()
	}
}

// claimAll claims the instances of a backend of which nothing is being written. Of the others it returns the ids.
func (w *Workspace) claimAll(name string) (free []*entry, busy []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, e := range w.entries {
		switch {
		case e.rec.Backend != name:
		case e.turn.TryLock():
			free = append(free, e)
		default:
			busy = append(busy, id)
		}
	}
	return free, busy
}

// release gives back the turns of instances.
func release(es []*entry) {
	for _, e := range es {
		e.turn.Unlock()
	}
}

// list is a complete list of a backend's machines.
type list struct {
	name    string
	account string // under which it was asked for
	private bool
	byID    map[string]*backend.Machine
	byToken map[string]*backend.Machine
	began   time.Time // when it was asked for
}

// mergeList merges a list into the records of instances whose turns are held. With take, machines that are not known
// are taken into the fleet; it is asked for once a list.
func (w *Workspace) mergeList(l list, es []*entry, take bool) {
	var c store.Change
	var arriving []string // names that are reserved
	defer func() {
		for _, key := range arriving {
			w.arrived(key)
		}
	}()
	func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, e := range es {
			w.mergeListed(&c, &l, e)
		}
		if take {
			arriving = w.takeIn(&c, &l)
		}
	}()
	if err := w.commit(&c, nil); err != nil {
		w.log.Error("writing what a backend says", "backend", l.name, "error", err)
	}
}

// of is the machine of a record.
func (l *list) of(rec *store.Instance) *backend.Machine {
	if rec.ProviderID != "" { // a machine that was made like it has its tags, and is another
		return l.byID[rec.ProviderID]
	}
	return l.byToken[rec.Token]
}

// mergeListed adds to c what a list says of one instance. w.mu must be held.
func (w *Workspace) mergeListed(c *store.Change, l *list, e *entry) {
	// What an operation is changing, it observes itself; what came after the list, or was changed meanwhile, is not in it.
	if e.run != nil || e.freed.After(l.began) || e.rec.Adopted || e.rec.CreatedAt.After(l.began) ||
		e.rec.State == api.StateCreateFailed {
		return
	}
	rec := e.rec
	m := l.of(&rec)
	switch {
	case rec.Account != "" && rec.Account != l.account: // the list says nothing of it
		return
	case m != nil:
		rec.Account = l.account
		w.merge(&rec, m)
	case rec.Account != l.account:
		w.setState(&rec, api.StateUnknown, elsewhere(l.account))
	default:
		rec.ObservedAt = ptr(w.now().UTC())
		w.setState(&rec, api.StateUnusable, "its machine is gone: it was deleted outside Berth")
	}
	w.observed(c, e, rec)
}

// observed adds to c what was seen of an instance. w.mu must be held.
func (w *Workspace) observed(c *store.Change, e *entry, rec store.Instance) {
	if sameRecord(&rec, &e.rec) {
		e.rec.ObservedAt = rec.ObservedAt
		return
	}
	c.Instances = append(c.Instances, rec)
	if rec.State != e.rec.State {
		c.Events = append(c.Events, w.event("instance.state", "info", &rec, nil, backend.Principal{}, "is now %s%s", rec.State,
			because(rec.StateReason)))
	}
}

// takeIn adds to c the live machines of a list that nobody knows. Their names, which it returns, are reserved until
// they are in the store. w.mu must be held.
func (w *Workspace) takeIn(c *store.Change, l *list) (arriving []string) {
	known := map[*backend.Machine]bool{}
	for _, e := range w.entries {
		if m := l.of(&e.rec); m != nil && e.rec.Backend == l.name {
			known[m] = true
		}
	}
	for _, m := range l.byID {
		if w.gone[l.name+"/"+m.ID].After(l.began) || (m.Token != "" && w.gone[l.name+"/"+m.Token].After(l.began)) {
			continue // deleted while the list was on its way
		}
		if known[m] || !(l.private || w.ours(m)) || m.State == api.StateDeleting {
			continue
		}
		rec := w.imported(l.name, l.private, m)
		rec.Account = l.account
		key := strings.ToLower(rec.Name)
		if w.arriving[key] == nil {
			w.arriving[key] = &arrival{done: make(chan struct{})}
			arriving = append(arriving, key)
		}
		c.Instances = append(c.Instances, rec)
		c.Events = append(c.Events, w.event("instance.imported", "info", &rec, nil, backend.Principal{},
			"found at backend %s and taken into the fleet", l.name))
	}
	maps.DeleteFunc(w.gone, func(key string, at time.Time) bool {
		return strings.HasPrefix(key, l.name+"/") && !at.After(l.began)
	})
	return arriving
}

// imported makes the record of a live machine that the store does not know. w.mu must be held.
func (w *Workspace) imported(name string, private bool, m *backend.Machine) store.Instance {
	called := orElse(m.Instance, orElse(m.Name, m.ID))
	rec := store.Instance{Instance: api.Instance{ID: newID("i-"), Name: called, Backend: name,
		CreatedAt: m.CreatedAt}, Token: m.Token, Foreign: !private && m.Tags[backend.TagHome] != w.homeID}
	taken := func(n string) bool {
		for _, e := range w.entries {
			if e.rec.Backend == name && strings.EqualFold(e.rec.Name, n) {
				return true
			}
		}
		for key := range w.arriving {
			if strings.EqualFold(key, n) {
				return true
			}
		}
		return false
	}
	// same backend and name: two stores made it
	for _, more := range []string{"-" + rec.ID[len(rec.ID)-4:], "-" + rec.ID} {
		if taken(rec.Name) {
			rec.Name = called + more
		}
	}
	w.merge(&rec, m)
	// Tags can be edited by whoever has rights to them: they count once, and only where they name somebody who is known.
	mine := func(who string) bool { return w.isMe(w.opts.Person, name, who) }
	rec.Owner = api.OwnerUnknown
	if private || mine(m.Owner) {
		rec.Owner = m.Owner
	}
	if mine(m.AssignedTo) {
		rec.AssignedTo = m.AssignedTo
	}
	return rec
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// listFailed shows the instances of an account that can't be asked for as unknown.
func (w *Workspace) listFailed(name, account string, cause error) {
	unknown := func(es []*entry) {
		var c store.Change
		func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, e := range es {
				if e.run == nil && e.rec.Account == account &&
					e.rec.State != api.StateUnknown && e.rec.State != api.StateCreateFailed {
					rec := e.rec
					w.setState(&rec, api.StateUnknown, cause.Error())
					c.Instances = append(c.Instances, rec)
				}
			}
		}()
		if err := w.commit(&c, nil); err != nil {
			w.log.Error("writing what a backend says", "backend", name, "error", err)
		}
	}
	free, busy := w.claimAll(name)
	func() {
		defer release(free)
		unknown(free)
	}()
	for _, id := range busy {
		if e, done, err := w.claim(id); err == nil {
			func() {
				defer done()
				unknown([]*entry{e})
			}()
		}
	}
}
