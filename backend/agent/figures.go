package agent

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/backend/agent/part"
	"berth/backend/agent/process"
	"berth/backend/agent/root"
	"berth/backend/api"
	"berth/gpu"
	"berth/gpu/attention"
	"berth/gpu/history"
	"berth/gpu/monitor"
	"berth/gpu/probe"
	"berth/gpu/procs"
	"berth/gpu/prom"
)

// figures measure the host for as long as the agent is the one of its state folder.
type figures struct {
	*monitor.Monitor
	probe *probe.Probe
	stop  context.CancelFunc
	done  chan struct{}
}

// startFigures begins to measure. Stop ends it, and lets a newer agent have the history.
func (a *Agent) startFigures() *figures {
	find := func() ([][]string, error) { return probe.Commands(part.Command(a.exe, "probe"), a.exe, a.o.BinDir()) }
	f := &figures{probe: probe.New(probe.Options{Find: find, Every: monitor.Idle, Log: a.log}), done: make(chan struct{})}
	o := monitor.Options{GPU: newXIDs(f.probe, filepath.Join(a.o.State, "xids.json"), a.log), History: filepath.Join(a.o.State, "history"), Attributor: owners{a, f.probe}, Keep: a.ownProcesses, Log: a.log}
	if rules, err := attention.Builtin(); err != nil {
		a.log.Error("nothing is looked after", "err", err) // a build whose rules no test has read
	} else {
		o.Findings = attention.New(rules).Check
	}
	f.Monitor = monitor.New(o)
	ctx, cancel := context.WithCancel(a.ctx)
	f.stop = cancel
	go func() {
		defer close(f.done)
		f.Run(ctx)
	}()
	return f
}

// Stop ends the measuring and the probe.
func (f *figures) Stop() {
	f.stop()
	<-f.done
	_ = f.probe.Close() // a driver that hangs keeps its child; nothing waits for it
}

// owners says whose a process is: below a terminal, a command that runs for a client, a container.
type owners struct {
	a     *Agent
	probe *probe.Probe
}

// Owner implements procs.Attributor.
func (o owners) Owner(c procs.Candidate) (gpu.Owner, bool) {
	self := os.Getpid()
	if c.PID == self || c.PID == o.probe.Latest().PID {
		return gpu.Owner{Kind: "agent"}, true
	}
	terminals := map[int]gpu.Owner{}
	for _, r := range o.a.terms.records() {
		t := gpu.Owner{Kind: "terminal", ID: r.ID}
		terminals[r.Shim.PID], terminals[r.Child.PID] = t, t
		if slices.Contains(c.Environ, r.Mark) {
			return t, true // also what left the terminal's tree
		}
	}
	if t, ok := procs.Trees(func() map[int]gpu.Owner { return terminals }).Owner(c); ok {
		return t, true
	}
	if slices.Contains(c.Ancestors, self) {
		return gpu.Owner{Kind: "exec"}, true
	}
	return gpu.Owner{}, false
}

// ownProcesses are those below which all is of this instance: the agent, with the commands that it runs, and the
// shims and shells of terminals.
func (a *Agent) ownProcesses() []int {
	pids := []int{os.Getpid()}
	for _, r := range a.terms.records() {
		pids = append(pids, r.Shim.PID, r.Child.PID)
	}
	return pids
}

func (a *Agent) handleFigures(w http.ResponseWriter, r *http.Request) {
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
	serveSamples(a, w, r, search, func() func(*gpu.Sample) any { return func(s *gpu.Sample) any { return s } })
}

func (a *Agent) handleSummary(w http.ResponseWriter, r *http.Request) {
	serveSamples(a, w, r, nil, func() func(*gpu.Sample) any {
		var last *gpu.Summary
		return func(s *gpu.Sample) any {
			next := a.figures.Summary(s)
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
func serveSamples(a *Agent, w http.ResponseWriter, r *http.Request, search *procs.Search, form func() func(*gpu.Sample) any) {
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
		s, err := a.figures.Sample(r.Context())
		if err != nil {
			api.WriteError(w, api.Errorf(api.CodeUnreachable, "%w", err))
			return
		}
		api.WriteJSON(w, http.StatusOK, line(s))
		return
	}
	samples, cancel := a.figures.Search(every, search)
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

func (a *Agent) handleHistory(w http.ResponseWriter, r *http.Request) {
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
	series, err := a.figures.Series(hq)
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

func (a *Agent) handleMetrics(w http.ResponseWriter, r *http.Request) {
	s, err := a.figures.Sample(r.Context())
	if err != nil {
		api.WriteError(w, api.Errorf(api.CodeUnreachable, "%w", err))
		return
	}
	up := true
	w.Header().Set("Content-Type", prom.ContentType)
	_ = prom.Write(w, []prom.Target{{Hostname: a.facts.host, Instance: a.o.Instance, Sample: s, Up: &up}}) // the client has gone
}

// handleSignal sends a signal to a process; one of another user as root, where that asks no password.
func (a *Agent) handleSignal(w http.ResponseWriter, r *http.Request) {
	var q api.SignalRequest
	pid, err := strconv.Atoi(r.PathValue("pid"))
	if err != nil {
		api.WriteError(w, api.Errorf(api.CodeUsage, "%.30q is no process", r.PathValue("pid")))
		return
	}
	if err := api.ReadJSON(r, &q); err != nil {
		api.WriteError(w, err)
		return
	}
	q.Signal = strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(q.Signal)), "SIG")
	sig, err := procs.ParseSignal(q.Signal)
	id, _ := process.Identify(pid) // before it is looked at, so that root signals no other one
	if err == nil {
		err = procs.Signal(pid, q.StartedAt, sig, q.Other)
	}
	if errors.Is(err, procs.ErrPermission) && q.Other && id.PID == pid {
		if q.StartedAt.IsZero() {
			q.StartedAt = id.StartedAt()
		}
		ctx, cancel := context.WithTimeout(r.Context(), rootLimit)
		err = a.root().Signal(ctx, q.Signal, root.Target{PID: pid, StartedAt: q.StartedAt})
		cancel()
	}
	if err != nil {
		api.WriteError(w, root.SignalError(err))
		return
	}
	a.events.add("process.signalled", "info", "signal "+q.Signal+" was sent to process "+strconv.Itoa(pid))
	api.WriteJSON(w, http.StatusOK, struct{}{})
}
