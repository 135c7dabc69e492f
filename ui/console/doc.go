// Package console shows the last output of an instance's console or supervisor, and fetches it
// again at a key.
package console
