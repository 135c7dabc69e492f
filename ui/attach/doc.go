// Package attach gives the user's own terminal to a terminal on an instance: raw bytes both ways, the
// size passed on, a way out that works in any program (enter ~ . as in ssh, ctrl-] d inside a nested
// ssh), and the terminal put back as it was, whatever the remote program did to it.
//
// What is typed goes through escape.go, which finds the detach keys in keys.go's keys and takes nothing else away: a
// paste is data. fate.go asks the service what has become of a terminal whose line is gone. What the terminal is left
// in, backend/base/ttymodes knows.
//
// Open connects, which may take a while and may ask questions; Session.Run attaches; Run does both.
// When the line drops, Run says so and attaches again by itself: the shell on the instance does not
// notice. Keys are read through a cancellable reader, so that no goroutine is left behind in a read
// that would swallow the next program's keys.
package attach
