package setup

import (
	"errors"
	"io/fs"
	"net/http"
	"path/filepath"

	"berth/backend/agent/part"
	"berth/backend/api"
	"berth/backend/base/atomicfile"
	"berth/gpu/procs/proc"
)

// onStart is what is kept of the start script: a machine may boot while nobody is connected who would ask for it.
type onStart struct {
	Boot string        `json:"boot"` // it is begun after a boot later than this one
	Plan api.SetupPlan `json:"plan"` // without steps: there is none
}

func onStartPath(o part.Options) string { return filepath.Join(o.State, "onstart.json") }

// handleOnStart keeps what is run at each boot from the next on.
func (s *service) handleOnStart(w http.ResponseWriter, r *http.Request) {
	var plan api.SetupPlan
	err := api.ReadJSON(r, &plan)
	plan.ID = api.OnStartID(proc.BootID())
	if err == nil && len(plan.Steps) > 0 {
		err = s.Engine.Check(plan)
	}
	if err == nil {
		err = s.Engine.keepWith(func() error {
			err := atomicfile.Write(onStartPath(s.h.Options), onStart{Boot: proc.BootID(), Plan: plan})
			if err != nil {
				return api.Errorf(api.CodeFailed, "keeping the start script on the instance: %w", err)
			}
			return nil
		})
	}
	if err != nil {
		api.WriteError(w, err)
		return
	}
	api.WriteJSON(w, http.StatusOK, struct{}{})
}

// runOnStart begins the start script if the machine has booted since it was kept or begun. Whoever asks for the
// same start finds it under way: the plan is known by the boot.
func (s *service) runOnStart() {
	var kept onStart
	switch err := atomicfile.Read(onStartPath(s.h.Options), &kept); {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		s.h.Log.Error("the start script can't be read", "err", err)
		s.h.Event("setup.failed", "error", "the start script was not run: "+err.Error())
		return
	}
	if kept.Boot == proc.BootID() || len(kept.Plan.Steps) == 0 {
		return
	}
	kept.Boot = proc.BootID()
	kept.Plan.ID = api.OnStartID(kept.Boot)
	_, err := s.Engine.Put(kept.Plan)
	if err == nil {
		err = atomicfile.Write(onStartPath(s.h.Options), kept)
	}
	if err != nil {
		s.h.Log.Error("beginning the start script", "err", err)
		s.h.Event("setup.failed", "error", "the start script was not run: "+err.Error())
	}
}
