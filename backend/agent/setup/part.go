package setup

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"berth/backend/agent/environ"
	"berth/backend/agent/part"
	"berth/backend/agent/root"
	"berth/backend/agent/user"
	"berth/backend/api"
)

// service is the part that serves set-ups.
type service struct {
	h *part.Host
	*Engine
}

// New makes the part that runs set-ups and the start script.
func New(h *part.Host) part.Part {
	s := &service{h: h}
	return part.Part{
		Name:   "set-ups",
		Routes: s.routes(),
		Start:  s.start,
		Drain:  func() { s.Engine.Stop() },
		Stop:   func() { s.Engine.Stop() },
		End:    s.end,
		Info: func(i *api.AgentInfo) {
			if s.Busy() {
				part.Worked(i, i.Now)
			}
		},
	}
}

func (s *service) routes() []api.Route {
	return []api.Route{
		{Method: "PUT", Path: "/v1/setup", Needs: api.Needs(api.ActionAccess),
			Summary: "Begin a set-up, or go on with the one of this id",
			Request: api.SetupPlan{}, Response: api.SetupStatus{}, Handler: s.handlePut},
		{Method: "PUT", Path: "/v1/onstart", Needs: api.Needs(api.ActionAccess),
			Summary: "Keep what is run at each boot from the next on; without steps, nothing is",
			Request: api.SetupPlan{}, Handler: s.handleOnStart},
		{Method: "GET", Path: "/v1/setup/{id}", Needs: api.Needs(api.ActionAccess),
			Summary: "How far a set-up is; waits up to 25 s for a revision other than after",
			Query:   []string{"after"}, Response: api.SetupStatus{}, Handler: s.handleGet},
		{Method: "POST", Path: "/v1/setup/{id}/resume", Needs: api.Needs(api.ActionAccess),
			Summary:  "Run the failed step of a set-up again and go on",
			Response: api.SetupStatus{}, Handler: s.handleResume},
		{Method: "DELETE", Path: "/v1/setup/{id}", Needs: api.Needs(api.ActionAccess),
			Summary:  "Cancel a set-up and end the step that runs",
			Response: api.SetupStatus{}, Handler: s.handleCancel},
	}
}

// start opens the set-ups of this instance and lets them go on.
func (s *service) start(context.Context) error {
	h := s.h
	o := Options{Dir: filepath.Join(h.State, "setup"), Work: h.Workdir, Env: s.env, Log: h.Log, Root: h.Root(),
		Runner: func(folder, step, attempt string) []string {
			return part.Command(h.Exe, "setup-step", folder, step, attempt)
		},
		Changed:      s.changed,
		BeforeReboot: s.comeBack,
	}
	if h.AfterReboot != "" { // whoever says so does not come back by itself
		o.NoReboot = h.AfterReboot
	}
	var err error
	if s.Engine, err = Open(o); err != nil {
		return err
	}
	s.runOnStart()
	go h.Contain("running set-ups", s.run) // ends with Stop
	return nil
}

// comeBack arranges that this agent is started after a reboot. On a machine that was only just made that may not have
// been done yet.
func (s *service) comeBack(ctx context.Context) {
	argv := part.Command(s.h.Exe, append([]string{"start"}, s.h.Args()...)...)
	if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
		s.h.Log.Warn("arranging to come back after a reboot", "error", err, "output", string(out))
	}
}

// env is what steps run with: the user's like any command, root's with little of the user's.
func (s *service) env(ctx context.Context, asRoot bool) ([]string, bool) {
	env := s.h.Environment(ctx, nil, false, "")
	if ctx.Err() != nil {
		return nil, false
	}
	who := []string{"BERTH_USER=" + user.Name(), "BERTH_USER_HOME=" + s.h.Home}
	if !asRoot {
		return environ.Merge(env, who...), true
	}
	home := "/root"
	if os.Getuid() == 0 {
		home = s.h.Home
	}
	out := []string{"PATH=" + root.DefaultPath, "HOME=" + home, "USER=root", "LOGNAME=root", "LANG=C.UTF-8"}
	for _, kv := range env {
		k, _, _ := strings.Cut(kv, "=")
		if strings.HasSuffix(strings.ToLower(k), "_proxy") || k == "TZ" || k == "SSL_CERT_FILE" || k == "SSL_CERT_DIR" {
			out = append(out, kv)
		}
	}
	return environ.Merge(out, append(s.h.Env(), who...)...), true
}

// changed notes a step's beginning or end as an event.
func (s *service) changed(st api.SetupStatus) {
	s.h.Active()
	switch st.State {
	case api.OpFailed:
		why := "for an unknown reason"
		if st.Error != nil {
			why = st.Error.Message
		}
		s.h.Event("setup.failed", "error", "the set-up failed: "+why)
	case api.OpSucceeded, api.OpCancelled:
		how := map[bool]string{true: "succeeded", false: "been cancelled"}[st.State == api.OpSucceeded]
		s.h.Event("setup."+string(st.State), "info", "the set-up has "+how)
	}
}

func (s *service) handlePut(w http.ResponseWriter, r *http.Request) {
	if !s.h.Begin() {
		part.Leaving(w)
		return
	}
	defer s.h.Done()
	var plan api.SetupPlan
	if err := api.ReadJSON(r, &plan); err != nil {
		api.WriteError(w, err)
		return
	}
	answerSetup(w)(s.Engine.Put(plan))
}

func (s *service) handleGet(w http.ResponseWriter, r *http.Request) {
	after := int64(0)
	if q := r.URL.Query().Get("after"); q != "" {
		var err error
		if after, err = strconv.ParseInt(q, 10, 64); err != nil {
			api.WriteError(w, api.Errorf(api.CodeUsage, "after=%.30q is no revision of a set-up", q))
			return
		}
	}
	answerSetup(w)(s.Engine.Get(r.Context(), r.PathValue("id"), after))
}

func (s *service) handleResume(w http.ResponseWriter, r *http.Request) {
	answerSetup(w)(s.Engine.Resume(r.PathValue("id")))
}

func (s *service) handleCancel(w http.ResponseWriter, r *http.Request) {
	answerSetup(w)(s.Engine.Cancel(r.Context(), r.PathValue("id")))
}

func answerSetup(w http.ResponseWriter) func(api.SetupStatus, error) {
	return func(st api.SetupStatus, err error) {
		if err != nil {
			api.WriteError(w, err)
			return
		}
		api.WriteJSON(w, http.StatusOK, st)
	}
}

// end ends what runs of a set-up, for an instance that is stopped with all that runs on it.
func (s *service) end(ctx context.Context, grace time.Duration) error {
	s.Engine.Stop()
	ctx, cancel := context.WithTimeout(ctx, grace+15*time.Second)
	defer cancel()
	s.Engine.End(ctx)
	return nil
}
