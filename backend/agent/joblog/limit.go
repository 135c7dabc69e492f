package joblog

import (
	"context"
	"fmt"
	"os"
	"time"
)

const (
	// leastSlack: how much more than its limit a log holds before it is cut again: a quarter of the limit, this at least.
	leastSlack = 4 << 20
	// A log that grows is looked at when half of that may be written, but neither more nor less often than this.
	leastPause, mostPause = 20 * time.Millisecond, time.Second
)

// Limit keeps the log in dir within its limit until ctx ends: its first MiB and its last limit bytes stay. It was
// prepared; where it was not, Limit returns at once. While nothing is written it sleeps.
func Limit(ctx context.Context, dir string, limit int64) error {
	cut, err := openCut(dir, os.O_RDWR)
	if err != nil || cut == nil {
		return err
	}
	defer cut.Close()
	log, err := os.OpenFile(Path(dir), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("keeping the log within its limit: %w", err)
	}
	defer log.Close()
	l := limited{log: log, cut: cut, limit: limit, slack: max(limit/4, leastSlack)}
	if l.was, err = readCut(cut); err != nil {
		return err
	}
	w := newWatcher(Path(dir))
	defer w.close()
	size, at := int64(-1), time.Now()
	for ctx.Err() == nil {
		now, err := l.look()
		if err != nil {
			return fmt.Errorf("keeping the log within its limit: %w", err)
		}
		if now == size {
			w.wait(ctx, mostPause, func() bool {
				fi, err := log.Stat()
				return err != nil || fi.Size() != size
			})
			at = time.Now()
			if pause(ctx, leastPause); ctx.Err() != nil {
				break
			}
			continue
		}
		room := max(l.room(now)/2, 1)
		next := mostPause
		if grown := now - size; size >= 0 && grown > 0 {
			next = time.Duration(float64(time.Since(at)) * float64(room) / float64(grown))
		}
		size, at = now, time.Now()
		pause(ctx, min(max(next, leastPause), mostPause))
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

type limited struct {
	log, cut     *os.File
	limit, slack int64
	was          Cut
}

// room is how many bytes may be written until a log of this size is cut.
func (l *limited) room(size int64) int64 { return max(Head, l.was.To) + l.limit + l.slack - size }

// look cuts the log where it is too long, and returns its size.
func (l *limited) look() (int64, error) {
	fi, err := l.log.Stat()
	if err != nil {
		return 0, err
	}
	size := fi.Size()
	if size < l.was.To { // the job has shortened it itself
		l.was = Cut{}
		return size, writeCut(l.cut, l.was)
	}
	if l.room(size) > 0 {
		return size, nil
	}
	next := Cut{Head, size - l.limit}
	if err := writeCut(l.cut, next); err != nil {
		return size, err
	}
	from := max(Head, l.was.To)
	l.was = next
	if err := punch(l.log, from, next.To); err != nil {
		return size, fmt.Errorf("making a hole: %w", err)
	}
	return size, nil
}
