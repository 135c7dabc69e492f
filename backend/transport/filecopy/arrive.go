package filecopy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"berth/backend/base/flock"
)

// tempPrefix and tempSuffix are around the name of what is not whole yet.
const tempPrefix, tempSuffix = ".berth-", ".part"

// tempName is where a file grows, beside its final name.
func tempName(name string) string {
	sum := sha256.Sum256([]byte(name))
	return tempPrefix + hex.EncodeToString(sum[:8]) + tempSuffix
}

// IsTemp reports whether a name is one under which a file grows.
func IsTemp(name string) bool {
	return strings.HasPrefix(name, tempPrefix) && strings.HasSuffix(name, tempSuffix) &&
		len(name) == len(tempPrefix)+16+len(tempSuffix)
}

// arrival is a file that was asked for.
type arrival struct {
	dir    *folder
	name   string
	index  uint64
	f      *os.File // under its temporary name; nil: not open
	blocks uint64   // that were there
	kept   *summer  // of them
	meta   meta
	sum    *summer // of what has come
	at     int64
}

// open opens the file under its temporary name, which nobody else writes to from then on.
func (a *arrival) open(flags int) error {
	for {
		f, err := a.dir.open(tempName(a.name), unix.O_RDWR|flags, 0o600)
		if err != nil {
			return err
		}
		err = a.own(f)
		if err == nil {
			a.f = f
			return nil
		}
		_ = f.Close()
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
}

// own makes sure that an open file is this user's alone, and still the one of its name.
func (a *arrival) own(f *os.File) error {
	if err := flock.Try(f); errors.Is(err, flock.ErrHeld) {
		return fmt.Errorf("%s is being copied by another one now", a.dir.pathOf(a.name))
	} else if err != nil && !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.ENOLCK) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	st, err := statOf(f)
	if err != nil {
		return err
	}
	there, err := a.dir.stat(tempName(a.name))
	if err == nil && (there.Ino != st.Ino || there.Dev != st.Dev) {
		err = fs.ErrNotExist // it was whole a moment ago
	}
	if err != nil {
		return err
	}
	if !isFile(&st) || int(st.Uid) != os.Geteuid() || st.Nlink != 1 {
		return fmt.Errorf("%s is in the way: it is no unfinished copy of this user", f.Name())
	}
	return nil
}

// left finds what an interrupted copy has left of a file of a size, in blocks, with its sum.
func (a *arrival) left(size int64) (blocks uint64, sum sum256, err error) {
	err = a.open(0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, sum, nil
	}
	if err != nil {
		return 0, sum, err
	}
	st, err := statOf(a.f)
	if err != nil {
		return 0, sum, err
	}
	n := min(st.Size, size) / blockSize
	if n == 0 {
		return 0, sum, nil
	}
	a.kept = newSummer()
	if err := beginning(a.f, n*blockSize, a.kept, make([]byte, chunk)); err != nil {
		return 0, sum, err
	}
	a.blocks = uint64(n)
	return a.blocks, a.kept.sum(), nil
}

// close closes the file; what there is of it stays.
func (a *arrival) close() {
	if a.f != nil {
		_ = a.f.Close()
		a.f = nil
	}
	a.dir.release()
}

// leave leaves what has come for the next copy, if that is enough to go on with.
func (a *arrival) leave() {
	if a.at < blockSize {
		a.drop()
		return
	}
	a.close()
}

// drop removes what has come.
func (a *arrival) drop() {
	if a.f != nil {
		_ = a.dir.remove(tempName(a.name))
	}
	a.close()
}

// begin opens a file that comes now.
func (g *receiving) begin(f *frame) error {
	a := g.coming[f.index]
	if a == nil || g.cur != nil || g.skips || f.blocks != 0 && f.blocks != a.blocks {
		return unexpected(*f)
	}
	delete(g.coming, f.index)
	if err := a.begin(f); err != nil {
		a.close()
		if err, ok := full(err); ok {
			return err
		}
		g.skips = true
		if err := g.cannot(f.index, err); err != nil {
			return err
		}
		return g.flush()
	}
	g.Progress.Bytes.Add(a.at)
	g.cur = a
	return nil
}

func (a *arrival) begin(f *frame) error {
	if a.f == nil {
		if err := a.open(unix.O_CREAT); err != nil {
			return err
		}
	}
	a.meta, a.sum = f.meta, newSummer()
	if f.blocks > 0 {
		a.sum, a.at = a.kept, int64(f.blocks)*blockSize
	}
	return a.f.Truncate(a.at)
}

// bytes takes a piece of the file that comes.
func (g *receiving) bytes(f *frame) error {
	g.Active()
	a := g.cur
	if a == nil {
		if g.skips {
			return nil
		}
		return unexpected(*f)
	}
	n := f.number + int64(len(f.data))
	if n > a.meta.size-a.at {
		return unexpected(*f)
	}
	if f.kind == kindHole {
		a.sum.zeros(n)
	} else {
		if _, err := a.f.WriteAt(f.data, a.at); err != nil {
			return g.unwritten(a, err)
		}
		a.sum.add(f.data)
	}
	a.at += n
	g.Progress.Bytes.Add(n)
	return nil
}

// unwritten ends the current file for an error of writing it.
func (g *receiving) unwritten(a *arrival, err error) error {
	g.cur = nil
	if err, ok := full(err); ok {
		a.drop() // it would be what fills the disk
		return err
	}
	a.leave()
	g.skips = true
	if err := g.cannot(a.index, err); err != nil {
		return err
	}
	return g.flush()
}

func (g *receiving) aborted(f *frame) error {
	if g.cur == nil && !g.skips {
		return unexpected(*f)
	}
	if g.cur != nil {
		g.cur.leave()
	}
	g.cur, g.skips = nil, false
	if f.text != "" {
		g.told(f.text)
	}
	return nil
}

// ended checks the file that has come. It is brought to the disk, and then to its place, beside others.
func (g *receiving) ended(f *frame) error {
	a := g.cur
	if a == nil {
		if !g.skips {
			return unexpected(*f)
		}
		g.skips = false
		return nil
	}
	g.cur = nil
	if a.at != a.meta.size || a.sum.sum() != f.sum {
		a.drop()
		return g.cannot(a.index, fmt.Errorf("%s has not arrived as it was sent: run it again", a.dir.pathOf(a.name)))
	}
	g.slots <- struct{}{}
	g.wg.Go(func() {
		defer func() { <-g.slots }()
		if err := g.finish(a); err != nil {
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.fatal == nil {
				g.fatal = err
			}
		}
	})
	return nil
}

// finish brings a file to its place.
func (g *receiving) finish(a *arrival) error {
	temp := tempName(a.name)
	err := a.f.Truncate(a.meta.size) // a hole at the end
	if err == nil {
		err = a.f.Chmod(fs.FileMode(a.meta.mode))
	}
	if err == nil {
		err = a.dir.touch(temp, a.meta)
	}
	if err == nil {
		err = a.f.Sync()
	}
	if err == nil {
		err = a.dir.rename(temp, a.name)
	}
	if err == nil {
		a.close()
		g.Progress.Files.Add(1)
		return nil
	}
	a.drop()
	if err, ok := full(err); ok {
		return err
	}
	return g.cannot(a.index, err)
}
