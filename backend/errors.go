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
