package profile

import (
	"berth/backend/api"
	"berth/backend/inventory"
)

// Hold holds an inventory against what the profiles with which its instance was set up promise: Drift is
// what is not kept. Where the profiles can't be composed (one is gone since), that is among Errors.
func (s *Set) Hold(inv *api.Inventory, profiles []string) {
	inv.Drift = []api.Drift{}
	if len(profiles) == 0 {
		return
	}
	c, err := s.Compose(profiles, Facts{})
	if err != nil {
		inv.Errors = append(inv.Errors, "what its set-up profiles promise is not known: "+err.Error())
		return
	}
	inv.Drift = inventory.Compare(inv, c.Promises)
}
