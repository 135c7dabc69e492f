// Package forward carries connections to what listens on an instance: both ends of a forward's stream, and a listener
// on this computer that opens a stream for each connection it takes.
//
// Start with forward.go: Listen takes a Spec (what the user said, parse.go) and an Opener (how a stream to the instance
// is opened; To makes one of an agent's client), and Serve runs it. place.go chooses where it listens: on 127.0.0.1, on
// another port where the wanted one is taken, or on a unix socket on a bastion. splice.go passes bytes between a
// connection and a stream; the agent's side of it is Serve's counterpart, Answer.
//
// The two directions of a connection have nothing to do with each other: each has its own window and its own end. A
// connection that did not end as it should (the line broke, one side was reset) is reset on the other side, so that
// what is cut off never looks whole.
package forward
