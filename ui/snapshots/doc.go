// Package snapshots is the screen of the snapshots of one instance: what there is to go back to, oldest
// first, and taking, restoring and deleting one. It asks for the list when it opens and again when an
// operation on the instance has ended; what it knows stays on the screen until then.
package snapshots
