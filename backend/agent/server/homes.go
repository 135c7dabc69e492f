package server

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/backend/agent/part"
	"berth/backend/api"
	"berth/backend/base/atomicfile"
)

// Homes is homes.json: which of Berth's homes use an agent.
type Homes struct {
	Version int           `json:"version"`
	Homes   []api.HomeUse `json:"homes"`
}

// homesVersion is the version of homes.json.
const homesVersion = 1

func homesPath(o part.Options) string { return filepath.Join(o.State, "homes.json") }

// ReadHomes reads which homes use the agent of some options' state folder. Where there is no record nobody is known.
func ReadHomes(o part.Options) (Homes, error) {
	h := Homes{Version: homesVersion}
	err := atomicfile.Read(homesPath(o), &h)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return h, err
}

// Know reports whether a home has used the agent.
func (h *Homes) Know(id string) bool {
	return slices.ContainsFunc(h.Homes, func(u api.HomeUse) bool { return u.ID == id })
}

// Others are the homes but for one.
func (h *Homes) Others(id string) []api.HomeUse {
	return slices.DeleteFunc(slices.Clone(h.Homes), func(u api.HomeUse) bool {
		return u.ID == id || u.ID == "" && time.Since(u.SeenAt) > api.NamelessFor
	})
}

// homes keeps note of who uses the agent.
type homes struct {
	mu      sync.Mutex
	file    Homes
	writing sync.Mutex    // held by whoever writes the file, and taken before mu
	changed chan struct{} // holds one where there is something to write
}

// seenEvery is how often it is written that a home uses the agent.
const seenEvery = time.Hour

// noteHomes takes note of the homes that requests come from. One that does not say who it is counts where it does more
// than to look: on the machine itself, berth agent asks and stops. Who asks from within the instance is no home.
func (a *Agent) noteHomes(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		home := api.HomeOf(r.Header)
		uses := strings.HasPrefix(r.URL.Path, "/v1/") && r.Header.Get(api.CapabilityHeader) != ""
		switch r.URL.Path {
		case "/v1/info", "/v1/stop", "/v1/handover", "/v1/leave":
			uses = false
		}
		if home.ID != api.InsideID && (home.ID != "" && r.URL.Path != "/v1/leave" || uses) {
			a.seen(home)
		}
		h.ServeHTTP(w, r)
	})
}

func (a *Agent) seen(home api.Home) {
	a.homes.mu.Lock()
	defer a.homes.mu.Unlock()
	now := time.Now().UTC().Truncate(seenEvery)
	list := &a.homes.file.Homes
	i := slices.IndexFunc(*list, func(u api.HomeUse) bool { return u.ID == home.ID })
	switch {
	case i < 0:
		*list = append(*list, api.HomeUse{Home: home, SeenAt: now})
	case now.After((*list)[i].SeenAt) || home.Name != (*list)[i].Name:
		(*list)[i] = api.HomeUse{Home: home, SeenAt: now}
	default:
		return
	}
	select { // no request waits for the disk
	case a.homes.changed <- struct{}{}:
	default:
	}
}

// keepHomes writes homes.json whenever it has changed, until stop is called, which waits for the last time.
func (a *Agent) keepHomes() (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-a.homes.changed:
				a.writeHomes()
				continue
			case <-quit:
			}
			select {
			case <-a.homes.changed:
				a.writeHomes()
			default:
			}
			return
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}

// writeHomes writes homes.json. Where it fails, an agent that follows knows less.
func (a *Agent) writeHomes() {
	a.homes.writing.Lock()
	defer a.homes.writing.Unlock()
	a.mu.Lock()
	gone := a.gone || a.draining // a newer agent has the folder
	a.mu.Unlock()
	if gone {
		return
	}
	a.homes.mu.Lock()
	file := a.homes.file
	file.Homes = slices.Clone(file.Homes)
	a.homes.mu.Unlock()
	if err := atomicfile.Write(homesPath(a.c.Options), file); err != nil {
		a.c.Log.Warn("noting who uses the agent", "err", err)
	}
}

// loadHomes reads what earlier agents have noted.
func (a *Agent) loadHomes() {
	h, err := ReadHomes(a.c.Options)
	if err != nil {
		a.c.Log.Warn("reading who uses the agent", "err", err)
	}
	h.Version = homesVersion
	a.homes.file, a.homes.changed = h, make(chan struct{}, 1)
}

// handleLeave ends what is of one home, where others use the agent, too.
func (a *Agent) handleLeave(w http.ResponseWriter, r *http.Request) {
	var req api.LeaveRequest
	if err := api.ReadJSON(r, &req); err != nil {
		api.WriteError(w, err)
		return
	}
	grace := cmp.Or(time.Duration(req.GraceSeconds*float64(time.Second)), stopGrace)
	a.homes.mu.Lock()
	others := a.homes.file.Others(req.Home)
	a.homes.mu.Unlock()
	if len(others) == 0 {
		api.WriteJSON(w, http.StatusOK, api.LeaveAnswer{Others: []api.HomeUse{}})
		return
	}
	var errs []error
	ctx := context.WithoutCancel(r.Context()) // half a leave helps nobody
	for _, p := range a.parts {
		if p.Leave == nil || p.works() != nil {
			continue
		}
		var err error
		perr := p.contain("the leaving of a home", func() { err = p.Leave(ctx, req.Home, grace) })
		errs = append(errs, err, perr)
	}
	if err := errors.Join(errs...); err != nil {
		api.WriteError(w, err)
		return
	}
	a.homes.mu.Lock()
	a.homes.file.Homes = a.homes.file.Others(req.Home)
	a.homes.mu.Unlock()
	a.writeHomes()
	api.WriteJSON(w, http.StatusOK, api.LeaveAnswer{Others: others})
}
