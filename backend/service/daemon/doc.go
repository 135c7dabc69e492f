// Package daemon hosts a workspace: the background process of a home, and how clients find it.
//
// Serve runs it: it takes the home's lock, opens the store, resumes operations and serves the API on
// a 0600 unix socket until nobody has asked for a while. Connect (connect.go) is the client's side: it
// dials that socket, or starts the daemon first (a flock decides which client does), or replaces one
// of an older version. That one hands over (handover.go): it gives up all at once but the byte streams that it carries,
// and ends with the last of them.
//
// Handlers are in routes.go (the table that is also the OpenAPI description), streams.go (exec,
// terminals and the way to the agents), watch.go and questions.go.
package daemon
