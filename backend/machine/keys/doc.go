// Package keys keeps the one secret that Berth has: the SSH key of a home's workspace, with which it
// signs in to the machines that it makes. The first host keys of those machines are derived from it, so
// that nothing else has to be kept.
package keys
