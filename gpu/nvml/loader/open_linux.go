//go:build linux && (amd64 || arm64) && (cgo || nvml)

package loader

import (
	"errors"

	"berth/gpu"
	"berth/gpu/nvml"
)

// Built says whether this program has the loader in it.
const Built = true

// ErrNotBuilt means that this program was built without the loader.
var ErrNotBuilt = errors.New("this program was built without a loader of the NVIDIA library")

// Open loads the library and returns its source.
func Open() (gpu.Source, error) {
	s, err := nvml.Open(&library{})
	if err != nil {
		return nil, err
	}
	return s, nil
}
