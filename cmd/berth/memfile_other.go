//go:build front && !linux

package main

import (
	"errors"
	"os"
)

// memoryFile returns an error: this system has no files without a name that can be run.
func memoryFile() (*os.File, error) { return nil, errors.ErrUnsupported }
