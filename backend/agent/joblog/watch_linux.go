package joblog

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// watcher waits until a file is written. nil and the zero one look again and again.
type watcher struct {
	path string
	fd   int
	f    *os.File // of fd; nil: there is none
}

func newWatcher(path string) *watcher {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil { // a user has a few of them only
		return &watcher{path: path}
	}
	return &watcher{path: path, fd: fd, f: os.NewFile(uintptr(fd), "inotify")}
}

func (w *watcher) close() {
	if w != nil && w.f != nil {
		_ = w.f.Close()
	}
}

// wait waits until the file is written, unless changed says that it was, or ctx ends. It may return early. Where the
// system does not tell, it waits for as long as every.
func (w *watcher) wait(ctx context.Context, every time.Duration, changed func() bool) {
	if w.f == nil {
		pause(ctx, every)
		return
	}
	var b [4096]byte
	for { // what is left of the last time
		if n, err := unix.Read(w.fd, b[:]); n <= 0 && err != unix.EINTR {
			break
		}
	}
	// Once: a file that is written all the time costs its writer nothing while nobody waits.
	if _, err := unix.InotifyAddWatch(w.fd, w.path, unix.IN_MODIFY|unix.IN_ONESHOT); err != nil {
		pause(ctx, every)
		return
	}
	if changed() {
		return
	}
	_ = w.f.SetReadDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { _ = w.f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	_, _ = w.f.Read(b[:]) // what it says does not matter: the caller looks
}

// punch makes a hole of the bytes of f from one offset up to another.
func punch(f *os.File, from, to int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, from, to-from)
		if err != unix.EINTR {
			return err
		}
	}
}
