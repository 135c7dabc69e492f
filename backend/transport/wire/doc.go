// Package wire is the framing of Berth's byte streams: exec, terminals and forwards.
//
// After an HTTP upgrade (see package api) or on a shim's socket, both sides speak frames: one byte
// of kind, four bytes of big-endian payload length, the payload. Data frames carry raw bytes;
// control frames carry JSON. A stream that was upgraded starts with the client's Request frame
// (after the RequestParts of a long one); the server answers with Started or Error, and ends the
// stream with Exit or Error.
//
// Standard input is under flow control: a client may send InitialWindow bytes of Stdin, and then
// only what Window frames grant. So the server's reader never blocks on a process that does not
// read, and a Signal or a hang-up always gets through. A command's server grants CommandWindow more
// at its first. Output needs no window: the connection's own back-pressure reaches the process.
//
// The package imports neither net/http nor anything of Berth but package pipe, so that the shim stays small.
package wire
