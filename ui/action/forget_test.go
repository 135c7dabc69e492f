package action

import (
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

// TestForgettingSaysWhatEnds: terminals by name, commands by their number; whose they are is not known where others use
// the agent, too.
func TestForgettingSaysWhatEnds(t *testing.T) {
	one := []api.Terminal{{ID: "3", Command: "bash"}}
	bob := []api.HomeUse{{Home: api.Home{ID: "b", Name: "bob@desk"}}}
	for want, d := range map[string]api.Departure{
		"No terminal ends.":                                                               {},
		"1 terminal ends: 3 (bash). 2 commands end.":                                      {Ends: one, Commands: 2},
		"No terminal ends. 1 command ends.":                                               {Commands: 1},
		"No terminal ends. 1 command runs there: what was begun from here ends.":          {Commands: 1, Others: bob},
		"1 terminal ends: 3 (bash). 3 commands run there: what was begun from here ends.": {Ends: one, Commands: 3, Others: bob},
	} {
		require.Equal(t, want, Ends(d))
	}
}
