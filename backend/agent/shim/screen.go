package shim

import "bytes"

// Screen remembers what a terminal shows, for who attaches later. Today it is the tail of the
// output; an emulator that keeps the screen itself fits behind the same two methods.
type Screen interface {
	// Write takes output in the order in which the terminal received it.
	Write(p []byte)
	// Snapshot returns bytes that bring a fresh terminal of any size to what is shown now. They ask
	// the terminal nothing, so that it types no answer into the shell.
	Snapshot() []byte
}

// ringSize is how much output a Ring keeps, in bytes.
const ringSize = 256 << 10

// Ring is a Screen that replays the last ringSize bytes of output.
type Ring struct {
	buf     []byte // grows to ringSize, then is written around
	pos     int    // where the next byte goes once full
	wrapped bool
}

// Write implements Screen.
func (r *Ring) Write(p []byte) {
	if len(p) > ringSize {
		p = p[len(p)-ringSize:]
		r.wrapped = true
	}
	if room := ringSize - len(r.buf); room > 0 {
		n := min(room, len(p))
		r.buf = append(r.buf, p[:n]...)
		p = p[n:]
	}
	for len(p) > 0 {
		r.wrapped = true
		n := copy(r.buf[r.pos:], p)
		r.pos = (r.pos + n) % ringSize
		p = p[n:]
	}
}

// Snapshot implements Screen. Output that begins in the middle is cut at the first line's end: a
// half escape sequence would show as rubbish.
func (r *Ring) Snapshot() []byte {
	out := make([]byte, 0, len(r.buf)+16)
	out = append(out, r.buf[r.pos:]...)
	out = append(out, r.buf[:r.pos]...)
	if r.wrapped {
		if i := bytes.IndexByte(out, '\n'); i >= 0 {
			out = out[i+1:]
		}
	}
	return dropQueries(out)
}
