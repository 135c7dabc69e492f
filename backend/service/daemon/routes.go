package daemon

import (
	"context"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	"berth/backend/api"
	"berth/backend/base/version"
)

// Routes is the table of what the workspace serves. It is also the source of the OpenAPI description,
// for which a zero Server is enough.
func (s *Server) Routes() []api.Route {
	read, write, access := api.Needs(api.ActionRead), api.Needs(api.ActionWrite), api.Needs(api.ActionAccess)
	start, stop, restart := api.Needs(api.ActionStart), api.Needs(api.ActionStop), api.Needs(api.ActionRestart)
	del, checkName := api.Needs(api.ActionDelete), api.Needs(api.ActionCheckName)
	create, restore := api.Needs(api.ActionWrite, api.ActionCheckName), api.Needs(api.ActionWrite, api.ActionAccess)
	return []api.Route{
		{Method: "GET", Path: "/v1/info", Needs: read,
			Summary: "What runs here", Response: api.Info{}, Handler: s.handle(s.info)},
		{Method: "GET", Path: "/v1/instances", Needs: read,
			Summary: "The fleet, in name order", Query: []string{"mine", "backend",
				"state"}, Response: []api.Instance{}, Handler: s.handle(s.list)},
		{Method: "POST", Path: "/v1/instances", Needs: create,
			Summary: "Create an instance; answers with the operation",
			Request: api.CreateRequest{}, Response: api.Operation{}, Handler: s.handle(s.create)},
		{Method: "POST", Path: "/v1/adopt", Needs: create,
			Summary: "Take in a machine that exists; answers with the operation",
			Request: api.AdoptRequest{}, Response: api.Operation{}, Handler: s.handle(s.adopt)},
		{Method: "GET", Path: "/v1/instances/{name}", Needs: read,
			Summary:  "One instance, by name, BACKEND/NAME or id",
			Response: api.Instance{}, Handler: s.handle(s.show)},
		{Method: "POST", Path: "/v1/instances/{name}/refresh", Needs: read,
			Summary:  "Ask the provider for the instance now",
			Response: api.Instance{}, Handler: s.handle(s.refresh)},
		{Method: "GET", Path: "/v1/instances/{name}/console", Needs: access,
			Summary:  "The last output of the instance's console",
			Response: console{}, Handler: s.handle(s.console)},
		{Method: "POST", Path: "/v1/instances/{name}/exec", Needs: access, Summary: "Run a command on the instance",
			Request: api.ExecRequest{}, Stream: "frames", Handler: s.relay("/v1/exec")},
		{Method: "POST", Path: "/v1/instances/{name}/terminal", Needs: access,
			Summary: "Attach to a terminal on the instance, or open one",
			Request: api.TerminalRequest{}, Stream: "frames", Handler: s.relay("/v1/terminal")},
		{Method: "POST", Path: "/v1/instances/{name}/setup", Needs: access,
			Summary: "Set up an instance: go on with what failed, apply profiles, run a script; answers with the operation",
			Request: api.SetupRequest{}, Response: api.Operation{}, Handler: s.handle(s.setup)},
		{Method: "PATCH", Path: "/v1/instances/{name}", Needs: write, Summary: "Change what is said of the instance",
			Request: api.SetRequest{}, Response: api.Instance{}, Handler: s.handle(s.set)},
		{Method: "GET", Path: "/v1/instances/{name}/snapshots", Needs: read,
			Summary:  "The instance's snapshots, oldest first",
			Response: []api.Snapshot{}, Handler: s.handle(s.snapshots)},
		{Method: "POST", Path: "/v1/instances/{name}/snapshots", Needs: write,
			Summary: "Take a snapshot; answers with the operation",
			Request: api.SnapshotRequest{}, Response: api.Operation{}, Handler: s.handle(s.snapshot)},
		{Method: "POST", Path: "/v1/instances/{name}/snapshots/{snapshot}/restore", Needs: restore,
			Summary: "Go back to a snapshot; answers with the operation", Request: api.SnapshotRequest{},
			Response: api.Operation{}, Handler: s.handle(s.restore)},
		{Method: "DELETE", Path: "/v1/instances/{name}/snapshots/{snapshot}", Needs: del,
			Summary: "Forget a snapshot",
			Handler: s.handle(s.deleteSnapshot)},
		{Method: "POST", Path: "/v1/instances/{name}/start", Needs: start,
			Summary: "Start the instance; answers with the operation",
			Request: api.ActionRequest{}, Response: api.Operation{}, Handler: s.action("start")},
		{Method: "POST", Path: "/v1/instances/{name}/stop", Needs: stop,
			Summary: "Stop it; answers with the operation",
			Request: api.ActionRequest{}, Response: api.Operation{}, Handler: s.action("stop")},
		{Method: "POST", Path: "/v1/instances/{name}/restart", Needs: restart,
			Summary: "Restart it; answers with the operation",
			Request: api.ActionRequest{}, Response: api.Operation{}, Handler: s.action("restart")},
		{Method: "POST", Path: "/v1/instances/{name}/delete", Needs: del,
			Summary: "Delete it, as DELETE does; answers with the operation",
			Request: api.ActionRequest{}, Response: api.Operation{}, Handler: s.action("delete")},
		{Method: "DELETE", Path: "/v1/instances/{name}", Needs: del,
			Summary: "Delete the instance; answers with the operation", Response: api.Operation{}, Handler: s.action("delete")},
		{Method: "GET", Path: "/v1/operations", Needs: read,
			Summary: "The operations under way", Response: []api.Operation{},
			Handler: s.handle(s.operations)},
		{Method: "GET", Path: "/v1/operations/{id}", Needs: read,
			Summary: "One operation; with follow=true a stream of it until it is done", Query: []string{"follow"},
			Response: api.Operation{}, Handler: s.operation},
		{Method: "GET", Path: "/v1/events", Needs: read,
			Summary: "What happened; with follow=true a stream that goes on",
			Query:   []string{"instance", "since", "limit", "follow"}, Response: []api.Event{}, Handler: s.events},
		{Method: "GET", Path: "/v1/watch", Needs: read,
			Summary: "The fleet, then every change of it", Response: api.Change{},
			Stream: "ndjson", Handler: s.watch},
		{Method: "GET", Path: "/v1/figures", Needs: read,
			Summary: "The last figures of every instance, then new ones",
			Query:   []string{"every"}, Response: api.FleetFigures{}, Stream: "ndjson", Handler: s.figures},
		{Method: "GET", Path: "/v1/metrics", Needs: read,
			Summary: "The figures of the fleet in Prometheus' text format",
			Handler: s.metrics},
		{Method: "POST", Path: "/v1/instances/{name}/attention", Needs: write,
			Summary: "Acknowledge or mute what wants attention",
			Request: api.AttentionRequest{}, Handler: s.handle(s.attend)},
		{Method: "GET", Path: "/v1/backends", Needs: read,
			Summary: "The backends that can be used", Response: []api.BackendInfo{},
			Handler: s.handle(s.backends)},
		{Method: "GET", Path: "/v1/sizes", Needs: read, Summary: "What sizes there are", Query: []string{"backend"},
			Response: []api.Size{}, Handler: s.handle(s.sizes)},
		{Method: "GET", Path: "/v1/images", Needs: read, Summary: "What images there are", Query: []string{"backend"},
			Response: []api.Image{}, Handler: s.handle(s.images)},
		{Method: "POST", Path: "/v1/images", Needs: write,
			Summary: "Make an image of an instance; answers with the operation",
			Request: api.ImageRequest{}, Response: api.Operation{}, Handler: s.handle(s.buildImage)},
		{Method: "DELETE", Path: "/v1/images/{backend}/{name}", Needs: del,
			Summary: "Remove an image that was made or fetched",
			Handler: s.handle(s.deleteImage)},
		{Method: "GET", Path: "/v1/names/{name}", Needs: checkName,
			Summary: "Whether a new instance may have this name",
			Handler: s.handle(s.name)},
		{Method: "GET", Path: "/v1/doctor", Needs: read,
			Summary:  "Checks of the store, the backends and the instances",
			Response: []api.Check{}, Handler: s.handle(s.doctor)},
		{Method: "DELETE", Path: "/v1/orphans/{id}", Needs: del, Summary: "Remove a leftover that doctor names",
			Query:   []string{"force"},
			Handler: s.handle(s.removeOrphan)},
		{Method: "POST", Path: "/v1/workspace/join", Needs: create,
			Summary: "Make this home one of another home's workspace: its machines are taken into the fleet",
			Request: api.JoinRequest{}, Response: api.Joined{}, Handler: s.handle(s.join)},
		{Method: "GET", Path: "/v1/questions", Needs: read, Summary: "The questions that the caller's own calls cause",
			Query: []string{"client", "ends"}, Response: api.Question{}, Stream: "ndjson", Handler: s.questionStream},
		{Method: "POST", Path: "/v1/questions/{id}", Needs: read, Summary: "Answer a question of one's own",
			Request: api.Answer{},
			Handler: s.handle(s.answer)},
		{Method: "POST", Path: "/v1/daemon/stop", Needs: write,
			Summary: "End the daemon; operations go on in the next one",
			Handler: s.handle(s.stopDaemon)},
		{Method: "POST", Path: "/v1/daemon/handover", Needs: write,
			Summary: "Make way for a newer daemon; byte streams go on to their end",
			Request: version.Version{}, Handler: s.handOver},
		{Method: "GET", Path: "/v1/instances/{name}/agent/{path...}", Needs: access,
			Summary: "The instance's agent", Handler: s.agent},
		{Method: "POST", Path: "/v1/instances/{name}/agent/{path...}", Needs: access,
			Summary: "The instance's agent", Handler: s.agent},
		{Method: "DELETE", Path: "/v1/instances/{name}/agent/{path...}", Needs: access,
			Summary: "The instance's agent", Handler: s.agent},
	}
}

// handle turns a function into a handler that answers with its document or its error.
func (s *Server) handle(f func(ctx context.Context, r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := f(r.Context(), r)
		switch {
		case err != nil:
			api.WriteError(w, err)
		case v == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			api.WriteJSON(w, http.StatusOK, v)
		}
	}
}

func (s *Server) info(context.Context, *http.Request) (any, error) {
	v := version.Current()
	wid, hid := s.ws.IDs()
	return api.Info{Version: v.Number, Built: v.Built, Capability: version.Capability, PID: os.Getpid(),
		Home: s.cfg.Home.Root, WorkspaceID: wid, HomeID: hid,
		LogPath: s.cfg.Home.Log(), StartedAt: s.started.UTC(), Instances: s.ws.Len(), Clients: int(s.active.Load()) - 1,
		Operations: s.ws.Busy(), Questions: s.questions.waiting()}, nil
}

func (s *Server) list(ctx context.Context, r *http.Request) (any, error) {
	q := r.URL.Query()
	mine, err := boolean(q.Get("mine"), "mine")
	if err != nil {
		return nil, err
	}
	s.ws.Reconciler.Fresh(ctx)
	be := q.Get("backend")
	list := s.ws.Instances(ctx, api.ListOptions{Mine: mine, Backend: be, State: api.State(q.Get("state"))})
	if len(list) == 0 && be != "" && s.failed[be] == nil {
		if err := s.ws.Catalogue.Knows(be); err != nil {
			return nil, err
		}
	}
	for i := range list {
		if in := &list[i]; in.Agent != nil && in.Agent.State == "ready" && in.Agent.Jobs != (api.JobCounts{}) {
			if rec, err := s.ws.Record(in.ID); err == nil {
				s.fleet.NoteJobs(rec)
			}
		}
	}
	return list, nil
}

func boolean(v, name string) (bool, error) {
	if v == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, api.Errorf(api.CodeUsage, "%s=%q is neither true nor false", name, v)
	}
	return b, nil
}

func (s *Server) create(ctx context.Context, r *http.Request) (any, error) {
	var q api.CreateRequest
	if err := api.ReadJSON(r, &q); err != nil {
		return nil, err
	}
	return s.ws.Create(ctx, q)
}

func (s *Server) adopt(ctx context.Context, r *http.Request) (any, error) {
	var q api.AdoptRequest
	if err := api.ReadJSON(r, &q); err != nil {
		return nil, err
	}
	if !q.Local {
		ssh := s.cfg.Settings["ssh"]
		if q.Share == "" {
			q.Share = ssh["share"]
		}
		if q.Transport == "" && ssh["transport"] != "own" {
			q.Transport = ssh["transport"]
		}
	}
	return s.ws.Adopt(ctx, q)
}

func (s *Server) show(ctx context.Context, r *http.Request) (any, error) {
	s.ws.Reconciler.Fresh(ctx)
	return s.ws.Reconciler.Show(ctx, r.PathValue("name"))
}

func (s *Server) refresh(ctx context.Context, r *http.Request) (any, error) {
	return s.ws.Reconciler.Refresh(ctx, r.PathValue("name"))
}

type console struct {
	Text string `json:"text"`
}

func (s *Server) console(ctx context.Context, r *http.Request) (any, error) {
	text, err := s.ws.Catalogue.Console(ctx, r.PathValue("name"))
	return console{text}, err
}

func (s *Server) action(kind string) http.HandlerFunc {
	return s.handle(func(ctx context.Context, r *http.Request) (any, error) {
		var q api.ActionRequest
		if err := api.ReadJSON(r, &q); err != nil {
			return nil, err
		}
		return s.ws.Action(ctx, r.PathValue("name"), kind, q)
	})
}

func (s *Server) operations(ctx context.Context, _ *http.Request) (any, error) {
	return slices.DeleteFunc(s.ws.Operations(), func(op api.Operation) bool {
		return !s.ws.MaySee(ctx, op.InstanceID)
	}), nil
}

func (s *Server) set(ctx context.Context, r *http.Request) (any, error) {
	var q api.SetRequest
	if err := api.ReadJSON(r, &q); err != nil {
		return nil, err
	}
	return s.ws.Set(ctx, r.PathValue("name"), q)
}

func (s *Server) backends(ctx context.Context, _ *http.Request) (any, error) {
	out := s.ws.Catalogue.Backends(ctx)
	for name, err := range s.failed {
		out = append(out, api.BackendInfo{Name: name, Title: name, Error: api.AsError(err)})
	}
	return out, nil
}

func (s *Server) sizes(ctx context.Context, r *http.Request) (any, error) {
	return s.ws.Catalogue.Sizes(ctx, r.URL.Query().Get("backend"))
}

func (s *Server) images(ctx context.Context, r *http.Request) (any, error) {
	return s.ws.Catalogue.Images(ctx, r.URL.Query().Get("backend"))
}

func (s *Server) name(_ context.Context, r *http.Request) (any, error) {
	return nil, s.ws.CheckNewName(r.PathValue("name"))
}

func (s *Server) doctor(ctx context.Context, _ *http.Request) (any, error) {
	see := func(id string) bool { return s.ws.MaySee(ctx, id) }
	checks := append(s.ws.Doctor.Check(ctx), s.fleet.Check(ctx, see)...)
	for name, err := range s.failed {
		checks = append(checks, api.Check{Area: "backend", Name: name, Status: "fail", Message: err.Error(),
			Fix: api.AsError(err).Hint})
	}
	return checks, nil
}

func (s *Server) removeOrphan(ctx context.Context, r *http.Request) (any, error) {
	return nil, s.ws.Doctor.RemoveOrphan(ctx, r.PathValue("id"), r.URL.Query().Get("force") == "true")
}

func (s *Server) join(ctx context.Context, r *http.Request) (any, error) {
	var q api.JoinRequest
	if err := api.ReadJSON(r, &q); err != nil {
		return nil, err
	}
	return s.ws.Membership.Join(ctx, q)
}

func (s *Server) stopDaemon(_ context.Context, r *http.Request) (any, error) {
	if r.URL.Query().Get("idle") == "true" && (s.active.Load() > 1 || s.needed()) {
		return nil, api.Errorf(api.CodeConflict, "the daemon is in use: %d requests and %d operations are under way, %d jobs "+
			"wait for their instances", s.active.Load()-1, s.ws.Busy(), s.ws.Outbox.Waiting())
	}
	// After the answer: the client waits for the socket to go.
	time.AfterFunc(20*time.Millisecond, s.end)
	return nil, nil
}
