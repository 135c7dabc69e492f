package figures

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"berth/backend/agent/root"
	"berth/backend/api"
	"berth/gpu/procs"
	"berth/gpu/procs/proc"
)

// rootLimit is how long it may take to send a signal as root.
const rootLimit = 10 * time.Second

// handleSignal sends a signal to a process; one of another user as root, where that asks no password.
func (f *service) handleSignal(w http.ResponseWriter, r *http.Request) {
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
	id, _ := proc.Identify(pid) // before it is looked at, so that root signals no other one
	if err == nil {
		err = procs.Signal(pid, q.StartedAt, sig, q.Other)
	}
	if errors.Is(err, procs.ErrPermission) && q.Other && id.PID == pid {
		if q.StartedAt.IsZero() {
			q.StartedAt = id.StartedAt()
		}
		ctx, cancel := context.WithTimeout(r.Context(), rootLimit)
		err = f.h.Root().Signal(ctx, q.Signal, root.Target{PID: pid, StartedAt: q.StartedAt})
		cancel()
	}
	if err != nil {
		api.WriteError(w, root.SignalError(err))
		return
	}
	f.h.Event("process.signalled", "info", "signal "+q.Signal+" was sent to process "+strconv.Itoa(pid))
	api.WriteJSON(w, http.StatusOK, struct{}{})
}
