package embedded

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"

	"berth/assets/packed"
)

// Shim writes the shim of this build into a content-addressed folder below bin and returns its path; "" where this
// build has none.
func Shim(bin string) (string, error) {
	if len(shim) == 0 {
		return "", nil
	}
	return unpack(shim, bin)
}

// unpack puts the compressed shim into a content-addressed folder below bin, unless it is there.
func unpack(shim []byte, bin string) (string, error) {
	path, err := packed.Unpack(bytes.NewReader(shim), bin, "berth-shim")
	if err != nil {
		return "", err
	}
	// A file system that forbids programs says so here.
	if err := unix.Access(path, unix.X_OK); err != nil {
		return "", fmt.Errorf("%s can't be run: %w", path, err)
	}
	return path, nil
}
