package action

import (
	"context"
	"slices"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/dustin/go-humanize/english"

	"berth/backend/api"
	"berth/ui/data"
	"berth/ui/dialog"
	"berth/ui/jobword"
	"berth/ui/screen"
)

// Jobs says how many jobs run and wait: "2 jobs run, 1 waits". It is empty where there are none.
func Jobs(n api.JobCounts) string {
	switch {
	case n.Running == 0 && n.Waiting == 0:
		return ""
	case n.Waiting == 0:
		return english.Plural(n.Running, "job runs", "jobs run")
	case n.Running == 0:
		return english.Plural(n.Waiting, "job waits", "jobs wait")
	}
	return english.Plural(n.Running, "job runs", "jobs run") + ", " + english.Plural(n.Waiting, "waits", "wait")
}

// JobsLost says of the jobs of an instance how many there are and what becomes of them when it is stopped, restarted or
// deleted. It is empty where there are none.
func JobsLost(verb string, in *api.Instance) string {
	if verb == Delete && in.JobsKept > 0 {
		return in.Name + ": " + english.Plural(in.JobsKept, "job waits", "jobs wait") + " for it to start. All are lost."
	}
	return jobsLost(verb, in.Name, jobword.Of(in))
}

func jobsLost(verb, name string, n api.JobCounts) string {
	said := Jobs(n)
	switch {
	case said == "":
		return ""
	case verb == Delete:
		return name + ": " + said + ". All are lost."
	case n.Running == 0:
		return name + ": " + said + " until it runs again."
	}
	return name + ": " + said + ". What runs ends; a job with --retries runs again later."
}

// countJobs puts into a confirmation what becomes of the jobs of each instance, and returns the command that asks for
// them anew where it is one. The dialog waits for nothing: until the answer comes it says what was known last.
func countJobs(e *screen.Env, c *dialog.Confirm, verb string, rows []*data.Row) tea.Cmd {
	said := ""
	for _, r := range rows {
		if r.Adopted && verb == Delete {
			continue // what its agent says is put in
		}
		if said = JobsLost(verb, &r.Instance); said != "" {
			c.Lost = append(c.Lost, said)
		}
	}
	if len(rows) != 1 || rows[0].Adopted || rows[0].State != api.StateRunning || e.Agent == nil {
		return nil
	}
	agent, name := e.Agent(e.Store.Ref(rows[0])), rows[0].Name
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(e.Ctx, LookLimit)
		defer cancel()
		info, err := agent.Info(ctx)
		now := jobsLost(verb, name, info.Jobs)
		if err != nil || now == said {
			return nil
		}
		return screen.Amend{Do: func() {
			at := slices.Index(c.Lost, said)
			switch {
			case said == "":
				c.Lost = append(c.Lost, now)
			case now == "":
				c.Lost = slices.Delete(c.Lost, at, at+1)
			default:
				c.Lost[at] = now
			}
		}}
	}
}
