package copy

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"berth/backend/api"
	"berth/backend/base/flock"
	"berth/backend/transport/filecopy"
	"berth/queue"
)

// keepSent is how long a folder is kept that nothing was sent to.
const keepSent = 30 * 24 * time.Hour

// sent is the folder of a key, and its lock: what is sent and what is taken come one after the other. Closing it
// gives it back.
func (s *service) sent(ctx context.Context, key string) (dir string, lock *os.File, err error) {
	if len(key) != 32 || strings.Trim(key, "0123456789abcdef") != "" {
		return "", nil, api.Errorf(api.CodeUsage, "%.40q is no key of a folder that is sent: 32 hexadecimal digits", key)
	}
	dir = s.h.SentDir(key)
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return "", nil, err
	}
	if lock, err = flock.OpenWait(ctx, dir+".lock"); err != nil {
		return "", nil, err
	}
	now := time.Now()
	if err := os.Chtimes(lock.Name(), now, now); err != nil { // prune goes by it
		_ = lock.Close()
		return "", nil, err
	}
	return dir, lock, nil
}

// take makes a folder of its own for a job from the one that was sent. Said again, it is the first one's.
func (s *service) take(ctx context.Context, q api.TakeRequest) (api.Taken, error) {
	if !queue.IsUUID(q.UUID) {
		return api.Taken{}, api.Errorf(api.CodeUsage, "%.40q is no UUID of a job", q.UUID)
	}
	from, lock, err := s.sent(ctx, q.Sent)
	if err != nil {
		return api.Taken{}, err
	}
	defer lock.Close()
	to := s.h.TakenDir(q.UUID)
	if _, err := os.Stat(to); err == nil {
		if q.Move {
			err = os.RemoveAll(from)
		}
		return api.Taken{Path: to}, err
	}
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return api.Taken{}, api.Errorf(api.CodeNotFound, "nothing was sent under the key %s", q.Sent)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return api.Taken{}, err
	}
	if q.Move {
		if err := os.Rename(from, to); err != nil {
			return api.Taken{}, err
		}
		s.prune()
		return api.Taken{Path: to}, nil
	}
	coming := to + ".coming"
	if err := os.RemoveAll(coming); err != nil {
		return api.Taken{}, err
	}
	r, err := filecopy.Within(ctx, from, coming)
	if err == nil {
		err = os.Rename(coming, to)
	}
	if err != nil {
		return api.Taken{}, errors.Join(err, os.RemoveAll(filepath.Dir(to)))
	}
	s.prune()
	return api.Taken{Path: to, Files: r.Files, Bytes: r.Bytes}, nil
}

// prune removes folders that nothing was sent to for long.
func (s *service) prune() {
	locks, _ := filepath.Glob(s.h.SentDir("*") + ".lock")
	for _, path := range locks {
		fi, err := os.Stat(path)
		if err != nil || time.Since(fi.ModTime()) < keepSent {
			continue
		}
		lock, err := flock.Open(path)
		if err != nil {
			continue // it is in use
		}
		err = errors.Join(os.RemoveAll(strings.TrimSuffix(path, ".lock")), os.Remove(path), lock.Close())
		if err != nil {
			s.h.Log.Warn("a folder that was sent long ago is not removed", "error", err)
		}
	}
}

func (s *service) handleTake(w http.ResponseWriter, r *http.Request) {
	var q api.TakeRequest
	err := api.ReadJSON(r, &q)
	var taken api.Taken
	if err == nil {
		taken, err = s.take(r.Context(), q)
	}
	if err != nil {
		api.WriteError(w, err)
		return
	}
	api.WriteJSON(w, http.StatusOK, taken)
}
