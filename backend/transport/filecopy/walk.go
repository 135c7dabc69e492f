package filecopy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxDepth is how deep folders may be in each other: each is open while what is in it is told.
const maxDepth = 512

// NameOf is what the copy of a path is called, and whether what is in the folder is meant instead of the folder itself:
// of "x/.", and of what has no name of its own, "..", "~" or "/".
func NameOf(path string) (name string, contents bool) {
	if path == "" || path == "~" || strings.HasSuffix(path, "/.") {
		return "", true
	}
	trimmed := strings.TrimRight(path, "/")
	name = trimmed[strings.LastIndexByte(trimmed, '/')+1:]
	if name == "" || name == "." || name == ".." || name == "~" && trimmed == "~" {
		return "", true
	}
	return name, false
}

// source is what is sent: a folder, or a file in one.
type source struct {
	dir      *folder
	file     string // in dir; "": dir itself
	name     string // of the copy
	contents bool   // what is in dir, not dir
}

func (s source) close() { s.dir.release() }

// missing is a source that is not there.
type missing struct{ path string }

func (m missing) Error() string {
	if strings.ContainsAny(m.path, "*?[") {
		return m.path + ": no such file or folder (wildcards are not expanded: name the folder, or by DIR/. what is in it)"
	}
	return m.path + ": no such file or folder"
}

func (m missing) Unwrap() error { return fs.ErrNotExist }

func openSource(path string) (s source, err error) {
	s.name, s.contents = NameOf(path)
	path = filepath.Clean(path)
	fi, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = missing{path}
	}
	if err != nil {
		return s, err
	}
	if fi.IsDir() {
		s.dir, err = openFolder(path)
		return s, err
	}
	if s.contents {
		return s, &fs.PathError{Op: "open", Path: path, Err: unix.ENOTDIR}
	}
	if !fi.Mode().IsRegular() {
		return s, fmt.Errorf("%s is %s: it can't be copied", path, kindOf(fi.Mode()))
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return s, err
	}
	s.file = filepath.Base(path)
	s.dir, err = openFolder(filepath.Dir(path))
	return s, err
}

func kindOf(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return "a file"
	case m.IsDir():
		return "a folder"
	case m&fs.ModeSymlink != 0:
		return "a link"
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "no file"
}

// walkSource tells the receiver what there is.
func (g *sending) walkSource() error {
	switch {
	case g.src.file != "":
		st, err := g.src.dir.stat(g.src.file)
		if err != nil {
			return err
		}
		return g.tellFile(g.src.dir, g.src.file, g.src.name, metaOf(&st))
	case g.src.contents:
		return g.walk(g.src.dir, "", 0)
	}
	st, err := statOf(g.src.dir.f)
	if err != nil {
		return err
	}
	return g.walkBelow(g.src.dir, g.src.name, "", metaOf(&st), 0)
}

// walkBelow tells a folder, with all in it. Its path is that below the source.
func (g *sending) walkBelow(dir *folder, name, path string, m meta, depth int) error {
	if err := g.write(frame{kind: kindFolder, name: name, meta: m}); err != nil {
		return err
	}
	if err := g.walk(dir, path, depth); err != nil {
		return err
	}
	return g.write(frame{kind: kindUp})
}

// skipped tells both sides what is not copied. Its path is that below the source: an update removes nothing there.
func (g *sending) skipped(path string, err error) error {
	g.unseen = append(g.unseen, path)
	g.problem(err.Error())
	return g.write(frame{kind: kindSkipped, text: text(err)})
}

// walk tells what is in a folder. Its error is one of the line.
func (g *sending) walk(dir *folder, path string, depth int) error {
	names, err := dir.names()
	if err != nil {
		if err := g.skipped(path, err); err != nil {
			return err
		}
	}
	for _, name := range names {
		select {
		case <-g.stopped:
			return g.err
		default:
		}
		if err := g.tellEntry(dir, name, filepath.Join(path, name), depth); err != nil {
			return err
		}
	}
	return nil
}

func (g *sending) tellEntry(dir *folder, name, path string, depth int) error {
	st, err := dir.stat(name)
	if err == nil && g.spec.Skip != nil && g.spec.Skip(path, isFolder(&st)) {
		return nil
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("%s was removed before it was copied", dir.pathOf(name))
	case err != nil:
	case isFile(&st):
		return g.tellFile(dir, name, name, metaOf(&st))
	case isLink(&st):
		var target string
		if target, err = dir.readlink(name); err == nil {
			return g.write(frame{kind: kindLink, name: name, target: target, meta: metaOf(&st)})
		}
	case !isFolder(&st):
		err = fmt.Errorf("%s is %s: it is not copied", dir.pathOf(name), special(&st))
	case depth >= maxDepth:
		err = fmt.Errorf("%s is not copied: folders are more than %d deep", dir.pathOf(name), maxDepth)
	default:
		var child *folder
		if child, err = dir.folder(name); err != nil {
			break
		}
		defer child.release()
		if st, err = statOf(child.f); err != nil {
			break
		}
		if g.to.host != "" && g.to == placeOf(&st) {
			err = fmt.Errorf("%s is not copied into itself", child.path)
			break
		}
		return g.walkBelow(child, name, path, metaOf(&st), depth+1)
	}
	return g.skipped(path, err)
}

func special(st *unix.Stat_t) string {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return kindOf(0)
	case unix.S_IFDIR:
		return kindOf(fs.ModeDir)
	case unix.S_IFLNK:
		return kindOf(fs.ModeSymlink)
	case unix.S_IFIFO:
		return kindOf(fs.ModeNamedPipe)
	case unix.S_IFSOCK:
		return kindOf(fs.ModeSocket)
	case unix.S_IFCHR, unix.S_IFBLK:
		return kindOf(fs.ModeDevice)
	}
	return kindOf(fs.ModeIrregular)
}

// tellFile offers a file, which is to be called as.
func (g *sending) tellFile(dir *folder, name, as string, m meta) error {
	if err := g.slot(); err != nil {
		return err
	}
	g.mu.Lock()
	g.last++
	o := &offer{index: g.last, dir: dir.keep(), name: name, size: m.size}
	g.offered[o.index] = o
	g.mu.Unlock()
	return g.write(frame{kind: kindFile, index: o.index, name: as, meta: m})
}

// Size counts the files at and below a path, and their bytes, but for what skip (which may be nil) names: it is given
// paths below root. visited is called with each thing, and with why it can't be read; its error ends the count.
func Size(root string, skip func(path string, folder bool) bool, visited func(unread error) error) (files, bytes int64,
	err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if verr := visited(err); err != nil || verr != nil {
			return verr
		}
		if rel, err := filepath.Rel(root, path); err == nil && rel != "." && skip != nil && skip(rel, d.IsDir()) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		fi, err := d.Info()
		if err != nil {
			return visited(err)
		}
		bytes += fi.Size()
		files++
		return nil
	})
	return files, bytes, err
}

// count counts what there is, and tells the receiver. What can't be read is missing in it.
func (g *sending) count() {
	root := g.src.dir.path
	if g.src.file != "" {
		root = filepath.Join(root, g.src.file)
	}
	stopped := errors.New("stopped")
	files, bytes, err := Size(root, g.spec.Skip, func(error) error { // what can't be read is told when it is its turn
		select {
		case <-g.stopped:
			return stopped
		default:
			return nil
		}
	})
	if err != nil {
		return
	}
	g.Progress.TotalBytes.Add(bytes)
	g.Progress.TotalFiles.Add(files)
	_ = g.say(frame{kind: kindTotal, number: bytes, index: uint64(files)}) // the line's end is seen by the others
}
