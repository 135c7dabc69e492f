// Package workspace is the service behind the API: the fleet and what is being done with it.
//
// A Workspace holds all instances in memory, backed by a store; everything that must survive is written there first.
// Changes of an instance are operations: the workspace says what their steps are (plans.go) and keeps their documents
// beside the instances' (host.go); package operation runs and resumes them. Each step can be repeated, because backends
// are idempotent and find a machine by its client token.
//
// Memory follows the store: a change is computed on copies, and shows when it is stored. No store, provider or agent is
// called while the lock of what is in memory is held, so that no reader waits for one (commit.go). A write is of the
// revision that was seen; what another wrote meanwhile is read anew, not overwritten (revisions.go).
//
// The state shown is the provider's: operations and the reconciler (reconciler.go, merge.go) ask for it, and what can't
// be reached is "unknown", never stale. A panic ends the operation, or the look at a machine, that it is in (guard.go).
//
// A call asks the provider with its own environment, and what nobody asked for with the selectors of the last call
// under an instance's account (accounts.go, callers.go): what another account does not see is not gone, and it is not
// changed by it.
//
// Clients see changes through Subscribe (hub.go), which coalesces, so that a slow client costs no memory and no client
// waits for another.
package workspace
