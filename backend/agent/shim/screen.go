package shim

import (
	"bytes"

	"berth/backend/base/ttymodes"
)

// Screen remembers what a terminal shows, for who attaches later. Today it is the tail of the
// output and the modes from before it; an emulator that keeps the screen itself fits behind the same methods.
type Screen interface {
	// Write takes output in the order in which the terminal received it.
	Write(p []byte)
	// Resized is told when the terminal got another size.
	Resized()
	// Snapshot returns bytes that bring a fresh terminal of any size to what is shown now. They ask
	// the terminal nothing, so that it types no answer into the shell.
	Snapshot() []byte
}

// ringSize is how much output a Ring keeps, in bytes.
const ringSize = 256 << 10

// Ring is a Screen that replays the last ringSize bytes of output, in the modes that came before them.
type Ring struct {
	buf     []byte // grows to ringSize, then is written around
	pos     int    // where the next byte goes once full
	wrapped bool
	before  ttymodes.Modes // of the output that is not kept
}

// Write implements Screen.
func (r *Ring) Write(p []byte) {
	if n := len(p) - ringSize; n > 0 {
		r.before.Scan(r.buf[r.pos:])
		r.before.Scan(r.buf[:r.pos])
		r.before.Scan(p[:n])
		p = p[n:]
		r.buf, r.pos, r.wrapped = r.buf[:0], 0, true
	}
	if room := ringSize - len(r.buf); room > 0 {
		n := min(room, len(p))
		r.buf = append(r.buf, p[:n]...)
		p = p[n:]
	}
	for len(p) > 0 {
		r.wrapped = true
		n := min(len(p), ringSize-r.pos)
		r.before.Scan(r.buf[r.pos : r.pos+n])
		copy(r.buf[r.pos:], p[:n])
		r.pos = (r.pos + n) % ringSize
		p = p[n:]
	}
}

// Resized implements Screen. A terminal that is resized forgets its margins; one that output is sent to again was not,
// and must forget them where they were forgotten.
func (r *Ring) Resized() { r.Write([]byte(ttymodes.NoMargins)) }

// Snapshot implements Screen. Output that begins in the middle is cut: at the first line's end, or, where a program
// draws the whole screen and may end no line, where a sequence has ended.
func (r *Ring) Snapshot() []byte {
	out := make([]byte, 0, len(r.buf)+16)
	out = append(out, r.buf[r.pos:]...)
	out = append(out, r.buf[:r.pos]...)
	if !r.wrapped {
		return dropQueries(out)
	}
	now := r.before.Clone()
	n := now.Finish(out)
	for n < len(out) && out[n]&0xc0 == 0x80 { // in the middle of a character
		n++
	}
	out = out[n:]
	if i := bytes.IndexByte(out, '\n'); i >= 0 && !now.Alternate() {
		now.Scan(out[:i+1])
		out = out[i+1:]
	}
	return append(now.On(), dropQueries(out)...)
}
