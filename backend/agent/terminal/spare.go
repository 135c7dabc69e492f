package terminal

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"berth/backend/agent/part"
	"berth/backend/api"
	"berth/backend/base/paths"
)

// A disk that is full, or read-only, keeps nobody from opening a shell: it is needed to mend that. The folder and the
// socket of such a terminal lie in the host's memory (part.Options.SpareDir). They are lost with a reboot, as the
// terminal is.

// noRoom reports whether err says that a disk takes nothing. A shim says so in words.
func noRoom(err error) bool {
	for _, e := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS} {
		if err != nil && (errors.Is(err, e) || strings.Contains(err.Error(), e.Error())) {
			return true
		}
	}
	return false
}

// makeSpare makes the folder of the terminals that lie in memory.
func makeSpare(dir string) error {
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := paths.PrivateDir(d); err != nil {
			return api.Errorf(api.CodeFailed, "making a folder for terminals in memory: %w", err)
		}
	}
	return nil
}

// removeDir removes the folder of a terminal, and that of all that lie in memory when it was the last of them.
func (ts *terminals) removeDir(dir string) error {
	ts.mu.Lock() // nobody makes one meanwhile
	defer ts.mu.Unlock()
	err := os.RemoveAll(dir)
	if base := filepath.Dir(dir); base == ts.h.SpareDir() {
		_ = os.Remove(base) // stays while another is in it
		_ = os.Remove(filepath.Dir(base))
	}
	return err
}

// loadSpare finds the terminals again that lie in memory.
func (ts *terminals) loadSpare() {
	base := ts.h.SpareDir()
	entries, err := os.ReadDir(base)
	if base == "" || err != nil {
		return // the usual case: none ever did
	}
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			ts.mu.Lock()
			ts.last = max(ts.last, n)
			ts.mu.Unlock()
			ts.adopt(e.Name(), filepath.Join(base, e.Name()))
		}
	}
}

// socketOf is the socket of the terminal whose folder is dir.
func socketOf(o part.Options, id, dir string) string {
	if filepath.Dir(dir) == o.SpareDir() {
		return filepath.Join(dir, "sock")
	}
	return terminalSocket(o, id)
}
