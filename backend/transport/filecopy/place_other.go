//go:build !linux

package filecopy

import "golang.org/x/sys/unix"

// placeOf does not know which folder one is.
func placeOf(*unix.Stat_t) place { return place{} }
