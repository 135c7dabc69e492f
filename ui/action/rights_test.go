package action

import (
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/ui/data"
	"berth/ui/screen"
)

// TestWhatOneMayNotDoIsGreyed: what the service says is denied has a reason, whatever the instance can do.
func TestWhatOneMayNotDoIsGreyed(t *testing.T) {
	all := api.Capabilities{Start: true, Stop: true, Restart: true, Delete: true, Exec: true, Console: true}
	access, stop := api.Needs(api.ActionAccess), api.Needs(api.ActionStop)
	st := data.NewStore()
	st.Apply(data.Delta{Complete: true, Changed: []*api.Instance{
		{ID: "i-1", Name: "assigned", State: api.StateRunning, Capabilities: all, AssignedTo: "bob", Denied: access},
		{ID: "i-2", Name: "found", State: api.StateRunning, Capabilities: all, Owner: api.OwnerUnknown, Denied: access},
		{ID: "i-3", Name: "bobs", State: api.StateRunning, Capabilities: all, Owner: "bob", Denied: access},
		{ID: "i-4", Name: "managed", State: api.StateRunning, Capabilities: all, Denied: stop},
		{ID: "i-5", Name: "mine", State: api.StateRunning, Capabilities: all},
	}})
	e := &screen.Env{Store: st, CanShell: true}
	for id, want := range map[string][3]string{ // shell, console, stop
		"i-1": {"assigned is assigned to bob: it is for them alone", "assigned is assigned to bob: it is for them alone", ""},
		"i-2": {"nobody is known to own found; if it is yours: berth set found owner=me",
			"nobody is known to own found; if it is yours: berth set found owner=me", ""},
		"i-3": {"bobs belongs to bob: it is for them alone", "bobs belongs to bob: it is for them alone", ""},
		"i-4": {"", "", "you may not do that to managed"},
		"i-5": {"", "", ""},
	} {
		for i, verb := range []string{Shell, Console, Stop} {
			require.Equal(t, want[i], Why(e, st.Row(id), verb), "%s of %s", verb, id)
		}
	}
}
