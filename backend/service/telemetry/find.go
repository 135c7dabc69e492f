package telemetry

import (
	"fmt"
	"time"

	"berth/backend/api"
	"berth/backend/base/paths"
	"berth/backend/service/store"
	"berth/gpu"
	"berth/gpu/attention"
)

const (
	// idleLimit is from when on a GPU that does nothing and is billed wants attention.
	idleLimit = 15 * time.Minute
	// silentLimit is from when on an agent that says nothing does.
	silentLimit = time.Minute
	// toldFor is how long it is remembered that the hook was called for a finding.
	toldFor = 30 * 24 * time.Hour
)

// find brings together what the agent finds and what only the workspace can find, with what people said of
// it, and calls the hook for what is new. h.mu must be held.
func (h *Hub) find(x *host) {
	now := h.o.Now().UTC()
	said, err := h.o.Workspace.Record(x.in.ID)
	if err != nil {
		return // deleted meanwhile
	}
	x.here = said.Line.Socket != ""
	var all []gpu.Finding
	ofHost := 0 // how many of all are about the host
	if usable(x.in.State) {
		if x.last != nil && x.silent == nil {
			all = append(all, x.last.Attention...)
			ofHost = len(all)
			if f, ok := idleGPUs(x); ok {
				all = append(all, f)
			}
		}
		if f, ok := wrongClock(x); ok && x.silent == nil {
			all = append(all, f)
		}
		if x.silent != nil && now.Sub(*x.silent) >= silentLimit {
			all = append(all, gpu.Finding{ID: "agent-silent", Rule: "agent-silent", Severity: "warning", Subject: "agent",
				Since: *x.silent,
				Text:  "its agent can't be heard: " + x.why, Advice: "berth show --console " + x.in.Name +
					" shows the machine's console; berth restart " + x.in.Name + " starts it again."})
		}
	}
	x.found = nil
	for i, f := range all {
		a := api.Attention{Finding: f}
		if a.Advice == "" { // a long line leaves it out
			a.Advice = attention.Advice(f)
		}
		with := []told{{f, said, x.told}}
		if x.here && i < ofHost {
			a.Host = paths.MachineID()
			with = append(with, h.alike(x, f.ID)...)
		}
		known := false
		for _, t := range with {
			if since, ok := t.said.Acknowledged[t.Finding.ID]; ok && since.Equal(t.Since) {
				a.Acknowledged = true
			}
			if until, ok := t.said.Muted[f.Rule]; ok && now.Before(until) &&
				(a.MutedUntil == nil || until.After(*a.MutedUntil)) {
				a.MutedUntil = &until
			}
			since, ok := t.hooked[f.ID]
			known = known || ok && since.Equal(t.Since)
		}
		x.found = append(x.found, a)
		if since, ok := x.told[f.ID]; h.o.Hook != nil && !a.Acknowledged && a.MutedUntil == nil &&
			!(ok && since.Equal(f.Since)) {
			if x.told == nil {
				x.told = map[string]time.Time{}
			}
			x.told[f.ID] = f.Since
			h.callHook(hookCall{host: x, in: x.in, finding: a, known: known})
		}
	}
}

// told is a finding of one instance, with what was said of it and when the hook was called.
type told struct {
	gpu.Finding
	said   store.Instance
	hooked map[string]time.Time
}

// alike are the findings of other instances on this very host that are the same one: their agents see one disk each by
// itself. h.mu must be held.
func (h *Hub) alike(x *host, id string) (out []told) {
	for _, o := range h.hosts {
		if o == x || !o.here || !usable(o.in.State) || o.last == nil || o.silent != nil {
			continue
		}
		for _, f := range o.last.Attention {
			if f.ID != id {
				continue
			}
			if said, err := h.o.Workspace.Record(o.in.ID); err == nil {
				out = append(out, told{f, said, o.told})
			}
		}
	}
	return out
}

// Again looks at an instance's findings again, after somebody said something of them, and at those of instances that
// share its host.
func (h *Hub) Again(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	x := h.hosts[id]
	if x == nil {
		return
	}
	for _, o := range h.hosts {
		if o == x || o.here && x.here {
			h.find(o)
			h.publish(o)
		}
	}
}

// idleGPUs is the finding of GPUs that are billed and do nothing.
func idleGPUs(x *host) (gpu.Finding, bool) {
	s, price := x.last, x.in.RunningUSDPerHour
	if s.GPUIdleSince == nil || price == nil || *price <= 0 || len(s.GPUs) == 0 {
		return gpu.Finding{}, false
	}
	// Both times are the instance's own clock.
	quiet := s.At.Sub(*s.GPUIdleSince)
	if quiet < idleLimit {
		return gpu.Finding{}, false
	}
	what := "its GPU has"
	if len(s.GPUs) > 1 {
		what = fmt.Sprintf("its %d GPUs have", len(s.GPUs))
	}
	return gpu.Finding{ID: gpu.IdleRule, Rule: gpu.IdleRule, Severity: "warning", Subject: "GPUs",
			Since:  s.GPUIdleSince.UTC(),
			Text:   fmt.Sprintf("%s done nothing for %s, at $%.2f an hour", what, minutes(quiet), *price),
			Advice: "If nobody needs it now: berth stop " + x.in.Name + " ends the charge for the machine, and keeps its disk."},
		true
}

// minutes writes a time for people, to the minute.
func minutes(d time.Duration) string {
	if d < time.Hour {
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}
