package agent

import (
	"context"
	"net/http"
	"strings"
	"time"

	"berth/backend/agent/part"
	"berth/backend/agent/root"
	"berth/backend/api"
)

const (
	// hostKeyLimit is how long a machine without entropy may take to make a key.
	hostKeyLimit = time.Minute
	// rootLimit is how long anything else may take that needs root.
	rootLimit = 10 * time.Second
)

// root calls this program as root.
func (a *Agent) root() root.Caller { return root.New(part.Command(a.exe, "root")) }

// handleHostKey makes another host key, or takes it into use.
func (a *Agent) handleHostKey(w http.ResponseWriter, r *http.Request) {
	var q api.HostKeyRequest
	err := api.ReadJSON(r, &q)
	if err == nil && q.Step != api.HostKeyNew && q.Step != api.HostKeyUse {
		err = api.Errorf(api.CodeUsage, "step=%.30q is neither %s nor %s", q.Step, api.HostKeyNew, api.HostKeyUse)
	}
	if err == nil && !a.begin() {
		err = errLeaving()
	}
	if err != nil {
		api.WriteError(w, err)
		return
	}
	defer a.streams.Done()
	// Goes on if the client goes meanwhile: a key that is half in use helps nobody.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), hostKeyLimit)
	defer cancel()
	out, err := a.root().Run(ctx, "renewing the host key", "hostkey", q.Step)
	if ctx.Err() != nil {
		err = api.Errorf(api.CodeConflict, "%w", err).WithHint("try again when the instance is less busy")
	}
	if err != nil {
		api.WriteError(w, err)
		return
	}
	api.WriteJSON(w, http.StatusOK, api.HostKey{PublicKey: strings.TrimSpace(string(out))})
}

// clockOff is by how much a clock may be off without anybody's minding.
const clockOff = time.Second

// handleClock puts the clock forward.
func (a *Agent) handleClock(w http.ResponseWriter, r *http.Request) {
	var q api.ClockRequest
	if err := api.ReadJSON(r, &q); err != nil {
		api.WriteError(w, err)
		return
	}
	behind := time.Until(q.Now)
	if behind > clockOff {
		ctx, cancel := context.WithTimeout(r.Context(), rootLimit)
		defer cancel()
		if _, err := a.root().Run(ctx, "setting the clock", "clock", q.Now.UTC().Format(time.RFC3339Nano)); err != nil {
			api.WriteError(w, err)
			return
		}
		a.events.add("clock.set", "info", "the clock was behind by "+behind.Round(time.Second).String()+" and was set")
	}
	api.WriteJSON(w, http.StatusOK, struct{}{})
}
