//go:build !linux

package history

import "os"

// allocate takes all of the space now, by writing it.
func allocate(f *os.File, size int64) error { return fill(f, size) }
