package system

import (
	"context"
	"net/http"
	"strings"
	"time"

	"berth/backend/agent/part"
	"berth/backend/api"
)

const (
	// hostKeyLimit is how long a machine without entropy may take to make a key.
	hostKeyLimit = time.Minute
	// rootLimit is how long anything else may take that needs root.
	rootLimit = 10 * time.Second
)

// service does it for one agent.
type service struct{ h *part.Host }

// New makes the part that changes the system.
func New(h *part.Host) part.Part {
	s := service{h}
	return part.Part{
		Name: "clock and host keys",
		Routes: []api.Route{
			{Method: "POST", Path: "/v1/clock", Needs: api.Needs(api.ActionWrite),
				Summary: "Put the instance's clock forward",
				Request: api.ClockRequest{}, Handler: s.handleClock},
			{Method: "POST", Path: "/v1/hostkey", Needs: api.Needs(api.ActionWrite),
				Summary: "Make another host key for the instance's sshd, or take it into use",
				Request: api.HostKeyRequest{}, Response: api.HostKey{}, Handler: s.handleHostKey},
		},
	}
}

// handleHostKey makes another host key, or takes it into use.
func (s service) handleHostKey(w http.ResponseWriter, r *http.Request) {
	if !s.h.Begin() {
		part.Leaving(w)
		return
	}
	defer s.h.Done()
	var q api.HostKeyRequest
	err := api.ReadJSON(r, &q)
	if err == nil && q.Step != api.HostKeyNew && q.Step != api.HostKeyUse {
		err = api.Errorf(api.CodeUsage, "step=%.30q is neither %s nor %s", q.Step, api.HostKeyNew, api.HostKeyUse)
	}
	if err != nil {
		api.WriteError(w, err)
		return
	}
	// Goes on if the client goes meanwhile: a key that is half in use helps nobody.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), hostKeyLimit)
	defer cancel()
	out, err := s.h.Root().Run(ctx, "renewing the host key", "hostkey", q.Step)
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
func (s service) handleClock(w http.ResponseWriter, r *http.Request) {
	var q api.ClockRequest
	if err := api.ReadJSON(r, &q); err != nil {
		api.WriteError(w, err)
		return
	}
	behind := time.Until(q.Now)
	if behind > clockOff {
		ctx, cancel := context.WithTimeout(r.Context(), rootLimit)
		defer cancel()
		if _, err := s.h.Root().Run(ctx, "setting the clock", "clock", q.Now.UTC().Format(time.RFC3339Nano)); err != nil {
			api.WriteError(w, err)
			return
		}
		s.h.Event("clock.set", "info", "the clock was behind by "+behind.Round(time.Second).String()+" and was set")
	}
	api.WriteJSON(w, http.StatusOK, struct{}{})
}
