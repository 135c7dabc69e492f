package job

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"berth/backend/agent/part"
	"berth/backend/api"
	"berth/backend/transport/filecopy"
	"berth/queue"
)

// copyOf makes the folder of a job that is to have a copy of another one's. Said again, it is there.
func copyOf(ctx context.Context, h *part.Host, q api.JobRequest) error {
	if q.CopyOf == "" {
		return nil
	}
	if !queue.IsUUID(q.CopyOf) {
		return api.Errorf(api.CodeUsage, "%.40q is no UUID, by which the folder of a job is known", q.CopyOf)
	}
	from, to := h.TakenDir(q.CopyOf), h.TakenDir(q.UUID)
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	if _, err := os.Stat(from); err != nil {
		return api.Errorf(api.CodeNotFound, "the folder of the job that this is a copy of is gone: it went with that job").
			WithHint("submit it anew, with --sync")
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	coming := to + ".coming"
	if err := os.RemoveAll(coming); err != nil {
		return err
	}
	_, err := filecopy.Within(ctx, from, coming)
	if err == nil {
		err = os.Rename(coming, to)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(filepath.Dir(to)))
	}
	return nil
}

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
