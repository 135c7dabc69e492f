package history

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// errAside is what a damaged file is reported with; the history goes on in a new one.
var errAside = errors.New("the history was begun anew")

// lock takes the lock file, which stays when the history's own file is replaced.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("another agent has the history %s: %w", path, err)
	}
	return f, nil
}

// openFile opens a history. fs.ErrNotExist: there is none yet. errAside: what was there is kept beside.
func openFile(path string) (*store, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	s, err := load(f)
	if err == nil {
		return s, nil
	}
	_ = f.Close()
	aside := path + ".aside"
	if e := os.Rename(path, aside); e != nil {
		return nil, fmt.Errorf("the history %s can't be used (%w), and can't be put aside: %w", path, err, e)
	}
	return nil, fmt.Errorf("%w: %s could not be used (%w) and was renamed to %s", errAside, path, err, aside)
}

// create makes a file with these capacities and all rows of old. It replaces what is at path only when it is whole.
func create(path string, c capacity, old *store) (*store, error) {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	s := newStore(c, fileRings(), f)
	err = func() error {
		if err := allocate(f, place(s.lay, s.rings)); err != nil {
			return err
		}
		if err := s.writeAt(s.header(), 0); err != nil {
			return err
		}
		if old != nil {
			if err := s.copyRows(old); err != nil {
				return err
			}
		}
		if err := s.saveTable(); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		return os.Rename(tmp, path)
	}()
	if err != nil {
		_ = f.Close()
		_ = os.Remove(tmp)
		return nil, fmt.Errorf("making the history %s: %w", path, err)
	}
	if d, err := os.Open(filepath.Dir(path)); err == nil {
		_ = d.Sync() // where it can't be, the file is only younger after a power cut
		_ = d.Close()
	}
	return s, nil
}

// fill writes zeros, so that the file system has given all of the space.
func fill(f *os.File, size int64) error {
	b := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(b)) {
		if _, err := f.WriteAt(b[:min(int64(len(b)), size-at)], at); err != nil {
			return err
		}
	}
	return nil
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
