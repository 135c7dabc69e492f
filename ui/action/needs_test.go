package action

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/ui/data"
	"berth/ui/screen"
)

// TestWhatAnOlderAgentLacksIsGreyed reads a fleet as it comes from the daemon: a verb that needs a newer agent is
// greyed for the instance with an older one only, with the reason.
func TestWhatAnOlderAgentLacksIsGreyed(t *testing.T) {
	needs[Console] = api.Feature{What: "the console", Since: 3, In: "0.3.0"}
	defer delete(needs, Console)
	var batch []*api.Instance
	require.NoError(t, json.Unmarshal([]byte(`[
		{"id":"i-1","name":"old","state":"running","capabilities":{"console":true},
			"agent":{"state":"ready","version":"0.2.4","capability":2}},
		{"id":"i-2","name":"older","state":"running","capabilities":{"console":true},"agent":{"state":"ready"}},
		{"id":"i-3","name":"new","state":"running","capabilities":{"console":true},"agent":{"state":"ready","capability":3}},
		{"id":"i-4","name":"unknown","state":"running","capabilities":{"console":true},"agent":{"state":"connecting"}}
		]`), &batch))
	st := data.NewStore()
	st.Apply(data.Delta{Changed: batch, Complete: true})
	e := &screen.Env{Store: st}
	for id, why := range map[string]string{
		"i-1": "the console needs Berth 0.3.0 or newer: the agent of old is older, 0.2.4",
		"i-2": "the console needs Berth 0.3.0 or newer: the agent of older is older",
		"i-3": "", "i-4": "",
	} {
		require.Equal(t, why, Why(e, st.Row(id), Console))
		require.Empty(t, Why(e, st.Row(id), Snapshot+"s"), "no other verb is touched")
	}
}
