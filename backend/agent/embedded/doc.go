// Package embedded holds what a release build of the agent carries: the shim. `make agents` puts it here, compressed,
// before it builds the agent with the tag embedshim.
package embedded
