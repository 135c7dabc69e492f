package part

import (
	"net/http"
	"time"

	"berth/backend/api"
)

// requestLimit is how long a client may take for each frame of a stream's request.
const requestLimit = 30 * time.Second

// Stream upgrades a request to a stream, reads the stream's request into req and serves it with f, whose error is the
// stream's end. The agent waits for it when it leaves.
func (h *Host) Stream(w http.ResponseWriter, r *http.Request, req any, f func(*api.Stream) error) {
	if !h.Begin() {
		Leaving(w)
		return
	}
	defer h.Done()
	s, err := api.Upgrade(w, r)
	if err != nil {
		return // it has answered
	}
	defer s.Close()
	if err := s.ReadRequest(req, requestLimit); err != nil {
		s.Fail(err)
		return
	}
	h.Active()
	if err := f(s); err != nil {
		s.Fail(err)
	}
}

// Leaving answers for an agent that begins nothing new. Nothing was done: a client asks again, and reaches the newer
// agent where there is one.
func Leaving(w http.ResponseWriter) {
	api.WriteError(w, ErrLeaving())
}

// ErrLeaving says that the agent begins nothing new.
func ErrLeaving() error {
	return api.Errorf(api.CodeMoved, "the agent is being replaced or stopped").WithHint("try again in a moment")
}
