package attach

import (
	"fmt"
	"io"
	"strings"

	"berth/backend/base/ttymodes"
)

// tracked passes a remote program's output on and remembers what it switched on in the user's
// terminal, so that it can be switched off when the session ends in the middle of it.
type tracked struct {
	w     io.Writer
	modes ttymodes.Modes
	mid   bool // the cursor was left in the middle of a line
}

// Write implements io.Writer.
func (t *tracked) Write(p []byte) (int, error) {
	t.modes.Scan(p)
	if n := len(p); n > 0 {
		t.mid = p[n-1] != '\n'
	}
	return t.w.Write(p)
}

// page begins a clean page: what is sent again was written for one, and lands in the right places only
// there. What stood on the screen is scrolled up, so that it can still be looked at.
func (t *tracked) page(rows int) {
	t.mid = false
	t.restore()
	t.modes = ttymodes.Modes{}
	_, _ = fmt.Fprintf(t.w, "\x1b[%d;1H%s\x1b[H", rows, strings.Repeat("\n", rows))
}

// restore switches off what was left on.
func (t *tracked) restore() {
	b := t.modes.Off()
	if t.mid {
		b = append(b, "\r\n"...)
	}
	_, _ = t.w.Write(b) // a terminal that is gone needs no restoring
}
