package workspace

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"berth/backend/api"
)

// fakeSetup is the set-up side of an agent: each step whose script begins with "fail" fails, once; one whose script
// begins with "hold" runs until it is let go.
type fakeSetup struct {
	mu    sync.Mutex
	plans map[string]*api.SetupStatus
	begun []api.SetupPlan
	// resumed are the ids of the plans that were gone on with.
	resumed []string
	// cancelled are the ids of those that were given up.
	cancelled []string
	// held is closed to let those go that are held: they fail.
	held chan struct{}
	// leaves, if set, is what the agent answers a set-up with at first: it is being replaced.
	leaves func() error
	// hostKey answers the steps of a host key's renewal; nil: as an older agent does.
	hostKey func(step string) (api.HostKey, error)
}

func (f *fakeSetup) routes(mux *http.ServeMux) {
	mux.HandleFunc("PUT /v1/setup", func(w http.ResponseWriter, r *http.Request) {
		var p api.SetupPlan
		if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
			api.WriteError(w, err)
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.leaves != nil {
			if err := f.leaves(); err != nil {
				api.WriteError(w, err)
				return
			}
		}
		if f.plans == nil {
			f.plans = map[string]*api.SetupStatus{}
		}
		if f.plans[p.ID] == nil {
			f.begun = append(f.begun, p)
			st := &api.SetupStatus{ID: p.ID, State: api.OpSucceeded, Revision: 1}
			for _, s := range p.Steps {
				step := api.Step{Name: s.Name, Title: s.Title, State: api.OpSucceeded}
				switch {
				case strings.HasPrefix(s.Script, "fail"):
					step.State, step.Message, st.State, st.Log = api.OpFailed, "ended with code 3", api.OpFailed, "no such package"
				case strings.HasPrefix(s.Script, "hold"):
					step.State, st.State = api.OpRunning, api.OpRunning
				}
				st.Steps = append(st.Steps, step)
			}
			f.plans[p.ID] = st
		}
		api.WriteJSON(w, 200, f.plans[p.ID])
	})
	mux.HandleFunc("GET /v1/setup/{id}", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		st, held := f.plans[r.PathValue("id")], f.held
		if st == nil {
			f.mu.Unlock()
			api.WriteError(w, api.Errorf(api.CodeNotFound, "no set-up %q", r.PathValue("id")))
			return
		}
		running := st.State == api.OpRunning && r.URL.Query().Get("after") == strconv.FormatInt(st.Revision, 10)
		f.mu.Unlock()
		if running {
			select {
			case <-held:
			case <-r.Context().Done():
				return
			}
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if running {
			st.State, st.Revision = api.OpFailed, st.Revision+1
			for i := range st.Steps {
				if st.Steps[i].State == api.OpRunning {
					st.Steps[i].State, st.Steps[i].Message = api.OpFailed, "ended with code 3"
				}
			}
		}
		api.WriteJSON(w, 200, st)
	})
	mux.HandleFunc("POST /v1/hostkey", func(w http.ResponseWriter, r *http.Request) {
		var q api.HostKeyRequest
		err := json.NewDecoder(r.Body).Decode(&q)
		f.mu.Lock()
		answer := f.hostKey
		f.mu.Unlock()
		var k api.HostKey
		switch {
		case answer == nil:
			err = api.Errorf(api.CodeNotFound, "there is no POST /v1/hostkey")
		case err == nil:
			k, err = answer(q.Step)
		}
		if err != nil {
			api.WriteError(w, err)
			return
		}
		api.WriteJSON(w, 200, k)
	})
	mux.HandleFunc("DELETE /v1/setup/{id}", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.cancelled = append(f.cancelled, r.PathValue("id"))
		api.WriteJSON(w, 200, f.plans[r.PathValue("id")])
	})
	mux.HandleFunc("POST /v1/setup/{id}/resume", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		st := f.plans[r.PathValue("id")]
		if st == nil {
			api.WriteError(w, api.Errorf(api.CodeNotFound, "no set-up %q", r.PathValue("id")))
			return
		}
		f.resumed = append(f.resumed, st.ID)
		st.State, st.Log = api.OpSucceeded, ""
		st.Revision++
		for i := range st.Steps {
			st.Steps[i].State = api.OpSucceeded
		}
		api.WriteJSON(w, 200, st)
	})
}
