package exec

import (
	"encoding/base64"
	"encoding/json"
	"net/http"

	"berth/backend/api"
	"berth/gpu/procs/proc"
)

// began is what the id of a command says, so that a later agent needs no record of it: who began which process.
type began struct {
	Agent   proc.Identity `json:"agent"`
	Command proc.Identity `json:"command"`
}

// id names a command that this agent has just started; "" where the system does not tell who it is.
func (e *service) id(pid int) string {
	st, err := proc.ReadStat(pid) // it may have ended, and is not reaped yet
	if err != nil {
		return ""
	}
	b, err := json.Marshal(began{e.self, st.Identity()})
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func (e *service) handleState(w http.ResponseWriter, r *http.Request) {
	var c began
	b, err := base64.RawURLEncoding.DecodeString(r.PathValue("id"))
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		api.WriteError(w, api.Errorf(api.CodeUsage, "%.60q is not what a command began with: %w", r.PathValue("id"), err))
		return
	}
	st := api.ExecState{PID: c.Command.PID, State: api.ExecUnknown, SameAgent: c.Agent.Is(e.self)}
	if p, ok := e.commands.Load(r.PathValue("id")); ok {
		st.HungUp = p.(*execProc).hungUp.Load()
	}
	switch c.Command.Look() {
	case proc.Same:
		st.State = api.ExecRuns
	case proc.Gone:
		st.State = api.ExecEnded
	}
	api.WriteJSON(w, http.StatusOK, st)
}
