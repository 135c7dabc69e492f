package joblog

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// chunk is how much is read at once, in bytes.
const chunk = 256 << 10

// pollEvery is how often a log is looked at where the system does not tell that it was written.
const pollEvery = 200 * time.Millisecond

// Log reads the log of a run, also while it is written.
type Log struct {
	dir string
	log *os.File
	cut *os.File // nil: nothing is ever cut
}

// Open opens the log of the run whose folder is dir. The error is fs.ErrNotExist where nothing was begun.
func Open(dir string) (*Log, error) {
	log, err := os.Open(Path(dir))
	if err != nil {
		return nil, err
	}
	cut, err := openCut(dir, os.O_RDONLY)
	if err != nil {
		_ = log.Close()
		return nil, err
	}
	return &Log{dir: dir, log: log, cut: cut}, nil
}

// Close closes it.
func (l *Log) Close() error {
	if l.cut != nil {
		_ = l.cut.Close()
	}
	return l.log.Close()
}

// Size is how much was written by now, in bytes, and what of it is cut.
func (l *Log) Size() (int64, Cut, error) {
	fi, err := l.log.Stat()
	if err != nil {
		return 0, Cut{}, err
	}
	c, err := l.Cut()
	return fi.Size(), c, err
}

// Cut is what is cut by now.
func (l *Log) Cut() (Cut, error) {
	if l.cut == nil {
		return Cut{}, nil
	}
	return readCut(l.cut)
}

// read reads what was written from an offset on; at is where it begins: later than from where that is cut. n is 0 at
// the end.
func (l *Log) read(b []byte, from int64) (n int, at int64, err error) {
	for {
		n, err := l.log.ReadAt(b, from)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, from, err
		}
		// After the bytes: what was cut while they were read is said there already.
		c, err := l.Cut()
		switch {
		case err != nil:
			return 0, from, err
		case n == 0 || from >= c.To || from+int64(n) <= c.From:
			return n, from, nil
		case from < c.From:
			return int(c.From - from), from, nil
		}
		from = c.To
	}
}

// Follow hands what was written from an offset on to f, piece by piece, and goes on as more is written, until done is
// closed and all was handed over, or ctx ends, whose error it returns, or f fails. at is where a piece begins: there is
// a gap where some was cut. The bytes are f's until it returns. However slow f is, the job does not wait.
func (l *Log) Follow(ctx context.Context, from int64, done <-chan struct{}, f func(at int64, b []byte) error) error {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	var w *watcher
	defer func() { w.close() }()
	buf := make([]byte, chunk)
	for {
		last := false
		select {
		case <-done:
			last = true
		default:
		}
		for {
			if err := ctx.Err(); err != nil {
				return err
			}
			n, at, err := l.read(buf, from)
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			if err := f(at, buf[:n]); err != nil {
				return err
			}
			from = at + int64(n)
		}
		if last {
			return nil
		}
		if w == nil {
			w = newWatcher(Path(l.dir))
			go func() { // ends with this call
				select {
				case <-done:
					cancel()
				case <-waiting.Done():
				}
			}()
		}
		w.wait(waiting, pollEvery, func() bool {
			fi, err := l.log.Stat()
			return err != nil || fi.Size() > from
		})
	}
}

// Tail is where the last n lines begin, or those of the last most bytes. Of a log that is cut they are those behind its
// hole.
func (l *Log) Tail(n int, most int64) (int64, error) {
	size, cut, err := l.Size()
	if err != nil || n <= 0 {
		return size, err
	}
	floor := max(0, size-most)
	whole := floor == 0
	if cut.To > floor && cut.To <= size {
		floor, whole = cut.To, false
	}
	buf := make([]byte, 64<<10)
	end, lines := size, 0
	first := size // the earliest line that begins after floor
	for end > floor {
		b := buf[:min(end-floor, int64(len(buf)))]
		begin := end - int64(len(b))
		if _, err := l.log.ReadAt(b, begin); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		for i := len(b); ; {
			if i = bytes.LastIndexByte(b[:i], '\n'); i < 0 {
				break
			}
			if at := begin + int64(i) + 1; at < size {
				first = at
				if lines++; lines == n {
					return at, nil
				}
			}
		}
		end = begin
	}
	if whole || first == size { // one line, of which there is the end only
		return floor, nil
	}
	return first, nil
}

// Last is the last n lines, of no more than most bytes.
func (l *Log) Last(n int, most int64) ([]byte, error) {
	from, err := l.Tail(n, most)
	if err != nil {
		return nil, err
	}
	b := make([]byte, most)
	read, at, err := l.read(b, from)
	if err != nil || at != from { // it was cut meanwhile
		return nil, err
	}
	return b[:read], nil
}
