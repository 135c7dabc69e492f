//go:build !linux

package pipe

import "os"

// Grow does nothing here: there is no such call.
func Grow(*os.File) {}

// Room is what a pipe is taken to hold.
func Room(*os.File) int { return Size }

// Waiting is 0 here: it is not asked.
func Waiting(*os.File) int { return 0 }
