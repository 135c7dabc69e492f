package job

import (
	"encoding/csv"
	"net/http"
	"path/filepath"
	"strings"

	"berth/backend/api"
	"berth/queue"
)

// handleRequest answers what a job was asked for.
func (s *service) handleRequest(w http.ResponseWriter, r *http.Request) {
	l, id, ok := s.named(w, r)
	if !ok {
		return
	}
	job, err := l.job(r.Context(), id)
	var q api.JobRequest
	if err == nil {
		q, err = requestOf(&job, s.h.TakenDir(job.Spec.UUID))
	}
	if err != nil {
		api.WriteError(w, err)
		return
	}
	api.WriteJSON(w, http.StatusOK, q.Wire())
}

// requestOf is the request that asks for a job again; of an element, for a job with its parameters. A job with a folder
// of its own, which is taken then, is asked for with a copy of that.
func requestOf(job *queue.Job, taken string) (api.JobRequest, error) {
	s := job.Spec.Of(job.ID)
	if len(s.Secrets) > 0 {
		return api.JobRequest{}, api.Errorf(api.CodeConflict, "job %s was given secrets, which are not kept: %s", job.ID,
			strings.Join(s.Secrets, ", ")).WithHint("submit it anew, with --secret")
	}
	q := api.JobRequest{Name: s.Name, Argv: s.Argv, Workdir: s.Workdir, Env: s.Env, Shell: s.Shell, Conda: s.Conda,
		Venv: s.Venv, Group: s.Group, Priority: job.Priority, Begin: s.Begin, TimeoutSeconds: s.Timeout.Seconds(),
		Retries: s.Retries, Signal: s.Notice.Signal, SignalSeconds: s.Notice.Before.Seconds(),
		KillLeftovers: s.KillLeftovers, LogLimitBytes: s.LogLimit, Notify: s.Notify,
		CPUs: s.CPUs, MemoryBytes: s.Memory, RetryOn: words(s.RetryOn)}
	if rel, err := filepath.Rel(taken, s.Workdir); err == nil && filepath.IsLocal(rel) && queue.IsUUID(s.UUID) {
		q.CopyOf, q.Workdir = s.UUID, rel
		if rel == "." {
			q.Workdir = ""
		}
	}
	if s.Request.GPUs >= 0 {
		q.GPUs = &s.Request.GPUs
	}
	q.GPUMemoryBytes, q.GPUIDs, q.Exclusive = s.Request.GPUMemory, gpuIDs(&s), s.Request.Exclusive
	q.Ranks, q.Service, q.Image = s.Ranks, serviceOf(&s), s.Image
	for _, d := range s.After {
		if d.When == queue.Failure {
			q.AfterFailure = append(q.AfterFailure, d.ID.String())
		} else {
			q.After = append(q.After, d.String())
		}
	}
	if s.Array == nil || job.ID.Element {
		return q, nil
	}
	q.Array = s.Array.String()
	return q, sweepOf(&q, s.Sweep)
}

// sweepOf writes a sweep as a request has it. Its error is a sweep that no request can say.
func sweepOf(q *api.JobRequest, sweep *queue.Sweep) error {
	if sweep == nil {
		return nil
	}
	for _, a := range sweep.Axes {
		var b strings.Builder
		w := csv.NewWriter(&b)
		if err := w.WriteAll(append([][]string{a.Names}, a.Rows...)); err != nil {
			return err
		}
		simple := len(a.Names) == 1
		values := make([]string, 0, len(a.Rows))
		for _, row := range a.Rows {
			simple = simple && !strings.Contains(row[0], ",")
			values = append(values, row[0])
		}
		switch {
		case simple:
			q.Params = append(q.Params, a.Names[0]+"="+strings.Join(values, ","))
		case q.ParamFile == "":
			q.ParamFile = b.String()
		default:
			return api.Errorf(api.CodeConflict, "its parameters came from several files: they can't be asked for in one request")
		}
	}
	return nil
}
