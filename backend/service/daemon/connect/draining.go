package connect

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"berth/backend/api"
	"berth/backend/base/flock"
	"berth/backend/base/paths"
	"berth/backend/base/version"
)

// Draining describes a daemon that has handed over and carries its last byte streams.
type Draining struct {
	version.Version
	PID     int       `json:"pid"`
	Since   time.Time `json:"since"`
	Streams int       `json:"streams"` // at the hand-over
	path    string
}

// EndLimit is how long byte streams that are ended may take.
const EndLimit = 5 * time.Second

// FindDraining returns the daemons of a home that have handed over and carry their last byte streams.
func FindDraining(h paths.Home) []Draining {
	names, _ := filepath.Glob(filepath.Join(h.Run, "draining-*.json")) // fails for bad patterns only
	var out []Draining
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			continue // it has just ended
		}
		d := Draining{path: name}
		dead := flock.Free(f)
		err = json.NewDecoder(f).Decode(&d)
		_ = f.Close()
		switch {
		case dead:
			_ = os.Remove(name) // it was killed
		case err == nil && d.PID > 1:
			out = append(out, d)
		}
	}
	return out
}

// End ends a draining daemon and its byte streams.
func (d Draining) End(ctx context.Context) error {
	if err := syscall.Kill(d.PID, syscall.SIGTERM); err != nil {
		return fmt.Errorf("ending the daemon that has handed over (pid %d): %w", d.PID, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*EndLimit)
	defer cancel()
	for paths.Exists(d.path) {
		select {
		case <-ctx.Done():
			return api.Errorf(api.CodeFailed, "the daemon that has handed over (pid %d) does not end: %w", d.PID, ctx.Err()).
				WithHint("kill -9 %d ends it, and the commands that go through it", d.PID)
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}
