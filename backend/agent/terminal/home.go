package terminal

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"berth/backend/base/atomicfile"
)

// Two homes that use one agent share its terminals. A terminal is of the home that attached to it last, which stands in
// a file beside its record.

func homePath(dir string) string { return filepath.Join(dir, "home") }

func readHome(dir string) string {
	b, _ := os.ReadFile(homePath(dir)) // of a build from before there is none
	return string(b)
}

// used notes that a home has attached to a terminal.
func (ts *terminals) used(t *terminal, home string) {
	ts.mu.Lock()
	was := t.home
	t.home = home
	ts.mu.Unlock()
	if was == home {
		return
	}
	if err := atomicfile.Replace(homePath(t.dir), []byte(home), 0o600); err != nil {
		ts.h.Log.Warn("noting whose a terminal is", "terminal", t.rec.ID, "err", err)
	}
}

func (ts *terminals) homeOf(id string) string {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t := ts.live[id]; t != nil {
		return t.home
	}
	return ""
}

// leave ends the terminals of a home.
func (ts *terminals) leave(ctx context.Context, home string, grace time.Duration) error {
	var ids []string
	for _, r := range ts.records() {
		if ts.homeOf(r.ID) == home {
			ids = append(ids, r.ID)
		}
	}
	return ts.killThese(ctx, ids, grace)
}
