package inventory

import (
	"net/http"
	"path/filepath"
	"runtime"

	"berth/backend/agent/environ"
	"berth/backend/agent/part"
	"berth/backend/api"
)

// New makes the part of the agent that reads the inventory.
func New(h *part.Host) part.Part {
	r := NewReader(Host{Home: h.Home, Work: h.Workdir, Path: filepath.SplitList(environ.Lookup(h.Base, "PATH")),
		Arch: runtime.GOARCH})
	return part.Part{
		Name: "inventory",
		Routes: []api.Route{{Method: "GET", Path: "/v1/inventory", Needs: api.Needs(api.ActionRead),
			Summary: "What is installed on the instance; takes up to 10 s", Response: api.Inventory{},
			Handler: func(w http.ResponseWriter, req *http.Request) {
				inv := r.Read(req.Context())
				inv.Instance = h.Instance
				api.WriteJSON(w, http.StatusOK, inv)
			}}},
	}
}
