package supervise

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"berth/backend/base/atomicfile"
)

// MarkerName is the file in an instance's folder without which nothing of it is deleted.
const MarkerName = "berth-instance.json"

// Marker is what that file must say for delete: the instance it belongs to, and which folder it was
// written for. A folder that was put in its place, or a copy, has another inode.
type Marker struct {
	ID    string `json:"id"`
	Dev   uint64 `json:"dev"`
	Inode uint64 `json:"inode"`
}

// ErrForeign is returned for a folder that Berth did not make, or that holds the user's home.
var ErrForeign = errors.New("the folder is not Berth's to delete")

// deletingName is what an instance's folder is called while it is being removed.
func deletingName(id string) string { return "." + id + ".deleting" }

// Deleting is the path of the half-removed folder of an instance in the folder data.
func Deleting(data, id string) string { return filepath.Join(data, deletingName(id)) }

// RemoveInstance removes the folder path of instance id, also one that an earlier call left half
// removed. It goes by open folders, never by names that could be changed under it, and follows no
// symlink.
func RemoveInstance(path, id string) error {
	parent, err := unix.Open(filepath.Dir(path), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening %s: %w", filepath.Dir(path), err)
	}
	defer unix.Close(parent)
	name, hidden := filepath.Base(path), deletingName(id)
	if err := errors.Join(noMounts(path), noMounts(Deleting(filepath.Dir(path), id))); err != nil {
		return err
	}
	if err := checkInstance(parent, name, id); err == nil {
		// From here on it is no instance any more, however far the removal gets.
		if err := unix.Renameat(parent, name, parent, hidden); err != nil {
			return fmt.Errorf("renaming %s: %w", path, err)
		}
		_ = unix.Fsync(parent)
	} else if !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("%s: %w", path, err)
	}
	err = checkInstance(parent, hidden, id)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", Deleting(filepath.Dir(path), id), err)
	}
	if err := removeTree(parent, hidden, filepath.Dir(path)); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(path))
}

// CheckInstance says whether the folder may be deleted as instance id: nil, an error that wraps
// ErrForeign, or fs.ErrNotExist.
func CheckInstance(path, id string) error {
	parent, err := unix.Open(filepath.Dir(path), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(parent)
	return checkInstance(parent, filepath.Base(path), id)
}

func checkInstance(parent int, name, id string) error {
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		return fmt.Errorf("%w: it is a symlink or a file, where a folder was made", ErrForeign)
	}
	if err != nil {
		return err
	}
	d := os.NewFile(uintptr(fd), name)
	defer d.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	m, err := readMarker(fd)
	if errors.Is(err, fs.ErrNotExist) {
		// The marker goes last: what an earlier call emptied may go too.
		if names, rerr := d.Readdirnames(1); name == deletingName(id) && errors.Is(rerr, io.EOF) && len(names) == 0 {
			return nil
		}
		return fmt.Errorf("%w: it has no marker %s", ErrForeign, MarkerName)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	if m.ID != id || m.Dev != uint64(st.Dev) || m.Inode != st.Ino {
		return fmt.Errorf("%w: its marker was written for another folder (instance %.40q, inode %d; this is %q, inode %d)",
			ErrForeign, m.ID, m.Inode, id, st.Ino)
	}
	return notAboveHome(st)
}

// notAboveHome refuses a folder that is the user's home or holds it.
func notAboveHome(target unix.Stat_t) error {
	for dir := os.Getenv("HOME"); filepath.IsAbs(dir); dir = filepath.Dir(dir) {
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			continue
		}
		for p := real; ; p = filepath.Dir(p) {
			var st unix.Stat_t
			if unix.Stat(p, &st) == nil && st.Dev == target.Dev && st.Ino == target.Ino {
				return fmt.Errorf("%w: the user's home %s is in it", ErrForeign, os.Getenv("HOME"))
			}
			if p == filepath.Dir(p) {
				return nil
			}
		}
	}
	return nil
}

func readMarker(dir int) (Marker, error) {
	var m Marker
	fd, err := unix.Openat(dir, MarkerName, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return m, &fs.PathError{Op: "open", Path: MarkerName, Err: err}
	}
	f := os.NewFile(uintptr(fd), MarkerName)
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return m, err
	}
	return parseMarker(b)
}

// removeTree removes name below parent and everything in it; the marker is the last file to go. It
// enters no other file system: what is mounted there is somebody's data.
func removeTree(parent int, name, path string) error {
	path = filepath.Join(path, name)
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EACCES) { // a folder without permissions, as package caches make
		if unix.Fchmodat(parent, name, 0o700, 0) == nil {
			fd, err = unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		}
	}
	if err != nil {
		return fmt.Errorf("opening %s: %w", path, err)
	}
	d := os.NewFile(uintptr(fd), path)
	defer d.Close()
	var up, here unix.Stat_t
	if err := errors.Join(unix.Fstat(parent, &up), unix.Fstat(fd, &here)); err != nil {
		return fmt.Errorf("looking at %s: %w", path, err)
	}
	if up.Dev != here.Dev {
		return fmt.Errorf("%s is a mount point: unmount it first; nothing in it was deleted", path)
	}
	if here.Mode&0o700 != 0o700 {
		_ = unix.Fchmod(fd, 0o700) // if it matters, the removal below fails and says so
	}
	marker, err := empty(d, path)
	if err != nil {
		return err
	}
	if marker {
		if err := removeEntry(fd, MarkerName, path); err != nil {
			return err
		}
	}
	if err := unix.Unlinkat(parent, name, unix.AT_REMOVEDIR); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("removing %s: %w", path, err)
	}
	return nil
}

// empty removes all that is in a folder but the marker. It reads the folder until nothing else is
// found: a file system may skip names while others are removed.
func empty(d *os.File, path string) (marker bool, err error) {
	var errs []error
	for {
		found := false
		if _, err := d.Seek(0, io.SeekStart); err != nil {
			return marker, fmt.Errorf("reading %s: %w", path, err)
		}
		for {
			names, err := d.Readdirnames(1024)
			for _, n := range names {
				if n == MarkerName {
					marker = true
					continue
				}
				found = true
				if err := removeEntry(int(d.Fd()), n, path); err != nil && len(errs) < 10 {
					errs = append(errs, err)
				}
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return marker, fmt.Errorf("reading %s: %w", path, err)
			}
		}
		if len(errs) > 0 || !found {
			return marker, errors.Join(errs...)
		}
	}
}

func removeEntry(dir int, name, path string) error {
	err := unix.Unlinkat(dir, name, 0)
	switch {
	case err == nil || errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EPERM): // EPERM: a folder, to POSIX
		var st unix.Stat_t
		if serr := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); serr == nil &&
			st.Mode&unix.S_IFMT == unix.S_IFDIR {
			return removeTree(dir, name, path)
		}
	}
	return fmt.Errorf("removing %s: %w", filepath.Join(path, name), err)
}
