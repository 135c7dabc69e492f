// Package root is what Berth does as root on an instance: a closed list of verbs, run as
// `sudo -n -- berth agent root VERB …`, and the side that calls them.
//
// The agent runs as its user. No shell and no program of anybody's choice is run by sudo, only this program
// with a verb of the table in verbs.go, whose arguments each verb reads as if an enemy had written them. What
// a set-up runs as root is the user's own script; it is taken only from a folder that belongs to the user who
// called sudo, and nobody else can write to.
//
// Start with verbs.go (the table), then call.go (the calling side). A further verb is one entry of the table.
package root
