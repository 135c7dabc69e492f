// Package peercred tells who is at the other end of a unix socket, so that services refuse other users even
// where a folder was left open.
package peercred
