// Package workspace is the service behind the API: the fleet and what is being done with it.
//
// A Workspace holds all instances in memory, backed by a store; everything that must survive is
// written there first. Changes of an instance are operations: a plan of steps (plans.go), written
// before the provider is called, run by the engine (engine.go), resumed by Resume after a crash. Each
// step can be repeated, because backends are idempotent and find a machine by its client token.
//
// The daemon that resumes an operation may be of another build than the one that began it: the stored steps are matched
// to the plan by name (resume.go), and what is not run is said. Memory follows the store: a change is computed on copies,
// and shows when it is written (commit). A panic ends the operation, or the look at a machine, that it is in (guard.go).
//
// The state shown is the provider's: operations and the reconciler (reconcile.go) ask for it, and
// what can't be reached is "unknown", never stale.
//
// Clients see changes through Subscribe (hub.go), which coalesces, so that a slow client costs no
// memory and no client waits for another.
//
// Fault points: where Options.Fault is set it is called at each named point of each operation
// (FaultPoints lists them); tests kill the process there.
package workspace
