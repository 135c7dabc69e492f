//go:build !linux

package paths

// NetworkFS is not answered outside Linux: a Mac's home is local, and SQLite's own locking guards the rest.
func NetworkFS(string) string { return "" }
