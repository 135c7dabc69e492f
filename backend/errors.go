package backend

import "berth/backend/api"

// The typed errors of a backend, for errors.Is. A backend returns api.Errorf(code, …) with the
// provider's own words, which these match by code.
var (
	ErrNotFound    = &api.Error{Code: api.CodeNotFound}
	ErrQuota       = &api.Error{Code: api.CodeQuota}
	ErrCapacity    = &api.Error{Code: api.CodeCapacity}
	ErrAuth        = &api.Error{Code: api.CodeAuth}
	ErrConflict    = &api.Error{Code: api.CodeConflict}
	ErrUnsupported = &api.Error{Code: api.CodeUnsupported}
	ErrUnreachable = &api.Error{Code: api.CodeUnreachable}
	ErrNoAnswer    = &api.Error{Code: api.CodeNoAnswer}
	ErrRefused     = &api.Error{Code: api.CodeRefused}
)

// Left is why something of Berth's stays on a host that was to be left clean.
type Left struct {
	Host    string // as people know it
	Path    string // what stays there; "" where that is not known
	Command string // what removes it, on that host
	Err     error
}

// Error implements error, in one line.
func (l *Left) Error() string {
	what := l.Path
	if what == "" {
		what = "what Berth may have put there"
	}
	return what + " stays on " + l.Host + ": " + l.Err.Error()
}

// Unwrap returns why.
func (l *Left) Unwrap() error { return l.Err }

// Shared is an agent that stays on a host that one home has left, because others use it.
type Shared struct {
	Others  []api.HomeUse
	Path    string // its folder
	Command string // what removes it all the same, on that host; "" where that is not known
}
