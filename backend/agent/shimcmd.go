package agent

import (
	"bytes"
	"fmt"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"berth/assets/packed"
	"berth/backend/agent/part"
)

// shimCommand is the command line of a terminal's shim: the small embedded one where this build has
// one, else this program in that part.
func (a *Agent) shimCommand(id string) []string {
	if path := a.smallShim(); path != "" {
		return []string{path, id}
	}
	return part.Command(a.exe, "shim", id)
}

// findSmallShim writes the embedded shim out and returns its path; "" where there is none or it
// can't be run.
func (a *Agent) findSmallShim() string {
	if len(embeddedShim) == 0 {
		return ""
	}
	path, err := unpackShim(embeddedShim, a.o.BinDir())
	debug.FreeOSMemory() // once: unpacking took more than all the rest does
	if err != nil {
		a.log.Warn("the small shim can't be used, this program plays its part", "err", err)
		return ""
	}
	return path
}

// unpackShim puts the shim into a content-addressed folder below bin, unless it is there.
func unpackShim(shim []byte, bin string) (string, error) {
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
