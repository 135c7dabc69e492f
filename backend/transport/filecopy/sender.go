package filecopy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"berth/backend/api"
)

// chunk is how many bytes are read and sent at once.
const chunk = 256 << 10

// Sender sends one file or folder.
type Sender struct {
	Common
	// Source is a path on this side. A link there is followed; links below it are sent as links.
	Source string
	// Skip says what is left out, by its path below the source. It may be nil.
	Skip func(path string, folder bool) bool
	// Count has all that is there counted beforehand, for whoever shows the progress.
	Count bool
	// Changed is told what an update changes. It may be nil.
	Changed func(c Change, path string)
	// Delete is given what an update finds in the target and not in the source, and returns what of it is removed, in the
	// same order. Where it is nil, the receiver is not asked for that.
	Delete func(extra []Entry) ([]Entry, error)
}

// Change is what an update does to something, as it is shown.
type Change byte

// The changes. FolderFlag is added where it is a folder.
const (
	Made       Change = '+'
	Replaced   Change = '~'
	Permitted  Change = 'm' // its permissions
	Removed    Change = '-'
	FolderFlag Change = 0x80
)

// Entry is something below the target of an update.
type Entry struct {
	Path   string
	Folder bool
}

// maxExtra is how many things an update may find in the target that are not in the source.
const maxExtra = 5_000_000

// Send sends the source over a stream and returns when the other side has all of it. It closes the stream, also when
// ctx ends.
func (s *Sender) Send(ctx context.Context, st *api.Stream) (Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { _ = st.Close() })()
	l := newLine(st, s.Common)
	src, err := openSource(s.Source)
	if err != nil {
		l.fail(ctx, err)
		return l.end(ctx, err)
	}
	defer src.close()
	g := &sending{line: l, spec: s, src: src, offered: map[uint64]*offer{}, slots: make(chan struct{}, window),
		wants: make(chan *offer, window), ready: make(chan struct{}), finished: make(chan struct{}),
		heard: make(chan struct{}), listed: make(chan struct{}), stopped: make(chan struct{})}
	return l.end(ctx, g.run(ctx))
}

// sending is one copy as its sender sees it: three goroutines. One walks and tells what there is, one sends the files
// that are wanted, one reads what the receiver says.
type sending struct {
	*line
	spec *Sender
	src  source

	mu      sync.Mutex
	offered map[uint64]*offer // by index, until they are in their places or can't be
	last    uint64            // index

	slots    chan struct{} // one element a file that is offered
	wants    chan *offer
	to       place         // where the receiver puts what comes
	ready    chan struct{} // closed when that is known
	said     atomic.Bool   // all there is
	extra    []Entry       // what the receiver has found
	unseen   []string      // below the source, by who tells: what could not be read, or is not copied
	listed   chan struct{} // closed when that is all
	finished chan struct{} // closed by the receiver's last word
	heard    chan struct{} // closed when nothing more is heard

	once    sync.Once
	err     error // why it was stopped
	stopped chan struct{}
}

// offer is a file that the receiver was told of.
type offer struct {
	index  uint64
	dir    *folder
	name   string
	size   int64
	blocks uint64 // that the receiver has
	sum    sum256 // of them
	wanted bool
	failed atomic.Bool // on the other side
}

func (g *sending) stop(err error) {
	g.once.Do(func() {
		g.err = err
		close(g.stopped)
	})
}

// stopBy stops for an error of who writes. Where the line broke, the receiver may have said why.
func (g *sending) stopBy(err error) {
	if errors.As(err, new(errBroke)) {
		select {
		case <-g.heard:
		case <-time.After(failWithin):
		}
	}
	g.stop(err)
}

func (g *sending) run(ctx context.Context) error {
	var reader, others sync.WaitGroup
	reader.Go(func() {
		defer close(g.heard)
		if err := g.listen(); err != nil {
			g.stop(err)
			_ = g.st.Conn.SetWriteDeadline(time.Unix(1, 0)) // ends a write that waits
		}
	})
	if g.spec.Count {
		others.Go(g.count)
	}
	others.Go(func() {
		if err := g.sendFiles(); err != nil {
			g.stopBy(err)
		}
	})
	if err := g.tell(); err != nil {
		g.stopBy(err)
	}
	select {
	case <-g.finished:
	case <-g.stopped:
	}
	g.stop(nil)
	others.Wait()
	if g.err != nil {
		g.fail(ctx, g.err)
	}
	_ = g.st.Close()
	reader.Wait()
	for _, o := range g.offered {
		o.dir.release()
	}
	return g.err
}

// tell walks through the source, and waits until all that was wanted is sent.
func (g *sending) tell() error {
	select {
	case <-g.ready:
	case <-g.stopped:
		return nil
	}
	if err := g.walkSource(); err != nil {
		return err
	}
	for range window { // all slots are free when no file is under way
		if err := g.slot(); err != nil {
			return err
		}
	}
	if g.spec.Delete != nil {
		if err := g.tellDeletions(); err != nil {
			return err
		}
	}
	g.said.Store(true)
	return g.say(frame{kind: kindDone})
}

// tellDeletions tells what is to be removed, of what the receiver has found.
func (g *sending) tellDeletions() error {
	if err := g.say(frame{kind: kindSent}); err != nil {
		return err
	}
	select {
	case <-g.listed:
	case <-g.stopped:
		return g.err
	}
	list, err := g.spec.Delete(g.seen(g.extra))
	if err != nil {
		return err
	}
	for _, e := range list {
		f := frame{kind: kindDelete, what: Removed, name: e.Path}
		if e.Folder {
			f.what |= FolderFlag
		}
		if err := g.write(f); err != nil {
			return err
		}
	}
	return nil
}

// seen is what of the extra things is not in the source for sure: neither what could not be read here, nor what is in
// it, nor the folders above it.
func (g *sending) seen(extra []Entry) []Entry {
	if len(g.unseen) == 0 {
		return extra
	}
	stays := map[string]bool{}
	for _, path := range g.unseen {
		for ; path != "" && path != "." && !stays[path]; path = filepath.Dir(path) {
			stays[path] = true
		}
	}
	whole := map[string]bool{}
	for _, path := range g.unseen {
		whole[path] = true
	}
	return slices.DeleteFunc(extra, func(e Entry) bool {
		if whole[""] || stays[e.Path] {
			return true
		}
		for dir := filepath.Dir(e.Path); dir != "."; dir = filepath.Dir(dir) {
			if whole[dir] {
				return true
			}
		}
		return false
	})
}

// slot waits until one more file may be under way.
func (g *sending) slot() error {
	select {
	case g.slots <- struct{}{}:
		return nil
	default:
	}
	if err := g.flush(); err != nil {
		return err
	}
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-g.stopped:
		return g.err
	}
}

// listen reads what the receiver says, until its last word.
func (g *sending) listen() error {
	known, listed := false, false
	for {
		f, err := g.read()
		if err != nil {
			return err
		}
		if known != (f.kind != kindReady) {
			return unexpected(f)
		}
		switch f.kind {
		case kindReady:
			known = true
			g.to = f.place
			close(g.ready)
		case kindWant:
			o := g.offer(f.index)
			if o == nil || o.wanted {
				return unexpected(f)
			}
			o.wanted, o.blocks, o.sum = true, f.blocks, f.sum
			g.wants <- o // has room for all that are offered
		case kindHave:
			o := g.offer(f.index)
			if o == nil || o.wanted {
				return unexpected(f)
			}
			g.Progress.Bytes.Add(o.size)
			g.over(o, true)
		case kindFailed:
			g.told(f.text)
			switch o := g.offer(f.index); {
			case o == nil: // it was sent
			case o.wanted:
				o.failed.Store(true)
			default:
				g.over(o, false)
			}
		case kindChange:
			if g.spec.Changed != nil {
				g.spec.Changed(f.what, f.name)
			}
		case kindExtra:
			if listed || g.spec.Delete == nil || len(g.extra) >= maxExtra {
				return unexpected(f)
			}
			g.extra = append(g.extra, Entry{Path: f.name, Folder: f.what&FolderFlag != 0})
		case kindListed:
			if listed || g.spec.Delete == nil {
				return unexpected(f)
			}
			listed = true
			close(g.listed)
		case kindFinished:
			if !g.said.Load() {
				return unexpected(f)
			}
			close(g.finished)
			return nil
		default:
			return unexpected(f)
		}
	}
}

func (g *sending) offer(index uint64) *offer {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.offered[index]
}

// over ends an offer.
func (g *sending) over(o *offer, there bool) {
	g.mu.Lock()
	delete(g.offered, o.index)
	g.mu.Unlock()
	o.dir.release()
	if there {
		g.Progress.Files.Add(1)
	}
	<-g.slots
}

// sendFiles sends the files that are wanted, in the order in which they are.
func (g *sending) sendFiles() error {
	buf := make([]byte, chunk)
	for {
		var o *offer
		select {
		case o = <-g.wants:
		default:
			if err := g.flush(); err != nil {
				return err
			}
			select {
			case o = <-g.wants:
			case <-g.stopped:
				return nil
			}
		}
		sent, err := g.sendFile(o, buf)
		if err != nil {
			return err
		}
		g.over(o, sent)
	}
}

// localError is why a file can't be sent. The rest can.
type localError struct{ error }

// sendFile sends a file. Its error is one of the line.
func (g *sending) sendFile(o *offer, buf []byte) (sent bool, err error) {
	f, m, err := openFile(o.dir, o.name)
	if err != nil {
		g.problem(err.Error())
		return false, g.write(frame{kind: kindGone, index: o.index, text: text(err)})
	}
	defer f.Close()
	s, from, err := goOn(f, m, o, buf)
	if err == nil {
		if err := g.write(frame{kind: kindBegin, index: o.index, meta: m, blocks: uint64(from / blockSize)}); err != nil {
			return false, err
		}
		g.Progress.Bytes.Add(from)
		err = g.sendBytes(o, f, m, from, s, buf)
		if err == nil {
			return true, g.write(frame{kind: kindEnd, sum: s.sum()})
		}
	}
	var local localError
	if !errors.As(err, &local) {
		return false, err
	}
	kind := kindAbort
	if from < 0 { // nothing was begun
		kind = kindGone
	}
	if local.error == errElsewhere { // it is that very one; it was told already
		return false, g.write(frame{kind: kind, index: o.index})
	}
	g.problem(local.Error())
	return false, g.write(frame{kind: kind, index: o.index, text: text(local.error)})
}

// errElsewhere is the reason to end a file that the receiver can't take.
var errElsewhere = errors.New("the receiver can't take it")

// goOn finds from where on a file is sent: from where the receiver has it, if that is what the file begins with. A
// negative offset comes with an error.
func goOn(f *os.File, m meta, o *offer, buf []byte) (s *summer, from int64, err error) {
	s = newSummer()
	n := int64(o.blocks) * blockSize
	if n == 0 || n > m.size {
		return s, 0, nil
	}
	if err := beginning(f, n, s, buf); err != nil {
		return nil, -1, localError{changedOr(err, f)}
	}
	if s.sum() != o.sum {
		return newSummer(), 0, nil
	}
	return s, n, nil
}

func (g *sending) sendBytes(o *offer, f *os.File, m meta, from int64, s *summer, buf []byte) error {
	err := extents(f, from, m.size, func(off, n int64, hole bool) error {
		if hole {
			s.zeros(n)
			for n > 0 {
				part := min(n, maxHole)
				if err := g.write(frame{kind: kindHole, number: part}); err != nil {
					return err
				}
				n -= part
				g.Progress.Bytes.Add(part)
			}
			return nil
		}
		return eachChunk(f, off, n, buf, func(p []byte) error {
			if o.failed.Load() {
				return localError{errElsewhere}
			}
			g.Active()
			s.add(p)
			g.Progress.Bytes.Add(int64(len(p)))
			return g.write(frame{kind: kindData, data: p})
		})
	})
	if err != nil {
		if errors.As(err, new(errBroke)) || errors.As(err, new(localError)) {
			return err
		}
		return localError{changedOr(err, f)}
	}
	if n, _ := f.ReadAt(buf[:1], m.size); n > 0 && m.size == 0 {
		return localError{fmt.Errorf("%s has more in it than its size says, as files in /proc have: take what cat prints of it",
			f.Name())}
	} else if n > 0 {
		return localError{changedOr(io.ErrUnexpectedEOF, f)}
	}
	st, err := statOf(f)
	if err != nil {
		return localError{err}
	}
	if now := metaOf(&st); now.size != m.size || now.sec != m.sec || now.nsec != m.nsec {
		return localError{changedOr(io.ErrUnexpectedEOF, f)}
	}
	return nil
}

// changedOr is the error of a file that could not be read: it may have become shorter.
func changedOr(err error, f *os.File) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fmt.Errorf("%s has changed while it was copied; what was there before is untouched", f.Name())
	}
	return err
}

// eachChunk reads n bytes of a file from an offset on.
func eachChunk(f *os.File, off, n int64, buf []byte, each func(p []byte) error) error {
	for n > 0 {
		p := buf[:min(n, int64(len(buf)))]
		k, err := f.ReadAt(p, off)
		if k == 0 && err != nil {
			return err
		}
		if err := each(p[:k]); err != nil {
			return err
		}
		off += int64(k)
		n -= int64(k)
	}
	return nil
}

// settled is how old a change must be for the next one to have another time, on the clock of file systems.
const settled = 20 * time.Millisecond

// openFile opens a file that is to be sent. Later changes of it can be seen by its time.
func openFile(dir *folder, name string) (*os.File, meta, error) {
	f, err := dir.open(name, unix.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, meta{}, fmt.Errorf("%s was removed before it was copied", dir.pathOf(name))
	}
	if err != nil {
		return nil, meta{}, err
	}
	for try := 0; ; try++ {
		st, err := statOf(f)
		if err == nil && !isFile(&st) {
			err = fmt.Errorf("%s is no file any more", f.Name())
		}
		if err != nil {
			_ = f.Close()
			return nil, meta{}, err
		}
		m := metaOf(&st)
		age := time.Since(time.Unix(m.sec, int64(m.nsec)))
		if age < 0 || age >= settled || try == 5 { // one that is always written to is seen to change
			return f, m, nil
		}
		time.Sleep(settled - age)
	}
}
