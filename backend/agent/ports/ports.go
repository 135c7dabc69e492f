package ports

import (
	"net/http"
	"sync"
	"sync/atomic"

	"berth/backend/agent/part"
	"berth/backend/api"
	"berth/backend/transport/forward"
	"berth/gpu"
	"berth/gpu/procs"
	"berth/gpu/procs/listeners"
)

// maxForwards is how many connections may be under way. Where an SSH server forbids forwarding, all streams share one
// that carries 256 of them (berth agent dial), and some are for the rest.
const maxForwards = 240

type service struct {
	h       *part.Host
	memory  *forward.Memory
	running atomic.Int64

	mu     sync.Mutex
	reader *listeners.Reader
	table  *procs.Table // of those that listen
}

// New makes the part that lists ports and connects to them.
func New(h *part.Host) part.Part {
	s := &service{h: h, memory: forward.NewMemory(), reader: listeners.NewReader("")}
	s.table = procs.New(procs.Options{Attributor: attributor(h.OwnerOf), Top: 1})
	access := api.Needs(api.ActionAccess)
	return part.Part{Name: "ports", Routes: []api.Route{
		{Method: "GET", Path: "/v1/ports", Needs: api.Needs(api.ActionRead),
			Summary: "What the instance listens on, with the processes", Response: api.Ports{}, Handler: s.handleList},
		{Method: "POST", Path: "/v1/forward", Needs: access,
			Summary: "Connect to what listens on the instance; a byte stream",
			Request: api.ForwardRequest{}, Stream: "frames", Handler: s.handleForward},
	}}
}

type attributor func(procs.Candidate) (gpu.Owner, bool)

// Owner implements procs.Attributor.
func (a attributor) Owner(c procs.Candidate) (gpu.Owner, bool) { return a(c) }

func (s *service) handleList(w http.ResponseWriter, r *http.Request) {
	list, err := s.list(r.Context())
	if err != nil {
		api.WriteError(w, err)
		return
	}
	api.WriteJSON(w, http.StatusOK, list)
}

func (s *service) handleForward(w http.ResponseWriter, r *http.Request) {
	var q api.ForwardRequest
	s.h.Stream(w, r, &q, func(st *api.Stream) error {
		defer s.running.Add(-1)
		if s.running.Add(1) > maxForwards {
			return api.Errorf(api.CodeRefused, "%d connections are forwarded by the agent of this instance already", maxForwards)
		}
		conn, err := s.connect(s.h.Context(), q)
		if err != nil {
			return err
		}
		if err := forward.Answer(s.h.Context(), st, conn, s.memory, s.h.Active); err != nil {
			s.h.Log.Debug("a forwarded connection ended early", "error", err)
		}
		return nil
	})
}
