//go:build !linux

package process

import (
	"errors"
	"os"
)

func allocate(*os.File, int64) error { return errors.ErrUnsupported }

// CloseOnExec keeps all descriptors from first on from what is started.
func CloseOnExec(first int) { closeEach(first) }

// rssUnit is what the system counts ru_maxrss in, in bytes.
const rssUnit = 1
