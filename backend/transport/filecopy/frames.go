package filecopy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"berth/backend/transport/wire"
)

// What the sender says.
const (
	kindFolder  wire.Kind = 'D' // meta, name: what follows is in it, until kindUp
	kindUp      wire.Kind = 'U'
	kindFile    wire.Kind = 'F' // index, meta, name: it is there to be wanted
	kindLink    wire.Kind = 'L' // meta, name, target
	kindBegin   wire.Kind = 'B' // index, meta, blocks: a wanted file follows, from that block on
	kindData    wire.Kind = 'd' // bytes
	kindHole    wire.Kind = 'h' // number: so many zeros
	kindEnd     wire.Kind = 'e' // sum: of the whole file
	kindAbort   wire.Kind = 'a' // text: the file that was begun can't be sent to its end
	kindGone    wire.Kind = 'g' // index, text: a wanted file can't be sent
	kindSkipped wire.Kind = 's' // text: something of the source is not copied
	kindTotal   wire.Kind = 't' // number, index: how many bytes, and files, there are
	kindSent    wire.Kind = 'S' // all is told and sent; deletions may follow
	kindDelete  wire.Kind = 'X' // what, name: of what stands in a kindExtra
	kindDone    wire.Kind = 'Z'
)

// What the receiver says.
const (
	kindReady    wire.Kind = 'R' // place: where it puts what comes
	kindWant     wire.Kind = 'W' // index, blocks, sum: it has so many blocks, which have this sum
	kindHave     wire.Kind = 'H' // index: it has the file
	kindFailed   wire.Kind = 'f' // index (0: of no file), text
	kindChange   wire.Kind = 'c' // what, name: what an update changes, when it is decided
	kindExtra    wire.Kind = 'x' // what, name: it is there, and not in the source; what is in a folder comes before it
	kindListed   wire.Kind = 'l' // there is no other kindExtra
	kindFinished wire.Kind = 'z' // all is in its place
)

const (
	maxName = 255 // bytes; what every file system has at most
	maxLink = 4096
	maxText = 4096
	maxHole = 1 << 40 // bytes in one frame
	maxPath = 64 << 10
)

// meta is what is said of an entry beside its name.
type meta struct {
	mode uint32 // the permissions
	size int64
	sec  int64 // of the last change
	nsec uint32
}

// frame is one frame of either side, with the fields that its kind has.
type frame struct {
	kind   wire.Kind
	index  uint64
	meta   meta
	what   Change
	name   string // one element of a path; with a Change a path below the target
	target string
	blocks uint64
	sum    sum256
	number int64
	text   string
	data   []byte // of the payload: valid until the next frame is read
	place  place
}

// place says which folder something is, to whoever is on the same host. Its host is empty where that is not known.
type place struct {
	host     string
	dev, ino uint64
}

// payload appends the frame's payload to b.
func (f *frame) payload(b []byte) []byte {
	be := binary.BigEndian
	addMeta := func() {
		b = be.AppendUint32(b, f.meta.mode)
		b = be.AppendUint64(b, uint64(f.meta.size))
		b = be.AppendUint64(b, uint64(f.meta.sec))
		b = be.AppendUint32(b, f.meta.nsec)
	}
	switch f.kind {
	case kindFolder:
		addMeta()
		b = append(b, f.name...)
	case kindFile:
		b = be.AppendUint64(b, f.index)
		addMeta()
		b = append(b, f.name...)
	case kindLink:
		addMeta()
		b = be.AppendUint16(b, uint16(len(f.name)))
		b = append(b, f.name...)
		b = append(b, f.target...)
	case kindBegin:
		b = be.AppendUint64(b, f.index)
		addMeta()
		b = be.AppendUint64(b, f.blocks)
	case kindData:
		b = append(b, f.data...)
	case kindHole:
		b = be.AppendUint64(b, uint64(f.number))
	case kindEnd:
		b = append(b, f.sum[:]...)
	case kindAbort, kindSkipped:
		b = append(b, f.text...)
	case kindGone, kindFailed:
		b = be.AppendUint64(b, f.index)
		b = append(b, f.text...)
	case kindTotal:
		b = be.AppendUint64(b, uint64(f.number))
		b = be.AppendUint64(b, f.index)
	case kindWant:
		b = be.AppendUint64(b, f.index)
		b = be.AppendUint64(b, f.blocks)
		b = append(b, f.sum[:]...)
	case kindHave:
		b = be.AppendUint64(b, f.index)
	case kindChange, kindExtra, kindDelete:
		b = append(b, byte(f.what))
		b = append(b, f.name...)
	case kindReady:
		b = be.AppendUint64(b, f.place.dev)
		b = be.AppendUint64(b, f.place.ino)
		b = append(b, f.place.host...)
	}
	return b
}

// taken reads a payload from its front. The first thing that is missing or wrong is its error.
type taken struct {
	p   []byte
	err error
}

func (t *taken) bytes(n int) []byte {
	if t.err == nil && len(t.p) < n {
		t.err = errors.New("it is too short")
	}
	if t.err != nil {
		return make([]byte, n)
	}
	b := t.p[:n]
	t.p = t.p[n:]
	return b
}

func (t *taken) uint64() uint64 { return binary.BigEndian.Uint64(t.bytes(8)) }

// count takes a number that is not negative and at most limit.
func (t *taken) count(limit int64) int64 {
	n := int64(t.uint64())
	if t.err == nil && (n < 0 || n > limit) {
		t.err = fmt.Errorf("%d is out of range", n)
	}
	return n
}

func (t *taken) sum() (s sum256) {
	copy(s[:], t.bytes(len(s)))
	return s
}

func (t *taken) meta() meta {
	m := meta{mode: binary.BigEndian.Uint32(t.bytes(4)) & 0o777, size: t.count(1<<63 - 1), sec: int64(t.uint64()),
		nsec: binary.BigEndian.Uint32(t.bytes(4))}
	if t.err == nil && m.nsec >= 1e9 {
		t.err = fmt.Errorf("%d nanoseconds", m.nsec)
	}
	return m
}

// rest takes all that is left, at most limit bytes.
func (t *taken) rest(limit int) string {
	if t.err == nil && len(t.p) > limit {
		t.err = fmt.Errorf("%d bytes are too many", len(t.p))
	}
	if t.err != nil {
		return ""
	}
	s := string(t.p)
	t.p = nil
	return s
}

func (t *taken) name(s string) string {
	if t.err == nil {
		t.err = checkName(s)
	}
	return s
}

// checkName refuses what is not one element of a path.
func checkName(s string) error {
	if s == "" || s == "." || s == ".." || len(s) > maxName || strings.ContainsAny(s, "/\x00") {
		return fmt.Errorf("%.300q is no name of a file", s)
	}
	return nil
}

// parse reads a frame that came from the other side.
func parse(k wire.Kind, p []byte) (frame, error) {
	f := frame{kind: k}
	t := &taken{p: p}
	switch k {
	case kindFolder:
		f.meta = t.meta()
		f.name = t.name(t.rest(maxName))
	case kindFile:
		f.index = t.uint64()
		f.meta = t.meta()
		f.name = t.name(t.rest(maxName))
	case kindLink:
		f.meta = t.meta()
		f.name = t.name(string(t.bytes(int(binary.BigEndian.Uint16(t.bytes(2))))))
		f.target = t.rest(maxLink)
		if t.err == nil && (f.target == "" || strings.Contains(f.target, "\x00")) {
			t.err = fmt.Errorf("%.300q is no target of a link", f.target)
		}
	case kindBegin:
		f.index = t.uint64()
		f.meta = t.meta()
		f.blocks = uint64(t.count(f.meta.size / blockSize))
	case kindData:
		f.data, t.p = t.p, nil
	case kindHole:
		f.number = t.count(maxHole)
	case kindEnd:
		f.sum = t.sum()
	case kindAbort, kindSkipped:
		f.text = t.rest(maxText)
	case kindGone, kindFailed:
		f.index = t.uint64()
		f.text = t.rest(maxText)
	case kindTotal:
		f.number = t.count(1<<63 - 1)
		f.index = t.uint64()
	case kindWant:
		f.index = t.uint64()
		f.blocks = uint64(t.count(1<<63/blockSize - 1))
		f.sum = t.sum()
	case kindHave:
		f.index = t.uint64()
	case kindReady:
		f.place.dev, f.place.ino = t.uint64(), t.uint64()
		f.place.host = t.rest(maxName)
	case kindChange, kindExtra, kindDelete:
		f.what = Change(t.bytes(1)[0])
		f.name = t.rest(maxPath)
		for element := range strings.SplitSeq(f.name, "/") {
			t.name(element)
		}
	case kindUp, kindSent, kindListed, kindDone, kindFinished:
	default:
		return f, fmt.Errorf("the other side sent a frame of the unknown kind %q", k)
	}
	if t.err == nil && len(t.p) > 0 {
		t.err = errors.New("it is too long")
	}
	if t.err != nil {
		return f, fmt.Errorf("the other side sent what can't be right (a frame %q): %w", k, t.err)
	}
	return f, nil
}
