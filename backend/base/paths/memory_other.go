//go:build !linux

package paths

// Memory is "": no folder in memory is known here.
func Memory() string { return "" }
