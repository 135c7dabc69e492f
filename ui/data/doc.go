// Package data is what the dashboard knows of the fleet.
//
// A Feed follows the workspace's watch stream, gathers what arrives, and hands it on as a Delta, at
// most one in 100 ms, so that a busy fleet costs the dashboard a fixed amount of work. A Store belongs
// to the dashboard's loop alone: deltas are applied to it and screens read it, without locks. Rows
// are never changed once they are in the store; a change puts another row in its place.
//
// A FigureFeed does the same for what is measured on the instances, on a stream of its own and at its own
// pace: the fleet is there and usable where no figure comes.
package data
