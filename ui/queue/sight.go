package queue

import (
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/ui/job"
	"berth/ui/jobword"
)

// see asks how far those jobs are that run and are in sight.
func (s *Queue) see() tea.Cmd {
	ids := map[*source][]string{}
	top := s.Top()
	for i := top; i < min(top+s.View, len(s.rows)); i++ {
		r := &s.rows[i]
		if r.job == nil || r.job.Elements != nil || r.job.State.Done() || r.job.StartedAt.IsZero() || r.src.why != "" ||
			len(ids[r.src]) == api.MostProgress {
			continue
		}
		ids[r.src] = append(ids[r.src], *r.job.ID)
	}
	var cmds []tea.Cmd
	for _, f := range s.sources {
		slices.Sort(ids[f])
		cmds = append(cmds, f.watch.See(s.ctx, f.jobs, ids[f]))
	}
	return tea.Batch(cmds...)
}

// watched takes in how far jobs are.
func (s *Queue) watched(m job.WatchedMsg) tea.Cmd {
	for _, f := range s.sources {
		list, cmd := f.watch.Got(s.e, s.ctx, m)
		for _, p := range list {
			if j := f.known[p.ID]; j != nil {
				j.SetProgress(p)
			}
		}
		if cmd != nil {
			return cmd
		}
	}
	return nil
}

// progress is the share of a job that is done, where that is known.
func progress(j *api.Job) (share float64, ok bool) {
	if j.State.Done() || j.ProgressPercent == nil {
		return 0, false
	}
	return *j.ProgressPercent / 100, true
}

// what says in a line how far a job is and what else there is to say of it, or what it runs.
func (s *Queue) what(j *api.Job) string {
	var out []string
	if p := j.Progress(); !j.State.Done() {
		if x := jobword.Progress(&p, s.e.Clock()); x != "" {
			out = append(out, x)
		}
	}
	if x := job.What(j); x != "" {
		out = append(out, x)
	}
	if len(out) == 0 {
		return job.Command(j)
	}
	return strings.Join(out, ", ")
}
