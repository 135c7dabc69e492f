package filecopy

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// An update decides each thing when it is told of it, tells the sender, and then does it, unless it is a dry run: so
// what a dry run tells is what then happens.

// stat is the status of what has a name in a folder, also of one that a dry run would make: nothing is in it.
func (v *level) stat(name string) (unix.Stat_t, error) {
	if v.dir == nil {
		return unix.Stat_t{}, fs.ErrNotExist
	}
	return v.dir.stat(name)
}

// change tells the sender what an update changes.
func (g *receiving) change(what Change, in *level, name string, dir bool) error {
	if dir {
		what |= FolderFlag
	}
	return g.write(frame{kind: kindChange, what: what, name: in.path + name})
}

func madeOr(there bool) Change {
	if there {
		return Replaced
	}
	return Made
}

// changeOfFolder is what an update does to a folder; 0: nothing that is told. What can't be seen is no change: making
// it says why.
func (g *receiving) changeOfFolder(in *level, name string, f *frame) (Change, error) {
	st, err := in.stat(name)
	var what Change
	switch {
	case errors.Is(err, fs.ErrNotExist):
		what = Made
	case err != nil:
		return 0, nil
	case !isFolder(&st):
		what = Replaced
	case uint32(st.Mode)&0o7777 != f.meta.mode:
		what = Permitted
	default:
		return 0, nil
	}
	return what, g.change(what, in, name, true)
}

func (g *receiving) changeOfLink(in *level, name string, f *frame) error {
	st, err := in.stat(name)
	if err == nil && isFolder(&st) {
		return nil // it stays, and making the link says so
	}
	if err == nil && isLink(&st) {
		if was, err := in.dir.readlink(name); err == nil && was == f.target {
			return nil
		}
	}
	return g.change(madeOr(err == nil), in, name, false)
}

// have keeps a file that is as the source, but for its permissions.
func (g *receiving) have(in *level, name string, st *unix.Stat_t, f *frame) error {
	if uint32(st.Mode)&0o7777 != f.meta.mode {
		if err := g.change(Permitted, in, name, false); err != nil {
			return err
		}
		if !g.spec.Dry {
			if err := chmod(in.dir, name, f.meta.mode); err != nil {
				return g.cannot(f.index, err)
			}
		}
	}
	return g.write(frame{kind: kindHave, index: f.index})
}

// chmod sets the permissions of a file of one's own, also of one that can't be read.
func chmod(in *folder, name string, mode uint32) error {
	return in.do("chmod", name, func() error {
		err := unix.Fchmodat(in.fd(), name, mode, unix.AT_SYMLINK_NOFOLLOW)
		if errors.Is(err, unix.EOPNOTSUPP) { // an older kernel
			err = unix.Fchmodat(in.fd(), name, mode, 0)
		}
		return err
	})
}

// sameTime compares times of changes, the first of which may be of a file system that keeps less of it.
func sameTime(here, there meta) bool {
	if here.sec != there.sec {
		return false
	}
	for unit := uint32(1); unit <= uint32(time.Second); unit *= 10 {
		if here.nsec == there.nsec/unit*unit {
			return true
		}
	}
	return false
}

// extras tells what is in a folder and not in the source. What others let grow there is left alone.
func (g *receiving) extras(v *level) error {
	if v.known == nil || v.dir == nil {
		return nil
	}
	names, err := v.dir.names()
	if err != nil {
		return g.cannot(0, err)
	}
	for _, name := range names {
		if v.known[name] || IsTemp(name) {
			continue
		}
		if err := g.extra(v.dir, v.path, name, len(g.stack)); err != nil {
			return err
		}
	}
	return nil
}

func (g *receiving) extra(in *folder, path, name string, depth int) error {
	st, err := in.stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return g.cannot(0, err)
	}
	what := Removed
	if isFolder(&st) {
		what |= FolderFlag
		if depth > maxDepth {
			return nil // its parents stay, with it
		}
		dir, err := in.folder(name)
		if err != nil {
			return g.cannot(0, err)
		}
		defer dir.release()
		names, err := dir.names()
		if err != nil {
			return g.cannot(0, err)
		}
		for _, child := range names {
			if err := g.extra(dir, path+name+"/", child, depth+1); err != nil {
				return err
			}
		}
	}
	return g.write(frame{kind: kindExtra, what: what, name: path + name})
}

// sent tells the sender that it knows all that is not in the source, when all that came is in its place.
func (g *receiving) sent(f *frame) error {
	if !g.quiet() || !g.spec.List || g.listed {
		return unexpected(*f)
	}
	g.wg.Wait()
	if err := g.failure(); err != nil {
		return err
	}
	if err := g.extras(g.stack[0]); err != nil {
		return err
	}
	g.listed = true
	return g.say(frame{kind: kindListed})
}

// delete removes what the sender says. No link is followed on the way to it.
func (g *receiving) delete(f *frame) error {
	if !g.listed {
		return unexpected(*f)
	}
	root := g.stack[0].dir
	if g.spec.Dry || root == nil {
		return nil
	}
	err := root.deleteBelow(f.name, f.what&FolderFlag != 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return g.cannot(0, err)
	}
	return nil
}

func (d *folder) deleteBelow(path string, dir bool) error {
	in := d.keep()
	defer func() { in.release() }()
	for {
		name, rest, more := strings.Cut(path, "/")
		if !more {
			return in.deleteQuietly(name, dir)
		}
		next, err := in.folder(name)
		if err != nil {
			return err
		}
		in.release()
		in, path = next, rest
	}
}

// deleteQuietly removes something from a folder of which time and permissions were set before.
func (d *folder) deleteQuietly(name string, dir bool) error {
	st, err := statOf(d.f)
	if err != nil {
		return err
	}
	m := metaOf(&st)
	locked := m.mode&0o300 != 0o300 && int(st.Uid) == os.Geteuid()
	if locked {
		if err := d.f.Chmod(fs.FileMode(m.mode | 0o300)); err != nil {
			return err
		}
	}
	flags := 0
	if dir {
		flags = unix.AT_REMOVEDIR
	}
	err = d.do("remove", name, func() error { return unix.Unlinkat(d.fd(), name, flags) })
	if locked {
		err = errors.Join(err, d.f.Chmod(fs.FileMode(m.mode)))
	}
	return errors.Join(err, d.touch(".", m))
}
