package part

import (
	"net/http"
	"time"

	"berth/backend/api"
)

// requestLimit is how long a client may take for the first frame of a stream.
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
	_ = s.Conn.SetReadDeadline(time.Now().Add(requestLimit))
	if err := s.ReadRequest(req); err != nil {
		s.Fail(err)
		return
	}
	_ = s.Conn.SetReadDeadline(time.Time{})
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
