package server

import (
	"context"
	"net/http"
	"time"

	"berth/backend/agent/part"
	"berth/backend/api"
	"berth/backend/base/version"
)

// Routes lists what an agent of these parts serves, for its description.
func Routes(parts []func(*part.Host) part.Part) []api.Route {
	out := new(Agent).own()
	for _, newPart := range parts {
		out = append(out, newPart(new(part.Host)).Routes...)
	}
	return out
}

// own are the routes that belong to no part.
func (a *Agent) own() []api.Route {
	return []api.Route{
		{Method: "GET", Path: "/v1/info", Needs: api.Needs(api.ActionRead),
			Summary:  "What the agent says of itself and its host",
			Response: api.AgentInfo{}, Handler: a.handleInfo},
		{Method: "GET", Path: "/v1/events", Needs: api.Needs(api.ActionRead),
			Summary:  "What happened and happens on the instance",
			Response: api.Event{}, Stream: "ndjson", Handler: a.handleEvents},
		{Method: "POST", Path: "/v1/stop", Needs: api.Needs(api.ActionStop),
			Summary: "End the agent, with or without what it supervises",
			Request: api.StopRequest{}, Handler: a.handleStop},
		{Method: "POST", Path: "/v1/leave", Needs: api.Needs(api.ActionStop),
			Summary: "End what is of one home, where others use the agent, too",
			Request: api.LeaveRequest{}, Response: api.LeaveAnswer{}, Handler: a.handleLeave},
		{Method: "POST", Path: "/v1/handover", Needs: api.Needs(api.ActionWrite),
			Summary: "Make way for a newer agent",
			Request: version.Version{}, Response: version.Version{}, Handler: a.handleHandover},
	}
}

func (a *Agent) routes() []api.Route {
	out := a.own()
	for _, p := range a.parts {
		out = append(out, p.routes()...)
	}
	return out
}

func (a *Agent) handleInfo(w http.ResponseWriter, r *http.Request) {
	info := a.Info()
	for i := range info.Homes {
		info.Homes[i].Own = info.Homes[i].ID == api.HomeOf(r.Header).ID
	}
	api.WriteJSON(w, http.StatusOK, info)
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

func (a *Agent) handleStop(w http.ResponseWriter, r *http.Request) {
	var req api.StopRequest
	if err := api.ReadJSON(r, &req); err != nil {
		api.WriteError(w, err)
		return
	}
	grace := time.Duration(req.GraceSeconds * float64(time.Second))
	if grace <= 0 {
		grace = stopGrace
	}
	if req.End {
		// Ends also if the client goes meanwhile: half an end helps nobody.
		ctx := context.WithoutCancel(r.Context())
		a.grace.Store(int64(grace))
		a.endStreams() // execs are hung up, and nothing new begins
		if err := a.endParts(ctx, grace); err != nil {
			api.WriteError(w, err)
			return
		}
		a.streams.Wait()
	}
	api.WriteJSON(w, http.StatusOK, struct{}{})
	a.leave()
}
