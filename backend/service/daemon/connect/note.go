package connect

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"berth/backend/api"
	"berth/backend/base/paths"
	"berth/backend/base/version"
)

// Note is what the daemon writes beside its socket, for clients to see which version runs without
// asking it.
type Note struct {
	version.Version
	Capability int    `json:"capability"` // 0: 1
	Program    string `json:"program"`
	PID        int    `json:"pid"`
	Service    string `json:"service,omitempty"` // Config.Service
}

// NotePath is where the note stands.
func NotePath(h paths.Home) string { return filepath.Join(h.Run, "daemon.json") }

// ReadNote reads the note of the daemon that serves; ok is false where there is none.
func ReadNote(h paths.Home) (n Note, ok bool) {
	b, err := os.ReadFile(NotePath(h))
	return n, err == nil && json.Unmarshal(b, &n) == nil
}

// StoreError is the error of a home that can't be written.
func StoreError(err error, h paths.Home) error {
	e := api.Errorf(api.CodeStore, "Berth can't write its state under %s: %w", h.State, err)
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return e.WithHint("the disk is full: free some space, or set BERTH_HOME to a folder on another disk")
	default:
		return e.WithHint("make it writable, or set BERTH_HOME to a folder that is")
	}
}
