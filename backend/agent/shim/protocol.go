package shim

import "time"

// Request is the first frame on a shim's socket.
type Request struct {
	// Op is "attach" (frames follow both ways until Exit or a hang-up), "info" (answered by one
	// Started frame with Info), "watch" (Info, then nothing until Exit) or "kill" (ends the
	// terminal's processes; Exit follows).
	Op string `json:"op"`
	// Exclusive makes attach fail with "busy" where another client is attached.
	Exclusive bool   `json:"exclusive,omitempty"`
	Rows      uint16 `json:"rows,omitempty"`
	Cols      uint16 `json:"cols,omitempty"`
	// GraceSeconds is how long kill waits between asking and forcing.
	GraceSeconds float64 `json:"grace_seconds,omitempty"`
}

// Info is the payload of a shim's Started frame.
type Info struct {
	Protocol     int       `json:"protocol"`
	ID           string    `json:"terminal"` // named as in wire.Start, which clients decode it into
	PID          int       `json:"pid"`      // of the shell
	Attached     int       `json:"attached"`
	DetachedAt   time.Time `json:"detached_at"` // when the last client left; zero: there never was one
	LastActivity time.Time `json:"last_activity"`
	Rows         uint16    `json:"rows"`
	Cols         uint16    `json:"cols"`
}

// Failure is the payload of a shim's Error frame; it reads as the API's error document.
type Failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Error implements error.
func (f *Failure) Error() string { return f.Message }

// Codes of a Failure.
const (
	CodeBusy  = "busy"  // exclusive attach, and somebody is attached
	CodeUsage = "usage" // a request that this shim does not know
)
