package workspace

import (
	"slices"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/store"
)

func ptr[T any](v T) *T { return &v }

// public makes the document that clients see, the same for all of them: view completes it for one. w.mu must be held.
func (w *Workspace) public(e *entry) api.Instance {
	in := e.rec.Instance
	in.Agent, in.JobsKept = e.agent, e.post.waiting()
	in.CostTodayUSD = costToday(&e.rec, w.now())
	if e.run != nil {
		in.Operation = ptr(e.run.Snapshot())
	} else {
		in.Operation = e.lastOp
	}
	if in.Tags == nil {
		in.Tags = map[string]string{}
	}
	if in.GPUs == nil {
		in.GPUs = []api.GPU{}
	}
	return in
}

// merge writes what the provider says into the record, all but whose it is, and reports whether anything that is
// shown or kept has changed (the time of observation does not count).
func (w *Workspace) merge(r *store.Instance, m *backend.Machine) bool {
	before := *r
	m = ptr(sane(*m))
	set := func(dst *string, v string) {
		if v != "" {
			*dst = v
		}
	}
	switch {
	case m.State == api.StateRunning && r.SetupFailed != "" && r.State != api.StateSettingUp:
		w.setState(r, api.StateSetupFailed, r.SetupFailed) // the provider does not know
	case m.State == api.StateRunning && r.Unreached != "" && !r.State.Changing():
		w.setState(r, api.StateUnusable, r.Unreached)
	default:
		w.setState(r, m.State, m.Reason)
	}
	r.ProviderID, r.ProviderName = m.ID, m.Name
	set(&r.Size, m.Size)
	set(&r.Image, m.Image)
	set(&r.Region, m.Region)
	set(&r.User, m.User)
	set(&r.Workdir, m.Workdir)
	r.Address, r.Port = m.Address, m.Port
	r.SSHEnabled, r.Adopted = m.SSHEnabled, m.Adopted
	if m.GPUs != nil {
		r.GPUs = m.GPUs
	}
	if m.VCPUs > 0 {
		r.VCPUs = m.VCPUs
	}
	if m.MemoryBytes > 0 {
		r.MemoryBytes = m.MemoryBytes
	}
	if m.DiskBytes > 0 {
		r.DiskBytes = m.DiskBytes
	}
	if m.Tags != nil {
		r.Tags = m.Tags
	}
	r.Notes, r.Capabilities = m.Notes, m.Capabilities
	if r.Foreign {
		r.Notes = append(slices.Clone(m.Notes), foreignNote)
	}
	if m.Line != (backend.Line{}) {
		r.Line = w.lineOf(r, m.Line)
	}
	if m.Data != nil {
		r.Data = m.Data
	}
	if r.CreatedAt.IsZero() {
		r.CreatedAt = m.CreatedAt
	}
	now := w.now().UTC()
	r.ObservedAt = &now
	return !sameRecord(&before, r)
}

// setState changes the state shown, the time since when, and the running time that is billed.
func (w *Workspace) setState(r *store.Instance, s api.State, reason string) {
	now := w.now().UTC()
	if r.State != s || r.StateSince.IsZero() {
		r.StateSince, r.UpdatedAt = now, now
	}
	r.State, r.StateReason = s, reason
	countUsage(r, now)
}

// billed reports whether the provider charges for compute in this state.
func billed(s api.State) bool {
	switch s {
	case api.StateRunning, api.StateSettingUp, api.StateRestarting, api.StateStarting, api.StateStopping,
		api.StateSetupFailed:
		return true
	}
	return false
}

const dayLayout = "2006-01-02"

// countUsage opens or closes the running period of the record at now, beginning a new day's count
// where the day has changed.
func countUsage(r *store.Instance, now time.Time) {
	u := &r.Usage
	today := now.Local().Format(dayLayout)
	if u.Day != today {
		u.Day, u.Seconds = today, 0
		if u.Since != nil {
			if m := midnight(now); u.Since.Before(m) {
				u.Since = &m
			}
		}
	}
	switch on := billed(r.State); {
	case on && u.Since == nil:
		t := now
		u.Since = &t
	case !on && u.Since != nil && r.State != api.StateUnknown: // unknown may well go on costing
		if d := now.Sub(*u.Since).Seconds(); d > 0 { // the clock may have jumped back
			u.Seconds += d
		}
		u.Since = nil
	}
}

func midnight(now time.Time) time.Time {
	y, m, d := now.Local().Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.Local).UTC()
}

// costToday is the compute cost since midnight in US dollars, or nil where the price is not known.
func costToday(r *store.Instance, now time.Time) *float64 {
	if r.PriceUSDPerHour == nil {
		return nil
	}
	secs := 0.0
	if r.Usage.Day == now.Local().Format(dayLayout) {
		secs = r.Usage.Seconds
	}
	if s := r.Usage.Since; s != nil {
		from := *s
		if m := midnight(now); from.Before(m) {
			from = m
		}
		if d := now.Sub(from).Seconds(); d > 0 {
			secs += d
		}
	}
	v := secs / 3600 * *r.PriceUSDPerHour
	return &v
}
