//go:build !linux || !(amd64 || arm64) || !(cgo || nvml)

package loader

import (
	"errors"

	"berth/gpu"
)

// Built says whether this program has the loader in it.
const Built = false

// ErrNotBuilt means that this program was built without the loader.
var ErrNotBuilt = errors.New("this program was built without a loader of the NVIDIA library")

// Open fails with ErrNotBuilt.
func Open() (gpu.Source, error) { return nil, ErrNotBuilt }
