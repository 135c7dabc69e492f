package daemon

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"berth/backend/api"
)

// outboxEpoch is the epoch of the changes of an instance's jobs while it does not run and some are kept for it here.
const outboxEpoch = "outbox"

// keptJobs answers what is asked of an instance's agent and is about jobs that are kept here until the instance runs.
// It returns false where the agent is to answer.
func (s *Server) keptJobs(w http.ResponseWriter, r *http.Request) (answered bool) {
	rest, ok := strings.CutPrefix(r.PathValue("path"), "v1/jobs")
	if !ok || rest != "" && rest[0] != '/' {
		return false
	}
	name := r.PathValue("name")
	keeping, some := s.ws.Outbox.Of(name)
	var v any
	var err error
	switch id, verb, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/"); {
	case r.Method == http.MethodPost && id == "":
		if !keeping && !s.ws.Outbox.Parcels() || r.URL.Query().Get("keep") != "true" {
			return false
		}
		v, ok, err = s.keepJob(r, name)
	case !some:
		return false
	case id == "":
		v, ok, err = s.listKept(r, name, keeping)
	case id == "changes":
		if ok = keeping; ok {
			v, err = s.keptChanges(r, name)
		}
	default:
		v, err = s.keptJob(r, name, id, verb)
		ok = !errors.Is(err, &api.Error{Code: api.CodeNotFound}) // else it was handed over, or is another
	}
	switch {
	case !ok && err == nil, !ok && errors.Is(err, &api.Error{Code: api.CodeNotFound}):
		return false
	case err != nil:
		api.WriteError(w, err)
	default:
		api.WriteJSON(w, http.StatusOK, v)
	}
	return true
}

// keepFolder takes the folder of a job that is to be kept here.
func (s *Server) keepFolder(w http.ResponseWriter, r *http.Request) {
	st, err := api.Upgrade(w, r)
	if err != nil {
		return // it has answered
	}
	defer st.Close()
	var q api.CopyRequest
	if err := st.ReadRequest(&q, keepLimit); err != nil {
		st.Fail(err)
		return
	}
	if err := s.ws.Outbox.TakeParcel(s.asked, r.PathValue("name"), q.Kept, st); err != nil {
		s.cfg.Log.Info("the folder of a job was not kept", "job", q.Kept, "error", err)
	}
}

// keepLimit is how long a client may take for what it says before a folder comes.
const keepLimit = 30 * time.Second

// maxJob bounds a request for a job, in bytes.
const maxJob = 16 << 20

// keepJob keeps a job. Where the instance runs by now, its agent is to take it.
func (s *Server) keepJob(r *http.Request, name string) (job api.Job, kept bool, err error) {
	b, err := io.ReadAll(io.LimitReader(r.Body, maxJob))
	if err != nil {
		return job, true, api.Errorf(api.CodeUsage, "reading the job: %w", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	var q api.JobRequest
	if err := api.ReadJSON(r, &q); err != nil {
		return job, true, err
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	return s.ws.Outbox.Submit(r.Context(), name, q)
}

// listKept is a page of jobs: those that are kept come before those of the agent.
func (s *Server) listKept(r *http.Request, name string, keeping bool) (page api.JobPage, ok bool, err error) {
	q := api.ReadJobQuery(r.URL.Query())
	kept, _, err := s.ws.Outbox.Jobs(name, q)
	if err != nil || !keeping && len(kept) == 0 {
		return page, err != nil, err
	}
	if keeping {
		return api.JobPage{Jobs: append([]api.Job{}, kept...)}, true, nil
	}
	rec, err := s.reachable(name)
	if err != nil {
		return page, true, err
	}
	client := s.ws.AgentClient(rec)
	defer client.Close()
	page, err = client.Jobs().List(r.Context(), q)
	if err != nil {
		return page, true, unreachable(&rec, err)
	}
	page.Jobs = append(kept, page.Jobs...)
	return page, true, nil
}

// keptChanges tells who watches that what is kept has changed: it is read anew then.
func (s *Server) keptChanges(r *http.Request, name string) (c api.JobChanges, err error) {
	v := r.URL.Query()
	after, perr := strconv.ParseInt(v.Get("after"), 10, 64)
	same := perr == nil && v.Get("epoch") == outboxEpoch
	if same {
		if err := s.ws.Outbox.Changed(r.Context(), name, after); err != nil {
			return c, err
		}
	}
	_, seq, err := s.ws.Outbox.Jobs(name, api.JobQuery{})
	return api.JobChanges{Epoch: outboxEpoch, Seq: seq, Anew: !same || seq != after}, err
}

// keptJob answers what is asked of, or told to, one job that is kept.
func (s *Server) keptJob(r *http.Request, name, id, verb string) (any, error) {
	box := s.ws.Outbox
	job, err := box.Job(name, id)
	switch {
	case err != nil:
		return nil, err
	case r.Method == http.MethodDelete && verb == "":
		return struct{}{}, box.Remove(r.Context(), name, id)
	case verb == "cancel":
		return box.Cancel(r.Context(), name, id)
	case verb == "log":
		return nil, api.Errorf(api.CodeConflict, "job %s has no log: it was not handed over to its instance", id).
			WithHint("berth job show NAME %s says why", id)
	case verb != "":
		return nil, api.Errorf(api.CodeConflict, "job %s is not on its instance yet: it can't be told to %.30s", id, verb).
			WithHint("berth job cancel NAME %s ends it", id)
	}
	if after := r.URL.Query().Get("after"); after != "" {
		seq, err := strconv.ParseInt(after, 10, 64)
		if err != nil {
			return nil, api.Errorf(api.CodeUsage, "after=%.30q is no change number", after)
		}
		return box.Await(r.Context(), name, id, seq)
	}
	return job, nil
}
