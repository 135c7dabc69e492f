//go:build !linux

package paths

// networkFS is not answered outside Linux: a Mac's home is local, and SQLite's own locking guards the rest.
func networkFS(string) string { return "" }
