//go:build !linux

package setup

// adoptOrphans does nothing: only Linux has subreapers.
func adoptOrphans() {}
