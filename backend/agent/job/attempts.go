package job

import (
	"berth/backend/agent/job/run"
	"berth/backend/agent/joblog"
	"berth/backend/api"
	"berth/queue"
)

// mostAttempts bounds how many earlier runs are shown.
const mostAttempts = 20

// attempts are the runs of a job before its newest, as their folders say.
func (l *loop) attempts(id queue.ID, newest int) (out []api.JobAttempt) {
	for n := max(1, newest-mostAttempts); n < newest; n++ {
		dir := l.runDir(id, n)
		p := run.PastOf(dir)
		a := api.JobAttempt{Attempt: n, StartedAt: p.StartedAt, EndedAt: p.EndedAt, Signal: p.Signal}
		if p.Exit >= 0 {
			a.ExitCode = &p.Exit
		}
		a.LogBytes, _, _ = joblog.Newest(dir) // it may have none
		out = append(out, a)
	}
	return out
}
