package workspace

import (
	"maps"
	"slices"
	"strings"
	"time"

	"berth/backend"
	"berth/backend/api"
)

// sane returns m as the store can keep it and clients can read it, whatever the provider said: one odd
// machine must not keep the answers about all the others from being written. What a field says stays
// as it is otherwise; it is made harmless where it is shown.
func sane(m backend.Machine) backend.Machine {
	for _, s := range []*string{&m.ID, &m.Name, &m.Instance, &m.Token, (*string)(&m.State), &m.Reason, &m.Size, &m.Image,
		&m.Region, &m.Owner, &m.AssignedTo, &m.Address, &m.User, &m.Workdir} {
		*s = valid(*s)
	}
	if m.State == "" {
		m.State, m.Reason = api.StateUnknown, orElse(m.Reason, "the provider names no state")
	}
	if m.Port < 0 || m.Port > 65535 {
		m.Port = 0
	}
	if y := m.CreatedAt.Year(); y < 1 || y > 9999 { // JSON has no such years
		m.CreatedAt = time.Time{}
	}
	m.MemoryBytes, m.DiskBytes, m.VCPUs = max(m.MemoryBytes, 0), max(m.DiskBytes, 0), max(m.VCPUs, 0)
	if slices.ContainsFunc(m.GPUs, func(g api.GPU) bool { return g.MemoryBytes < 0 || valid(g.Name) != g.Name }) {
		m.GPUs = slices.Clone(m.GPUs)
		for i := range m.GPUs {
			m.GPUs[i].Name, m.GPUs[i].MemoryBytes = valid(m.GPUs[i].Name), max(m.GPUs[i].MemoryBytes, 0)
		}
	}
	if slices.ContainsFunc(m.Notes, func(n string) bool { return valid(n) != n }) {
		m.Notes = slices.Clone(m.Notes)
		for i := range m.Notes {
			m.Notes[i] = valid(m.Notes[i])
		}
	}
	m.Tags, m.Capabilities.Why = validMap(m.Tags), validMap(m.Capabilities.Why)
	return m
}

func valid(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

// validMap returns in with valid text; where it is valid already, in itself.
func validMap(in map[string]string) map[string]string {
	odd := false
	for k, v := range in {
		odd = odd || valid(k) != k || valid(v) != v
	}
	if !odd {
		return in
	}
	out := make(map[string]string, len(in))
	for _, k := range slices.Sorted(maps.Keys(in)) {
		out[valid(k)] = valid(in[k])
	}
	return out
}
