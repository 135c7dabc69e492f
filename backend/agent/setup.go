package agent

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"berth/backend/agent/environ"
	"berth/backend/agent/part"
	"berth/backend/agent/setup"
	"berth/backend/agent/user"
	"berth/backend/api"
)

// newSetups opens the set-ups of this instance.
func newSetups(a *Agent) (*setup.Engine, error) {
	o := setup.Options{Dir: filepath.Join(a.o.State, "setup"), Work: a.o.Workdir, Env: a.setupEnv, Log: a.log, Root: a.root(),
		Runner: func(folder, step, attempt string) []string {
			return part.Command(a.exe, "setup-step", folder, step, attempt)
		},
		Changed: a.setupChanged,
	}
	if a.o.AfterReboot != "" { // whoever says so does not come back by itself
		o.NoReboot = a.o.AfterReboot
	}
	return setup.Open(o)
}

// setupEnv is what steps run with: the user's like any command, root's with little of the user's.
func (a *Agent) setupEnv(ctx context.Context, root bool) ([]string, bool) {
	env := a.environment(ctx, nil, false, "")
	if ctx.Err() != nil {
		return nil, false
	}
	who := []string{"BERTH_USER=" + user.Name(), "BERTH_USER_HOME=" + a.o.Home}
	if !root {
		return environ.Merge(env, who...), true
	}
	home := "/root"
	if os.Getuid() == 0 {
		home = a.o.Home
	}
	out := []string{"PATH=" + environ.DefaultPath, "HOME=" + home, "USER=root", "LOGNAME=root", "LANG=C.UTF-8"}
	for _, kv := range env {
		k, _, _ := strings.Cut(kv, "=")
		if strings.HasSuffix(strings.ToLower(k), "_proxy") || k == "TZ" || k == "SSL_CERT_FILE" || k == "SSL_CERT_DIR" {
			out = append(out, kv)
		}
	}
	return environ.Merge(out, append(a.o.Env(), who...)...), true
}

// setupChanged notes a step's beginning or end as an event.
func (a *Agent) setupChanged(st api.SetupStatus) {
	a.active()
	switch st.State {
	case api.OpFailed:
		why := "for an unknown reason"
		if st.Error != nil {
			why = st.Error.Message
		}
		a.events.add("setup.failed", "error", "the set-up failed: "+why)
	case api.OpSucceeded, api.OpCancelled:
		a.events.add("setup."+string(st.State), "info", "the set-up has "+map[bool]string{true: "succeeded", false: "been cancelled"}[st.State == api.OpSucceeded])
	}
}

func (a *Agent) handlePutSetup(w http.ResponseWriter, r *http.Request) {
	var plan api.SetupPlan
	err := api.ReadJSON(r, &plan)
	if err == nil && !a.begin() {
		err = errLeaving()
	}
	if err != nil {
		api.WriteError(w, err)
		return
	}
	defer a.streams.Done()
	answerSetup(w)(a.setups.Put(plan))
}

func (a *Agent) handleSetup(w http.ResponseWriter, r *http.Request) {
	after := int64(0)
	if q := r.URL.Query().Get("after"); q != "" {
		var err error
		if after, err = strconv.ParseInt(q, 10, 64); err != nil {
			api.WriteError(w, api.Errorf(api.CodeUsage, "after=%.30q is no revision of a set-up", q))
			return
		}
	}
	answerSetup(w)(a.setups.Get(r.Context(), r.PathValue("id"), after))
}

func (a *Agent) handleResumeSetup(w http.ResponseWriter, r *http.Request) {
	answerSetup(w)(a.setups.Resume(r.PathValue("id")))
}

func (a *Agent) handleCancelSetup(w http.ResponseWriter, r *http.Request) {
	answerSetup(w)(a.setups.Cancel(r.Context(), r.PathValue("id")))
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

// endSetups ends what runs of a set-up, for an instance that is stopped with all that runs on it.
func (a *Agent) endSetups(ctx context.Context, grace time.Duration) {
	a.setups.Stop()
	ctx, cancel := context.WithTimeout(ctx, grace+15*time.Second)
	defer cancel()
	a.setups.End(ctx)
}
