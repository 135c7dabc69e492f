package job

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// takenAhead is how long a folder may be there before its job is submitted.
const takenAhead = 24 * time.Hour

// dropTaken removes the folders that were taken for jobs which are forgotten, or which never came. They stand below one
// folder, each under its job's UUID.
func (l *loop) dropTaken(ctx context.Context) {
	entries, err := os.ReadDir(l.taken)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.log.Warn("looking for folders of jobs that are gone", "error", err)
	}
	for _, e := range entries {
		fi, err := e.Info()
		if err != nil || l.now().Sub(fi.ModTime()) < takenAhead {
			continue
		}
		if _, known, err := l.journal.ByUUID(ctx, e.Name()); known || err != nil {
			continue
		}
		l.removeTaken(e.Name())
	}
}

// removeTaken removes the folder that was taken for a job, if there is one.
func (l *loop) removeTaken(uuid string) {
	if l.taken == "" || uuid == "" {
		return
	}
	if err := os.RemoveAll(filepath.Join(l.taken, uuid)); err != nil {
		l.log.Warn("the folder of a job that is gone is not removed", "job", uuid, "error", err)
	}
}
