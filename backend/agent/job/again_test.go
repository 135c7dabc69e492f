package job

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/part"
	"berth/backend/api"
	"berth/queue"
)

// TestARequestForTheSame: what a job was asked for, asked for again, makes a job like it.
func TestARequestForTheSame(t *testing.T) {
	two := 2
	for name, q := range map[string]api.JobRequest{
		"all": {Name: "n", Argv: []string{"a", "\xff", ""}, Env: []string{"K=v"}, Workdir: "/", GPUs: &two,
			Group: "g", Priority: 3, After: []string{"12", "any:13"}, AfterFailure: []string{"14"},
			Begin: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC), TimeoutSeconds: 60, Retries: 2, Signal: "USR1", SignalSeconds: 5,
			KillLeftovers: true, LogLimitBytes: 100, CPUs: 1, MemoryBytes: 64e6, RetryOn: []string{"oom", "xid"}},
		"array": {Argv: []string{"a"}, Workdir: "/", Array: "0-9:3,17%2"},
		"sweep": {Argv: []string{"a", "{lr}", "{x}"}, Workdir: "/", Params: []string{"lr=0.1,0.01"}, ParamFile: "x,y\n\"1,2\",b\n3,\n"},
	} {
		want := specFor(t, q)
		job := queue.Job{ID: queue.ID{Number: 5}, Spec: want}
		job.Priority = q.Priority
		again, err := requestOf(&job, "/taken/none/code")
		require.NoError(t, err, name)
		got := specFor(t, again.Wire())
		require.Equal(t, want, got, name)
	}
	job := queue.Job{ID: queue.ID{Number: 5}.At(1), Spec: specFor(t, api.JobRequest{Argv: []string{"a", "{lr}"}, Workdir: "/",
		Params: []string{"lr=0.1,0.01"}})}
	q, err := requestOf(&job, "/taken/none/code")
	require.NoError(t, err)
	require.Equal(t, []string{"a", "0.01"}, q.Argv, "an element is a job with its parameters")
	require.Empty(t, q.Params)
	require.Empty(t, q.Array)
	job.Spec.UUID = "0193b3a0-1111-4222-8333-444455556666"
	job.Spec.Workdir = "/taken/" + job.Spec.UUID + "/code/sub"
	q, err = requestOf(&job, "/taken/"+job.Spec.UUID+"/code")
	require.NoError(t, err)
	require.Equal(t, job.Spec.UUID, q.CopyOf)
	require.Equal(t, "sub", q.Workdir)
	job.Spec.Secrets = []string{"TOKEN"}
	_, err = requestOf(&job, "/taken/none/code")
	require.ErrorIs(t, err, &api.Error{Code: api.CodeConflict})
	require.ErrorContains(t, err, "TOKEN")
}

// specFor is what a request asks for.
func specFor(t *testing.T, q api.JobRequest) queue.Spec {
	t.Helper()
	s, err := specOf(t.Context(), &part.Host{}, q)
	require.NoError(t, err)
	return s
}
