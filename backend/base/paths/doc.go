// Package paths says where Berth keeps what, on the client's side and on an instance.
//
// BERTH_HOME moves everything under one folder; without it the XDG folders are used. State never
// lies on a network file system (statfs decides), because neither SQLite's WAL nor flock is safe
// there. Sockets are short and local: /tmp/berth-UID/<16 hex digits of the home's path>/, owned by
// the user with mode 0700.
package paths
