// Package connect is how clients find the daemon of their home.
//
// A Connector (connect.go) dials the socket of the daemon, or starts one first (a flock decides which client does), or
// has one of an older version make way. What a daemon leaves for clients to read is in note.go, and in draining.go for
// those that have made way and carry their last byte streams. Nothing of the daemon itself is needed: a program that
// only calls it stays small.
package connect
