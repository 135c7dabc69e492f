package terminal

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"berth/backend/agent/part"
	"berth/backend/api"
)

// New makes the part that keeps terminals.
func New(h *part.Host) part.Part { return newTerminals(h).part() }

func (ts *terminals) part() part.Part {
	return part.Part{
		Name: "terminals",
		Routes: []api.Route{
			{Method: "GET", Path: "/v1/terminals", Needs: api.Needs(api.ActionAccess),
				Summary:  "The terminals, oldest first",
				Response: []api.Terminal{}, Handler: ts.handleList},
			{Method: "POST", Path: "/v1/terminal", Needs: api.Needs(api.ActionAccess),
				Summary: "Attach to a terminal or open one; a byte stream",
				Request: api.TerminalRequest{}, Stream: "frames", Handler: ts.handleAttach},
			{Method: "DELETE", Path: "/v1/terminals/{id}", Needs: api.Needs(api.ActionAccess),
				Summary: "End a terminal and its processes",
				Handler: ts.handleKill},
		},
		Start:     ts.begin,
		Drain:     ts.stopWatching,
		Stop:      ts.stopWatching,
		End:       ts.killAll,
		Leave:     ts.leave,
		Info:      ts.info,
		Processes: ts.processes,
	}
}

func (ts *terminals) begin(context.Context) error {
	if err := os.MkdirAll(terminalsDir(ts.h.Options), 0o700); err != nil {
		return fmt.Errorf("making the folder of terminals: %w", err)
	}
	return ts.load()
}

func (ts *terminals) info(i *api.AgentInfo) {
	recs := ts.records()
	i.Terminals = len(recs)
	for _, r := range recs {
		part.Worked(i, ttyActivity(r.TTY)) // also of those that nobody is attached to
	}
}

func (ts *terminals) processes() []part.Process {
	var out []part.Process
	for _, r := range ts.records() {
		out = append(out, part.Process{Kind: "terminal", ID: r.ID, PIDs: []int{r.Shim.PID, r.Child.PID}, Mark: r.Mark})
	}
	return out
}

func (ts *terminals) handleList(w http.ResponseWriter, r *http.Request) {
	api.WriteJSON(w, http.StatusOK, ts.list(r.Context(), api.HomeOf(r.Header).ID))
}

func (ts *terminals) handleKill(w http.ResponseWriter, r *http.Request) {
	if err := ts.kill(r.Context(), r.PathValue("id"), 0); err != nil {
		api.WriteError(w, err)
		return
	}
	api.WriteJSON(w, http.StatusOK, struct{}{})
}
