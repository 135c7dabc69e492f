package uitest

import (
	"net/http"
	"strconv"
	"time"

	"berth/backend/api"
	"berth/gpu"
)

// figureRoutes are those of the fleet's figures and of each instance's agent.
func (s *Server) figureRoutes() []api.Route {
	agent := func(r *http.Request) agent { return agent{s.WS, r.PathValue("name")} }
	return []api.Route{
		{Method: "GET", Path: "/v1/figures", Handler: func(w http.ResponseWriter, r *http.Request) {
			out := api.NewNDJSON(w)
			_ = s.WS.WatchFleet(r.Context(), 0, func(l api.FleetFigures) error { return out.Write(l) })
		}},
		{Method: "POST", Path: "/v1/instances/{name}/attention", Handler: func(w http.ResponseWriter, r *http.Request) {
			var req api.AttentionRequest
			if err := api.ReadJSON(r, &req); err != nil {
				api.WriteError(w, err)
				return
			}
			respond(w, struct{}{}, s.WS.Attend(r.Context(), r.PathValue("name"), req))
		}},
		{Method: "GET", Path: "/v1/instances/{name}/agent/v1/figures", Handler: func(w http.ResponseWriter, r *http.Request) {
			out := api.NewNDJSON(w)
			_ = agent(r).WatchFigures(r.Context(), 0, api.ProcessSearch{Filter: r.FormValue("filter")},
				func(v gpu.Sample) error { return out.Write(v) })
		}},
		{Method: "GET", Path: "/v1/instances/{name}/agent/v1/history", Handler: func(w http.ResponseWriter, r *http.Request) {
			since, _ := time.Parse(time.RFC3339Nano, r.FormValue("since"))
			n, _ := strconv.Atoi(r.FormValue("points"))
			v, err := agent(r).History(r.Context(), api.HistoryOptions{Metrics: r.Form["metric"],
				Subject: r.FormValue("subject"), Since: since, Points: n})
			respond(w, v, err)
		}},
		{Method: "POST", Path: "/v1/instances/{name}/agent/v1/processes/{pid}/signal", Handler: func(w http.ResponseWriter,
			r *http.Request) {
			var req api.SignalRequest
			if err := api.ReadJSON(r, &req); err != nil {
				api.WriteError(w, err)
				return
			}
			pid, _ := strconv.Atoi(r.PathValue("pid"))
			respond(w, struct{}{}, agent(r).SignalProcess(r.Context(), pid, req))
		}},
	}
}
