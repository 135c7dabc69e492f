package api

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
)

// Action is something that a principal may be allowed to do, on an instance or on the workspace. The words are those of
// the roles that a managed compute instance has.
type Action string

// The actions there are.
const (
	ActionRead      Action = "computes/read"
	ActionWrite     Action = "computes/write"
	ActionDelete    Action = "computes/delete"
	ActionStart     Action = "computes/start/action"
	ActionStop      Action = "computes/stop/action"
	ActionRestart   Action = "computes/restart/action"
	ActionAccess    Action = "computes/applicationaccess/action"              // what gives a person's data or a shell
	ActionCheckName Action = "workspaces/checkComputeNameAvailability/action" // on the workspace; needed to create
)

// Actions lists all actions.
func Actions() []Action {
	return []Action{ActionRead, ActionWrite, ActionDelete, ActionStart, ActionStop, ActionRestart, ActionAccess,
		ActionCheckName}
}

// Needs is a list of actions, for a Route.
func Needs(a ...Action) []Action { return a }

// Gate decides whether the caller of a request may take a route. It returns the request that is to be served, with what
// it found out of the caller, or an error that is the answer.
type Gate func(r *http.Request, route *Route) (*http.Request, error)

// OwnSocket is the gate of a service whose socket lets in its own user and root alone, such as the agent: they may do
// everything there. Who else may ask it is decided before, where they ask (the workspace).
func OwnSocket(r *http.Request, _ *Route) (*http.Request, error) { return r, nil }

// OnInstance reports whether the route is about one instance, the one that its path calls {name}.
func (r *Route) OnInstance() bool { return strings.HasPrefix(r.Path, "/v1/instances/{name}") }

// through is the handler of a route behind a gate. A route that declares no action is closed; without a gate
// (services of tests) all are open.
func (g Gate) through(route Route) http.HandlerFunc {
	if g == nil {
		return route.Handler
	}
	return func(w http.ResponseWriter, r *http.Request) {
		if len(route.Needs) == 0 || slices.Contains(route.Needs, "") {
			WriteError(w, Errorf(CodeForbidden, "%s %s does not declare what one must be allowed to do for it",
				route.Method, route.Path))
			return
		}
		r, err := g(r, &route)
		if err != nil {
			WriteError(w, err)
			return
		}
		route.Handler(w, r)
	}
}

// SetRequest changes what is said of an instance.
type SetRequest struct {
	Owner string `json:"owner,omitempty"` // OwnerMe
}

// Check refuses what can't be said of an instance.
func (q SetRequest) Check() error {
	if q.Owner != OwnerMe {
		return Errorf(CodeUsage, "owner=%s: an instance can be made yours (owner=me), not another's",
			cmp.Or(q.Owner, `""`))
	}
	return nil
}

const (
	// OwnerMe makes an instance the caller's.
	OwnerMe = "me"
	// OwnerUnknown is the owner of an instance that was found at its provider and that names nobody who is known.
	OwnerUnknown = "unknown"
)
