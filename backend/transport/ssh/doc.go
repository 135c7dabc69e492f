// Package ssh reaches instances over SSH: as the user's own ssh would, but with one warm connection
// for each host, held by the daemon.
//
// Start with Manager (manager.go): it keeps a Conn for each target and reconnects it (reconnect.go).
// A target is resolved by package sshconfig, with its jump hosts (target.go); connected by a TCP dial, a
// jump host or a ProxyCommand (dial.go); its host key judged with package knownhosts (hostkey.go); the
// user signed in with keys, certificates, ssh-agent or answers to questions (auth.go, keys.go).
//
// On a Conn, Agent returns a connection to the instance's agent, which is put in place at first use
// (agent.go, place.go, upload.go): over the socket itself (streamlocal), or where the server forbids
// that, as a yamux stream of one `berth-agent dial` (tunnel.go). Where no agent can run, ServeExec and
// ServeTerminal speak its frames over plain SSH sessions (exec.go).
//
// Commands pass through any login shell (command.go) and their output is told from the noise of
// start-up files by markers (script.go). transport.go is the boundary between our own client (native.go)
// and the user's ssh program (openssh.go).
package ssh
