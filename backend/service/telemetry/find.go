package telemetry

import (
	"fmt"
	"time"

	"berth/backend/api"
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
	var all []gpu.Finding
	if usable(x.in.State) {
		if x.last != nil && x.silent == nil {
			all = append(all, x.last.Attention...)
			if f, ok := idleGPUs(x); ok {
				all = append(all, f)
			}
		}
		if x.silent != nil && now.Sub(*x.silent) >= silentLimit {
			all = append(all, gpu.Finding{ID: "agent-silent", Rule: "agent-silent", Severity: "warning", Subject: "agent",
				Since: *x.silent,
				Text:  "its agent can't be heard: " + x.why, Advice: "berth show --console " + x.in.Name +
					" shows the machine's console; berth restart " + x.in.Name + " starts it again."})
		}
	}
	said, err := h.o.Workspace.Record(x.in.ID)
	if err != nil {
		return // deleted meanwhile
	}
	x.found = nil
	for _, f := range all {
		a := api.Attention{Finding: f}
		if a.Advice == "" { // a long line leaves it out
			a.Advice = attention.Advice(f)
		}
		if since, ok := said.Acknowledged[f.ID]; ok && since.Equal(f.Since) {
			a.Acknowledged = true
		}
		if until, ok := said.Muted[f.Rule]; ok && now.Before(until) {
			a.MutedUntil = &until
		}
		x.found = append(x.found, a)
		if since, ok := x.told[f.ID]; h.o.Hook != nil && !a.Acknowledged && a.MutedUntil == nil &&
			!(ok && since.Equal(f.Since)) {
			if x.told == nil {
				x.told = map[string]time.Time{}
			}
			x.told[f.ID] = f.Since
			h.callHook(hookCall{host: x, in: x.in, finding: a})
		}
	}
}

// Again looks at an instance's findings again, after somebody said something of them.
func (h *Hub) Again(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if x := h.hosts[id]; x != nil {
		h.find(x)
		h.publish(x)
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
