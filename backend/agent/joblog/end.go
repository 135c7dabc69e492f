package joblog

import (
	"os"
	"time"
)

// Newest says how large the log of the run whose folder is dir is, and when it was last written to. The error is
// fs.ErrNotExist where nothing was begun.
func Newest(dir string) (size int64, at time.Time, err error) {
	fi, err := os.Stat(Path(dir))
	if err != nil {
		return 0, time.Time{}, err
	}
	return fi.Size(), fi.ModTime(), nil
}

// End is the end of the log, no more than most bytes of it; whole says that it is all that was written. Of a log that
// is cut it is what stands behind its hole.
func (l *Log) End(most int64) (b []byte, whole bool, err error) {
	size, _, err := l.Size()
	if err != nil {
		return nil, false, err
	}
	from := max(0, size-most)
	b = make([]byte, size-from)
	n, at, err := l.read(b, from)
	return b[:n], at == 0, err
}
