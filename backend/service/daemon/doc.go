// Package daemon hosts a workspace: the background process of a home.
//
// Serve runs it: it takes the home's lock, opens the store, resumes operations and serves the API on
// a 0600 unix socket until nobody has asked for a while. Clients find and start it by the package connect. To a newer
// version it hands over (handover.go): it gives up all at once but the byte streams that it carries, and ends with the
// last of them.
//
// Handlers are in routes.go (the table that is also the OpenAPI description), streams.go (exec,
// terminals and the way to the agents), watch.go and questions.go.
package daemon
