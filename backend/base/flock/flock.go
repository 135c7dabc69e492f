package flock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrHeld is returned where another process, or another opening of the same file, has the lock.
var ErrHeld = errors.New("another process holds the lock")

// Try takes the exclusive lock of f at once, or returns ErrHeld. Closing f lets go, and so does the end of the process.
func Try(f *os.File) error { return try(f, unix.LOCK_EX) }

// TryShared is Try for a lock that others may have at the same time, who share it, too.
func TryShared(f *os.File) error { return try(f, unix.LOCK_SH) }

// Free reports whether nobody has the exclusive lock of f.
func Free(f *os.File) bool { return TryShared(f) == nil }

// Release releases the lock of f, which stays open.
func Release(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_UN) }

func try(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return ErrHeld
		default:
			return fmt.Errorf("locking %s: %w", f.Name(), err)
		}
	}
}

// Wait takes the exclusive lock of f, waiting for whoever has it until ctx ends, whose error it returns
// then. held, if not nil, is called once if somebody has it. Closing f lets go.
func Wait(ctx context.Context, f *os.File, held func()) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := Try(f)
		if !errors.Is(err, ErrHeld) {
			return err
		}
		if held != nil {
			held()
			held = nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// Open opens the lock file at path, which is made with mode 0600, and takes its lock at once. Close the file to let go.
func Open(path string) (*os.File, error) {
	return open(path, Try)
}

// OpenWithin is Open that waits for whoever has the lock, for limit at most; then it returns ErrHeld.
func OpenWithin(ctx context.Context, path string, limit time.Duration) (*os.File, error) {
	return open(path, func(f *os.File) error {
		wctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		err := Wait(wctx, f, nil)
		if err != nil && wctx.Err() != nil && ctx.Err() == nil {
			return fmt.Errorf("%w, after %s still: %s", ErrHeld, limit, path)
		}
		return err
	})
}

// OpenWait is Open that waits for whoever has the lock until ctx ends, whose error it returns then.
func OpenWait(ctx context.Context, path string) (*os.File, error) {
	return open(path, func(f *os.File) error { return Wait(ctx, f, nil) })
}

func open(path string, take func(*os.File) error) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := take(f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
