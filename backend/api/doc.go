// Package api is Berth's wire: the documents, errors, streams and clients of the two HTTP services
// that Berth has, both on 0600 unix sockets.
//
//   - The workspace (served by the daemon): the fleet, its operations, events and questions.
//   - The agent (on each instance): what its parts serve, as exec and terminals. The daemon serves an instance's agent
//     below /v1/instances/NAME/agent/, and a client of the workspace makes one of it.
//
// Calls are JSON, event streams are NDJSON (one document a line), byte streams are frames of
// package wire after an HTTP upgrade. An error is a document {"error":{"code","message","hint"}}
// with the HTTP status of its code. `curl --unix-socket` is enough to use either service.
//
// Start at WorkspaceClient and AgentClient for calling, at types.go for the documents, at Route for what is served.
package api
