package filecopy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"berth/backend/api"
)

// finishers is how many files are brought to the disk at once: together they cost little more than one.
const finishers = 16

// Receiver puts what a Sender sends into its place.
type Receiver struct {
	Common
	// Target is where it goes, on this side: into the folder of this path, else under this very name. A link there is
	// followed; no other one is.
	Target string
	// Folder says that the target must be a folder: it is said with a slash behind, or there are several sources.
	Folder bool
	// Contents says that what comes are the contents of the target, which is made if it is not there.
	Contents bool
	// Name is what the source is called, where it is known: nothing else is taken.
	Name string
	// Update leaves alone what has the size and the time of the source, and tells the sender what it changes.
	Update bool
	// List has an update tell the sender what is there and not in the source, and remove what it is told to.
	List bool
	// Dry has an update change nothing.
	Dry bool
}

// Receive takes what comes over a stream until all is in its place. It closes the stream, also when ctx ends.
func (r *Receiver) Receive(ctx context.Context, st *api.Stream) (Result, error) {
	defer context.AfterFunc(ctx, func() { _ = st.Close() })()
	l := newLine(st, r.Common)
	g := &receiving{line: l, spec: r, coming: map[uint64]*arrival{}, slots: make(chan struct{}, finishers)}
	err := g.openTarget()
	if err == nil {
		err = g.run()
		if err == nil {
			_ = st.Close()
		}
	}
	if err != nil {
		err, _ = full(l.why(err))
		l.fail(ctx, err)
	}
	return l.end(ctx, err)
}

// receiving is one copy as its receiver sees it: one goroutine takes what comes, others bring files to the disk.
type receiving struct {
	*line
	spec   *Receiver
	rename string // what the only entry at the top is called here; "": as it is
	whole  bool   // the target was not there, and is said to be a folder
	tops   int    // entries that came at the top

	stack  []*level
	coming map[uint64]*arrival // files that the sender was asked for, by index
	cur    *arrival            // that is coming now
	skips  bool                // it comes, and nobody takes it

	slots chan struct{}
	wg    sync.WaitGroup
	mu    sync.Mutex
	fatal error // of a finisher

	listed bool // all that is not in the source
}

// level is a folder that things are put into.
type level struct {
	dir   *folder         // nil: it could not be made, and nothing in it is; or it would be
	would bool            // be made, but for a dry run
	path  string          // below the target, with a slash behind
	known map[string]bool // what the source has in it, where that is listed
}

// openTarget finds the folder into which the entries at the top go.
func (g *receiving) openTarget() error {
	path := filepath.Clean(g.spec.Target)
	fi, err := os.Stat(path)
	there := err == nil
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case there && fi.IsDir():
	case there && (g.spec.Folder || g.spec.Contents):
		return fmt.Errorf("%s is no folder", path)
	case there: // a file: through a link, it is its target that is replaced
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return err
		}
		fallthrough
	default:
		if _, err := os.Lstat(path); !there && err == nil {
			return fmt.Errorf("%s is a link to nothing", path)
		}
		if g.spec.Contents && g.spec.Dry {
			g.stack = []*level{g.level("", nil, true)}
			return nil
		}
		if g.spec.Contents {
			if err := os.Mkdir(path, 0o777); err != nil {
				return err
			}
			break
		}
		g.whole = !there && g.spec.Folder
		g.rename = filepath.Base(path)
		path = filepath.Dir(path)
	}
	dir, err := openFolder(path)
	if errors.Is(err, fs.ErrNotExist) {
		return api.Errorf(api.CodeFailed, "there is no folder %s to put it into", path)
	}
	if err != nil {
		return err
	}
	g.stack = []*level{g.level("", dir, false)}
	return nil
}

func (g *receiving) level(path string, dir *folder, would bool) *level {
	v := &level{dir: dir, would: would, path: path}
	if g.spec.List {
		v.known = map[string]bool{}
	}
	return v
}

func (g *receiving) run() error {
	err := g.take()
	if g.cur != nil {
		g.cur.leave()
	}
	g.wg.Wait()
	for _, a := range g.coming {
		a.close()
	}
	root := g.stack[0].dir
	for _, v := range g.stack[1:] {
		if v.dir != nil {
			v.dir.release()
		}
	}
	if err == nil {
		err = g.fatal
	}
	if err == nil && root != nil && !g.spec.Dry {
		_ = root.f.Sync() // and with it all that was renamed before, where the file system keeps a journal
	}
	if root != nil {
		root.release()
	}
	if err != nil {
		return err
	}
	return g.say(frame{kind: kindFinished})
}

// take takes frames until the sender is done.
func (g *receiving) take() error {
	var at place
	if dir := g.stack[0].dir; dir != nil {
		st, err := statOf(dir.f)
		if err != nil {
			return err
		}
		at = placeOf(&st)
	}
	if err := g.say(frame{kind: kindReady, place: at}); err != nil {
		return err
	}
	for {
		if g.st.Reader.Buffered() == 0 {
			if err := g.flush(); err != nil {
				return err
			}
		}
		f, err := g.read()
		if err != nil {
			return err
		}
		if err := g.failure(); err != nil {
			return err
		}
		if f.kind == kindDone {
			if !g.quiet() || g.spec.List && !g.listed {
				return unexpected(f)
			}
			return nil
		}
		if err := g.handle(&f); err != nil {
			return err
		}
	}
}

// quiet reports that nothing has begun to come that did not end.
func (g *receiving) quiet() bool {
	return len(g.stack) == 1 && len(g.coming) == 0 && g.cur == nil && !g.skips
}

func (g *receiving) failure() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fatal
}

func (g *receiving) handle(f *frame) error {
	switch f.kind {
	case kindFolder:
		return g.folder(f)
	case kindUp:
		if len(g.stack) == 1 {
			return unexpected(*f)
		}
		top := g.stack[len(g.stack)-1]
		g.stack = g.stack[:len(g.stack)-1]
		if err := g.extras(top); err != nil {
			return err
		}
		if top.dir != nil {
			top.dir.release()
		}
		return nil
	case kindLink:
		return g.link(f)
	case kindFile:
		return g.file(f)
	case kindBegin:
		return g.begin(f)
	case kindData, kindHole:
		return g.bytes(f)
	case kindEnd:
		return g.ended(f)
	case kindAbort:
		return g.aborted(f)
	case kindGone:
		a := g.coming[f.index]
		if a == nil {
			return unexpected(*f)
		}
		delete(g.coming, f.index)
		a.close()
		if f.text != "" {
			g.told(f.text)
		}
		return nil
	case kindSent:
		return g.sent(f)
	case kindDelete:
		return g.delete(f)
	case kindSkipped:
		g.told(f.text)
		return nil
	case kindTotal:
		g.Progress.TotalBytes.Add(f.number)
		g.Progress.TotalFiles.Add(int64(f.index)) // it is shown
		return nil
	}
	return unexpected(*f)
}

// cannot tells both sides what can't be put into its place. The index is that of a file, or 0.
func (g *receiving) cannot(index uint64, err error) error {
	g.problem(err.Error())
	return g.write(frame{kind: kindFailed, index: index, text: text(err)})
}

// under is the folder into which an entry goes, and its name there. An error ends the copy: that was not
// asked for.
func (g *receiving) under(f *frame) (*level, string, error) {
	top := g.stack[len(g.stack)-1]
	if top.known != nil {
		top.known[f.name] = true
	}
	if len(g.stack) > 1 || g.spec.Contents {
		return top, f.name, nil
	}
	if g.tops++; g.tops > 1 || g.spec.Name != "" && f.name != g.spec.Name {
		return nil, "", fmt.Errorf("the other side sent %q, which was not asked for", f.name)
	}
	if g.whole && f.kind != kindFolder {
		return nil, "", api.Errorf(api.CodeFailed, "there is no folder %s to put it into", g.spec.Target)
	}
	if g.rename != "" {
		return top, g.rename, nil
	}
	return top, f.name, nil
}

func (g *receiving) folder(f *frame) error {
	if len(g.stack) > maxDepth+2 {
		return unexpected(*f)
	}
	in, name, err := g.under(f)
	if err != nil {
		return err
	}
	v := g.level(in.path+name+"/", nil, in.would)
	g.stack = append(g.stack, v)
	if in.dir == nil && !in.would {
		return nil
	}
	if g.spec.Update {
		what, err := g.changeOfFolder(in, name, f)
		if err != nil {
			return err
		}
		v.would = g.spec.Dry && (what == Made || what == Replaced)
		if v.would {
			return nil
		}
	}
	v.dir, err = makeFolder(in.dir, name, g.spec.Update, g.spec.Dry)
	if err != nil {
		if err, ok := full(err); ok {
			return err
		}
		return g.cannot(0, err)
	}
	if g.spec.Dry {
		return nil
	}
	m, dir := f.meta, v.dir
	dir.last = func() { // when all that is in it is in its place
		err := dir.f.Chmod(fs.FileMode(m.mode))
		if terr := dir.touch(".", m); err == nil {
			err = terr
		}
		if err != nil {
			_ = g.cannot(0, err) // a line that broke is seen by who reads
		}
	}
	return nil
}

// makeFolder makes a folder that can be written to, or opens the one that is there. An update replaces what is no
// folder.
func makeFolder(in *folder, name string, replace, dry bool) (*folder, error) {
	if dry {
		return in.folder(name)
	}
	err := in.mkdir(name, 0o700)
	if err == nil {
		return in.folder(name)
	}
	if !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	st, serr := in.stat(name)
	if serr != nil {
		return nil, serr
	}
	if !isFolder(&st) {
		if !replace || !isFile(&st) && !isLink(&st) {
			return nil, fmt.Errorf("%s is there, and is %s", in.pathOf(name), special(&st))
		}
		if err := in.remove(name); err != nil {
			return nil, err
		}
		if err := in.mkdir(name, 0o700); err != nil {
			return nil, err
		}
	}
	dir, err := in.folder(name)
	if errors.Is(err, fs.ErrPermission) && int(st.Uid) == os.Geteuid() {
		// one's own, that one has locked: opened for as long as the copy lasts
		if cerr := chmod(in, name, 0o700); cerr == nil {
			return in.folder(name)
		}
	}
	if err == nil && st.Mode&0o700 != 0o700 && int(st.Uid) == os.Geteuid() {
		err = dir.f.Chmod(fs.FileMode(st.Mode&0o777 | 0o700))
		if err != nil {
			dir.release()
			return nil, err
		}
	}
	return dir, err
}

func (g *receiving) link(f *frame) error {
	in, name, err := g.under(f)
	if err != nil || in.dir == nil && !in.would {
		return err
	}
	if g.spec.Update {
		if err := g.changeOfLink(in, name, f); err != nil || g.spec.Dry {
			return err
		}
	}
	err = makeLink(in.dir, name, f)
	if err != nil {
		if err, ok := full(err); ok {
			return err
		}
		return g.cannot(0, err)
	}
	return nil
}

func makeLink(in *folder, name string, f *frame) error {
	if st, err := in.stat(name); err == nil {
		if !isFile(&st) && !isLink(&st) {
			return fmt.Errorf("%s is there, and is %s", in.pathOf(name), special(&st))
		}
		if was, err := in.readlink(name); err == nil && was == f.target {
			return in.touch(name, f.meta)
		}
	}
	temp := tempName(name)
	if err := in.remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := in.symlink(f.target, temp)
	if err == nil {
		err = in.touch(temp, f.meta)
		if err == nil {
			err = in.rename(temp, name)
		}
		if err != nil {
			_ = in.remove(temp)
		}
	}
	return err
}

// file decides what becomes of a file that the sender has.
func (g *receiving) file(f *frame) error {
	if len(g.coming) >= window || g.coming[f.index] != nil {
		return unexpected(*f)
	}
	in, name, err := g.under(f)
	if err != nil {
		return err
	}
	if in.dir == nil && !in.would {
		return g.write(frame{kind: kindFailed, index: f.index})
	}
	st, err := in.stat(name)
	there := err == nil
	switch {
	case there && !isFile(&st) && !isLink(&st):
		return g.cannot(f.index, fmt.Errorf("%s is there, and is %s", in.dir.pathOf(name), special(&st)))
	case there && isFile(&st) && g.spec.Update && sameTime(metaOf(&st), f.meta) && st.Size == f.meta.size:
		g.Progress.Bytes.Add(st.Size)
		g.Progress.Files.Add(1)
		return g.have(in, name, &st, f)
	case !there && !errors.Is(err, fs.ErrNotExist):
		return g.cannot(f.index, err)
	}
	if g.spec.Update {
		if err := g.change(madeOr(there), in, name, false); err != nil {
			return err
		}
		if g.spec.Dry {
			return g.write(frame{kind: kindHave, index: f.index})
		}
	}
	a := &arrival{dir: in.dir.keep(), name: name, index: f.index}
	g.coming[f.index] = a
	want := frame{kind: kindWant, index: f.index}
	if f.meta.size >= blockSize {
		if want.blocks, want.sum, err = a.left(f.meta.size); err != nil {
			delete(g.coming, f.index)
			a.close()
			return g.cannot(f.index, err)
		}
	}
	return g.write(want)
}
