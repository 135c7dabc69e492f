//go:build !linux

package process

import (
	"errors"
	"os"
)

func allocate(*os.File, int64) error { return errors.ErrUnsupported }

func closeOnExec(first int) { closeEach(first) }
