// Package listeners knows what this host listens on: TCP ports and unix sockets, with the processes that hold them.
//
// The kernel's tables (/proc/net/tcp, tcp6 and unix) are read with github.com/prometheus/procfs; whose a socket is, is
// found by its inode in the descriptors of the processes. Those of other users can't be read without root: their
// sockets are listed without a process, and the user is the one that the table names.
package listeners
