package uitest

import (
	"fmt"

	"berth/backend/api"
)

// KeepJob submits a job for a stopped instance, which the workspace keeps until that runs; n makes its UUID.
func (q *queues) KeepJob(id string, n int, argv ...string) {
	uuid := fmt.Sprintf("ab%06d-0000-4000-8000-000000000000", n)
	_, kept, err := q.ws.real.Outbox.Submit(asAda(), id, api.JobRequest{UUID: uuid, Argv: argv})
	if err != nil || !kept {
		panic(fmt.Sprint("the job is not kept: ", err))
	}
}

// kept are the jobs that the workspace keeps for an instance, as the daemon answers with them; ok is false where its
// agent answers.
func (o queueOf) kept(query api.JobQuery) (jobs []api.Job, seq int64, ok bool) {
	keeping, some := o.q.ws.real.Outbox.Of(o.ref)
	jobs, seq, err := o.q.ws.real.Outbox.Jobs(o.ref, query)
	return jobs, seq, keeping && some && err == nil
}
