//go:build !linux || !cgo

package gonvml

import (
	"errors"

	"berth/gpu"
)

// Built says whether this program has NVIDIA's bindings in it.
const Built = false

// ErrNotBuilt means that this program was built without cgo.
var ErrNotBuilt = errors.New("this program was built without NVIDIA's bindings (they need cgo)")

// Open fails with ErrNotBuilt.
func Open() (gpu.Source, error) { return nil, ErrNotBuilt }
