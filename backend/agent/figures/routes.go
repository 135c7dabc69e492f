package figures

import (
	"cmp"
	"errors"
	"net/http"
	"strconv"
	"time"

	"berth/backend/api"
	"berth/gpu"
	"berth/gpu/history"
	"berth/gpu/monitor"
	"berth/gpu/procs"
	"berth/gpu/prom"
)

func (f *service) routes() []api.Route {
	return []api.Route{
		{Method: "GET", Path: "/v1/figures", Needs: api.Needs(api.ActionAccess),
			Summary: "What the host shows now; with watch=true a stream of it. " +
				"Processes are those of the instance and those that use most; " +
				"filter (words, ! for not) and pid ask for more",
			Query: []string{"watch", "every", "filter", "pid"}, Response: gpu.Sample{}, Handler: f.handleFigures},
		{Method: "GET", Path: "/v1/summary", Needs: api.Needs(api.ActionRead), Summary: "The same made small",
			Query: []string{"watch", "every"}, Response: gpu.Summary{}, Handler: f.handleSummary},
		{Method: "GET", Path: "/v1/history", Needs: api.Needs(api.ActionRead), Summary: "What was measured",
			Query:    []string{"metric", "subject", "since", "until", "points"},
			Response: []gpu.Series{}, Handler: f.handleHistory},
		{Method: "GET", Path: "/v1/metrics", Needs: api.Needs(api.ActionRead),
			Summary: "The figures in Prometheus' text format", Handler: f.handleMetrics},
		{Method: "POST", Path: "/v1/processes/{pid}/signal", Needs: api.Needs(api.ActionAccess),
			Summary: "Send a signal to a process",
			Request: api.SignalRequest{}, Handler: f.handleSignal},
	}
}

func (f *service) handleFigures(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	var search *procs.Search
	if match := gpu.ProcessFilter(q.Get("filter")); match != nil || q.Has("pid") {
		search = &procs.Search{Match: match}
	}
	for _, v := range q["pid"] {
		pid, err := strconv.Atoi(v)
		if err != nil || pid <= 0 {
			api.WriteError(w, api.Errorf(api.CodeUsage, "pid=%.30q is no process", v))
			return
		}
		search.PIDs = append(search.PIDs, pid)
	}
	whole := func(s *gpu.Sample) any { return s }
	f.serveSamples(w, r, search, func() func(*gpu.Sample) any { return whole })
}

func (f *service) handleSummary(w http.ResponseWriter, r *http.Request) {
	f.serveSamples(w, r, nil, func() func(*gpu.Sample) any {
		var last *gpu.Summary
		return func(s *gpu.Sample) any {
			next := f.Summary(s)
			short := next
			if last != nil {
				short = monitor.Shorten(*last, next)
			}
			last = &next
			return short
		}
	})
}

// serveSamples answers with one sample, or with watch=true with a stream of them, in which is what search asks
// for; what a line is, form says.
func (f *service) serveSamples(w http.ResponseWriter, r *http.Request, search *procs.Search,
	form func() func(*gpu.Sample) any) {
	q := r.URL.Query()
	watch, err := strconv.ParseBool(cmp.Or(q.Get("watch"), "false"))
	if err != nil {
		api.WriteError(w, api.Errorf(api.CodeUsage, "watch=%.30q is neither true nor false", q.Get("watch")))
		return
	}
	every, err := time.ParseDuration(cmp.Or(q.Get("every"), "1s"))
	if err != nil || every < 0 {
		api.WriteError(w, api.Errorf(api.CodeUsage, "every=%.30q is no time, such as 2s", q.Get("every")))
		return
	}
	line := form()
	if !watch && search == nil {
		s, err := f.Sample(r.Context())
		if err != nil {
			api.WriteError(w, api.Errorf(api.CodeUnreachable, "%w", err))
			return
		}
		api.WriteJSON(w, http.StatusOK, line(s))
		return
	}
	samples, cancel := f.Search(every, search)
	defer cancel()
	if !watch {
		select {
		case <-r.Context().Done():
		case s, ok := <-samples:
			if !ok {
				api.WriteError(w, api.Errorf(api.CodeUnreachable, "%w", monitor.ErrClosed))
				return
			}
			api.WriteJSON(w, http.StatusOK, line(s))
		}
		return
	}
	out := api.NewNDJSON(w)
	for {
		select {
		case <-r.Context().Done():
			return
		case s, ok := <-samples:
			if !ok || out.Write(line(s)) != nil {
				return
			}
		}
	}
}

func (f *service) handleHistory(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	hq := history.Query{Metrics: q["metric"], Subject: q.Get("subject")}
	for name, t := range map[string]*time.Time{"since": &hq.Since, "until": &hq.Until} {
		if v := q.Get(name); v != "" {
			var err error
			if *t, err = time.Parse(time.RFC3339Nano, v); err != nil {
				api.WriteError(w, api.Errorf(api.CodeUsage, "%s=%.40q is no time in RFC 3339", name, v))
				return
			}
		}
	}
	if v := q.Get("points"); v != "" {
		var err error
		if hq.Points, err = strconv.Atoi(v); err != nil || hq.Points < 0 {
			api.WriteError(w, api.Errorf(api.CodeUsage, "points=%.30q is no number", v))
			return
		}
	}
	series, err := f.Series(hq)
	switch {
	case errors.Is(err, history.ErrMetric):
		api.WriteError(w, api.Errorf(api.CodeUsage, "%w", err))
	case err != nil:
		api.WriteError(w, api.Errorf(api.CodeFailed, "reading the history: %w", err))
	default:
		if series == nil {
			series = []gpu.Series{}
		}
		api.WriteJSON(w, http.StatusOK, series)
	}
}

func (f *service) handleMetrics(w http.ResponseWriter, r *http.Request) {
	s, err := f.Sample(r.Context())
	if err != nil {
		api.WriteError(w, api.Errorf(api.CodeUnreachable, "%w", err))
		return
	}
	up := true
	w.Header().Set("Content-Type", prom.ContentType)
	target := prom.Target{Hostname: f.h.Hostname, Instance: f.h.Instance, Sample: s, Up: &up}
	_ = prom.Write(w, []prom.Target{target}) // the client has gone
}
