package filecopy

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// folder is an open folder. What is in it is reached by its names, one element each, and no link is ever followed.
type folder struct {
	f    *os.File
	path string // for people
	refs atomic.Int32
	last func() // is called by the last release, before the folder is closed
}

// openFolder opens the folder at a path that somebody named; links in it are followed.
func openFolder(path string) (*folder, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return newFolder(f, path), nil
}

func newFolder(f *os.File, path string) *folder {
	d := &folder{f: f, path: path}
	d.refs.Store(1)
	return d
}

func (d *folder) keep() *folder {
	d.refs.Add(1)
	return d
}

func (d *folder) release() {
	if d.refs.Add(-1) > 0 {
		return
	}
	if d.last != nil {
		d.last()
	}
	_ = d.f.Close()
}

func (d *folder) fd() int                   { return int(d.f.Fd()) }
func (d *folder) pathOf(name string) string { return filepath.Join(d.path, name) }

// do calls f until no signal interrupts it, and says in its error what was done to what.
func (d *folder) do(what, name string, f func() error) error {
	for {
		err := f()
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return &fs.PathError{Op: what, Path: d.pathOf(name), Err: err}
		}
		return nil
	}
}

// open opens what has a name; a link is an error.
func (d *folder) open(name string, flags int, perm uint32) (*os.File, error) {
	var fd int
	err := d.do("open", name, func() (err error) {
		fd, err = unix.Openat(d.fd(), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, perm)
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), d.pathOf(name)), nil
}

// folder opens a folder in it.
func (d *folder) folder(name string) (*folder, error) {
	f, err := d.open(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return newFolder(f, d.pathOf(name)), nil
}

// names lists what is in it, in order.
func (d *folder) names() ([]string, error) {
	names, err := d.f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

func (d *folder) stat(name string) (st unix.Stat_t, err error) {
	return st, d.do("stat", name, func() error { return unix.Fstatat(d.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW) })
}

func (d *folder) mkdir(name string, perm uint32) error {
	return d.do("mkdir", name, func() error { return unix.Mkdirat(d.fd(), name, perm) })
}

func (d *folder) remove(name string) error {
	return d.do("remove", name, func() error { return unix.Unlinkat(d.fd(), name, 0) })
}

func (d *folder) rename(from, to string) error {
	return d.do("rename", to, func() error { return unix.Renameat(d.fd(), from, d.fd(), to) })
}

func (d *folder) symlink(target, name string) error {
	return d.do("symlink", name, func() error { return unix.Symlinkat(target, d.fd(), name) })
}

func (d *folder) readlink(name string) (string, error) {
	b := make([]byte, maxLink+1)
	var n int
	err := d.do("readlink", name, func() (err error) {
		n, err = unix.Readlinkat(d.fd(), name, b)
		return err
	})
	if err == nil && n > maxLink {
		err = &fs.PathError{Op: "readlink", Path: d.pathOf(name), Err: unix.ENAMETOOLONG}
	}
	if err != nil {
		return "", err
	}
	return string(b[:n]), nil
}

// touch sets the time of the last change of what has a name; of a link, its own. A folder's own name is ".".
func (d *folder) touch(name string, m meta) error {
	t := unix.NsecToTimespec(0)
	t.Sec, t.Nsec = m.sec, int64(m.nsec)
	return d.do("chtimes", name, func() error {
		return unix.UtimesNanoAt(d.fd(), name, []unix.Timespec{t, t}, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// metaOf is what is said of an entry.
func metaOf(st *unix.Stat_t) meta {
	mt := st.Mtim
	return meta{mode: uint32(st.Mode) & 0o777, size: st.Size, sec: int64(mt.Sec), nsec: uint32(mt.Nsec)}
}

func isFolder(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFDIR }
func isFile(st *unix.Stat_t) bool   { return st.Mode&unix.S_IFMT == unix.S_IFREG }
func isLink(st *unix.Stat_t) bool   { return st.Mode&unix.S_IFMT == unix.S_IFLNK }

// statOf is the status of an open file.
func statOf(f *os.File) (st unix.Stat_t, err error) {
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return st, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return st, nil
}
