package action

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/ui/data"
	"berth/ui/dialog"
	"berth/ui/screen"
	"berth/ui/theme"
)

// infoAgent is an agent that says of itself what a test wants.
type infoAgent struct {
	screen.Agent
	info api.AgentInfo
}

func (a infoAgent) Info(context.Context) (api.AgentInfo, error) { return a.info, nil }

// TestAStopNamesTheJobs: a confirmation says how many jobs run and wait, by what was known last, and then by what the
// agent says.
func TestAStopNamesTheJobs(t *testing.T) {
	all := api.Capabilities{Stop: true, Restart: true, Delete: true}
	for _, x := range []struct {
		verb       string
		known, now api.JobCounts
		said, then string
	}{
		{Stop, api.JobCounts{Running: 2, Waiting: 1}, api.JobCounts{Running: 1},
			"vision: 2 jobs run, 1 waits. What runs ends; a job with --retries runs again later.",
			"vision: 1 job runs. What runs ends; a job with --retries runs again later."},
		{Restart, api.JobCounts{}, api.JobCounts{Waiting: 3}, "", "vision: 3 jobs wait until it runs again."},
		{Delete, api.JobCounts{Running: 1}, api.JobCounts{}, "vision: 1 job runs. All are lost.", ""},
	} {
		st := data.NewStore()
		st.Apply(data.Delta{Complete: true, Changed: []*api.Instance{{ID: "i-1", Name: "vision", State: api.StateRunning,
			Capabilities: all, Agent: &api.AgentStatus{State: "ready", Jobs: x.known}}}})
		e := &screen.Env{Ctx: t.Context(), Store: st, Theme: theme.New(theme.Options{}),
			Agent: func(string) screen.Agent { return infoAgent{info: api.AgentInfo{Jobs: x.now}} }}
		later := Do(e, x.verb, []*data.Row{st.Row("i-1")})
		m, ok := e.Next()
		require.True(t, ok)
		c := m.(screen.Show).Dialog.(*dialog.Confirm)
		jobs := func() (found string) {
			for _, l := range c.Lost {
				if len(l) > 7 && l[:7] == "vision:" {
					require.Empty(t, found, "it is said once")
					found = l
				}
			}
			return found
		}
		require.Equal(t, x.said, jobs())
		later().(screen.Amend).Do()
		require.Equal(t, x.then, jobs())
	}
}
