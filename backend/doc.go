// Package backend says what an instance is and what a backend must do.
//
// A backend is a driver: about ten methods that ask a provider to do one thing and return. It never
// waits, retries, names, prices or remembers: the workspace does that, once, for all of them.
// A backend that passes package backendtest works with everything above it.
//
// Words: a Machine is the provider's view of an instance; a Ref is how the workspace names it to the
// backend; a Line is how its agent is reached; a Caller is who asked, with what environment, and
// whether somebody is there to answer a question; Selectors are what may be kept of such an environment.
//
// Read backend.go for the contract, caller.go for questions, errors.go for errors. Concrete backends are packages below
// this one, beside each other (local, ssh, libvirt): a new cloud is one more, passes backendtest, registers itself by
// name, and is imported in cmd/berth/backends.go. The other folders below:
//
//	api        the wire: requests, events, errors; the clients of the workspace and of the agent
//	service    what the daemon runs: operations, the workspace, live figures, the store, configuration
//	transport  how instances are reached: SSH, frames, host keys
//	agent      what runs on an instance: one package a part
//	machine    what machines are made from: images, cloud-init, set-up profiles, keys
//	base       small shared pieces
package backend
