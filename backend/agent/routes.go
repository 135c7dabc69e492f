package agent

import (
	"context"
	"net/http"
	"time"

	"berth/backend/api"
	"berth/backend/base/version"
	"berth/gpu"
)

// Routes lists what an agent serves. With a nil agent it serves the description only.
func Routes(a *Agent) []api.Route {
	return []api.Route{
		{Method: "GET", Path: "/v1/info", Summary: "What the agent says of itself and its host", Response: api.AgentInfo{}, Handler: a.handleInfo},
		{Method: "POST", Path: "/v1/exec", Summary: "Run a command; a byte stream", Request: api.ExecRequest{}, Stream: "frames", Handler: a.handleExec},
		{Method: "GET", Path: "/v1/terminals", Summary: "The terminals, oldest first", Response: []api.Terminal{}, Handler: a.handleTerminals},
		{Method: "POST", Path: "/v1/terminal", Summary: "Attach to a terminal or open one; a byte stream", Request: api.TerminalRequest{}, Stream: "frames", Handler: a.handleTerminal},
		{Method: "DELETE", Path: "/v1/terminals/{id}", Summary: "End a terminal and its processes", Handler: a.handleKillTerminal},
		{Method: "PUT", Path: "/v1/setup", Summary: "Begin a set-up, or go on with the one of this id", Request: api.SetupPlan{}, Response: api.SetupStatus{}, Handler: a.handlePutSetup},
		{Method: "PUT", Path: "/v1/onstart", Summary: "Keep what is run at each boot from the next on; without steps, nothing is", Request: api.SetupPlan{}, Handler: a.handleOnStart},
		{Method: "GET", Path: "/v1/setup/{id}", Summary: "How far a set-up is; waits up to 25 s for a revision other than after", Query: []string{"after"}, Response: api.SetupStatus{}, Handler: a.handleSetup},
		{Method: "POST", Path: "/v1/setup/{id}/resume", Summary: "Run the failed step of a set-up again and go on", Response: api.SetupStatus{}, Handler: a.handleResumeSetup},
		{Method: "DELETE", Path: "/v1/setup/{id}", Summary: "Cancel a set-up and end the step that runs", Response: api.SetupStatus{}, Handler: a.handleCancelSetup},
		{Method: "GET", Path: "/v1/inventory", Summary: "What is installed on the instance; takes up to 10 s", Response: api.Inventory{}, Handler: a.handleInventory},
		{Method: "GET", Path: "/v1/figures", Summary: "What the host shows now; with watch=true a stream of it. Processes are those of the instance and those that use most; filter (words, ! for not) and pid ask for more", Query: []string{"watch", "every", "filter", "pid"}, Response: gpu.Sample{}, Handler: a.handleFigures},
		{Method: "GET", Path: "/v1/summary", Summary: "The same made small", Query: []string{"watch", "every"}, Response: gpu.Summary{}, Handler: a.handleSummary},
		{Method: "GET", Path: "/v1/history", Summary: "What was measured", Query: []string{"metric", "subject", "since", "until", "points"}, Response: []gpu.Series{}, Handler: a.handleHistory},
		{Method: "GET", Path: "/v1/metrics", Summary: "The figures in Prometheus' text format", Handler: a.handleMetrics},
		{Method: "POST", Path: "/v1/processes/{pid}/signal", Summary: "Send a signal to a process", Request: api.SignalRequest{}, Handler: a.handleSignal},
		{Method: "POST", Path: "/v1/clock", Summary: "Put the instance's clock forward", Request: api.ClockRequest{}, Handler: a.handleClock},
		{Method: "POST", Path: "/v1/hostkey", Summary: "Make another host key for the instance's sshd, or take it into use", Request: api.HostKeyRequest{}, Response: api.HostKey{}, Handler: a.handleHostKey},
		{Method: "GET", Path: "/v1/events", Summary: "What happened and happens on the instance", Response: api.Event{}, Stream: "ndjson", Handler: a.handleEvents},
		{Method: "POST", Path: "/v1/stop", Summary: "End the agent, with or without what it supervises", Request: api.StopRequest{}, Handler: a.handleStop},
		{Method: "POST", Path: "/v1/handover", Summary: "Make way for a newer agent", Request: version.Version{}, Response: version.Version{}, Handler: a.handleHandover},
	}
}

func (a *Agent) handleInfo(w http.ResponseWriter, r *http.Request) {
	api.WriteJSON(w, http.StatusOK, a.Info())
}

func (a *Agent) handleTerminals(w http.ResponseWriter, r *http.Request) {
	api.WriteJSON(w, http.StatusOK, a.terms.list(r.Context()))
}

func (a *Agent) handleKillTerminal(w http.ResponseWriter, r *http.Request) {
	if err := a.terms.kill(r.Context(), r.PathValue("id"), 0); err != nil {
		api.WriteError(w, err)
		return
	}
	api.WriteJSON(w, http.StatusOK, struct{}{})
}

func (a *Agent) handleEvents(w http.ResponseWriter, r *http.Request) {
	past, c := a.events.follow()
	defer a.events.unfollow(c)
	out := api.NewNDJSON(w)
	for _, e := range past {
		if out.Write(e) != nil {
			return
		}
	}
	for {
		select {
		case <-r.Context().Done():
			return
		case e, ok := <-c:
			if !ok || out.Write(e) != nil {
				return
			}
		}
	}
}

func (a *Agent) handleInventory(w http.ResponseWriter, r *http.Request) {
	inv := a.inventory.Read(r.Context())
	inv.Instance = a.o.Instance
	api.WriteJSON(w, http.StatusOK, inv)
}

const defaultStopGrace = 5 * time.Second

func (a *Agent) handleStop(w http.ResponseWriter, r *http.Request) {
	var req api.StopRequest
	if err := api.ReadJSON(r, &req); err != nil {
		api.WriteError(w, err)
		return
	}
	grace := time.Duration(req.GraceSeconds * float64(time.Second))
	if grace <= 0 {
		grace = defaultStopGrace
	}
	if req.End {
		// Ends also if the client goes meanwhile: half an end helps nobody.
		ctx := context.WithoutCancel(r.Context())
		a.grace.Store(int64(grace))
		a.endStreams() // execs are hung up, and nothing new begins
		a.endSetups(ctx, grace)
		if err := a.terms.killAll(ctx, grace); err != nil {
			api.WriteError(w, err)
			return
		}
		a.streams.Wait()
	}
	api.WriteJSON(w, http.StatusOK, struct{}{})
	a.leave()
}

// handleHandover lets a newer agent have lock and socket; this one stays until its streams end.
func (a *Agent) handleHandover(w http.ResponseWriter, r *http.Request) {
	var by version.Version
	if err := api.ReadJSON(r, &by); err != nil {
		api.WriteError(w, err)
		return
	}
	own := version.Current()
	if !by.Newer(own) {
		api.WriteError(w, api.Errorf(api.CodeRefused, "the agent is of version %s (built %s) and makes way for a newer one only, not for %s (built %s)",
			own.Number, own.Built.Format(time.RFC3339), by.Number, by.Built.Format(time.RFC3339)))
		return
	}
	a.mu.Lock()
	was := a.draining
	a.draining = true
	a.mu.Unlock()
	if !was {
		a.terms.stopWatching() // the newer one reads the records from now on
		a.setups.Stop()
		a.figures.Stop()
		a.letGo(false)
	}
	api.WriteJSON(w, http.StatusOK, own)
	a.leave()
}
