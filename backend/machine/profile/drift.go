package profile

import (
	"slices"

	"berth/backend/api"
	"berth/backend/machine/software"
)

// Hold holds an inventory against what the profiles with which its instance was set up promise: Drift is
// what is not kept. Where the profiles can't be composed (one is gone since), that is among Errors.
func (s *Set) Hold(inv *api.Inventory, profiles []string) {
	inv.Drift = []api.Drift{}
	if len(profiles) == 0 {
		return
	}
	c, err := s.Compose(newest(profiles), Facts{})
	if err != nil {
		inv.Errors = append(inv.Errors, "what its set-up profiles promise is not known: "+err.Error())
		return
	}
	inv.Drift = software.Compare(inv, c.Promises)
}

// newest leaves of several values of a variable the last: an instance may have been set up more than once.
func newest(names []string) []string {
	var out []string
	var seen []choice
	for _, n := range slices.Backward(names) {
		c, err := parseChoice(n)
		if err == nil && c.variable != "" {
			if slices.ContainsFunc(seen, func(o choice) bool { return o.name == c.name && o.variable == c.variable }) {
				continue
			}
			seen = append(seen, c)
		}
		out = append(out, n)
	}
	slices.Reverse(out)
	return out
}
