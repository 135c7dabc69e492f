package attach

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// tracked passes a remote program's output on and remembers what it switched on in the user's
// terminal, so that it can be switched off when the session ends in the middle of it.
type tracked struct {
	w     io.Writer
	state int
	par   []byte       // parameters of the sequence being read
	on    map[int]bool // private modes that are not as they should be
	kitty int          // keyboard flags pushed
	other bool         // modifyOtherKeys
	keypd bool         // application keypad
	shape bool         // cursor shape
	chars bool         // another character set
	marg  bool         // margins
	mid   bool         // the cursor was left in the middle of a line
}

// wanted lists the private modes that matter and what they should be afterwards.
var wanted = map[int]bool{
	1: false, 5: false, 6: false, 7: true, 9: false, 25: true, 47: false, 66: false, 1000: false, 1001: false, 1002: false,
	1003: false,
	1004: false, 1005: false, 1006: false, 1015: false, 1016: false, 1047: false, 1049: false, 2004: false, 2026: false,
	2031: false, 2048: false,
}

// The states of the little parser.
const (
	ground = iota
	escape
	csi
	charset
	str    // OSC, DCS, APC, PM, SOS: until ST or BEL
	strEsc // ESC within
)

// maxPar bounds the parameters that are kept; longer ones belong to nothing that matters here.
const maxPar = 64

// Write implements io.Writer.
func (t *tracked) Write(p []byte) (int, error) {
	t.scan(p)
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
	*t = tracked{w: t.w}
	_, _ = fmt.Fprintf(t.w, "\x1b[%d;1H%s\x1b[H", rows, strings.Repeat("\n", rows))
}

func (t *tracked) scan(p []byte) {
	for len(p) > 0 {
		if t.state == ground { // the usual case: look for the next escape
			i := bytes.IndexByte(p, 0x1b)
			if s := bytes.IndexByte(p[:max(i, 0)], 0x0e); s >= 0 || i < 0 && bytes.IndexByte(p, 0x0e) >= 0 {
				t.chars = true
			}
			if i < 0 {
				return
			}
			p = p[i+1:]
			t.state = escape
			continue
		}
		t.step(p[0])
		p = p[1:]
	}
}

func (t *tracked) step(c byte) {
	switch t.state {
	case escape:
		t.state = ground
		switch c {
		case '[':
			t.state, t.par = csi, t.par[:0]
		case ']', 'P', '_', '^', 'X':
			t.state = str
		case '(', ')', '*', '+':
			t.state, t.chars = charset, true
		case '=':
			t.keypd = true
		case '>':
			t.keypd = false
		case 'c': // reset: all is as it should be
			w := t.w
			*t = tracked{w: w}
		case 0x1b:
			t.state = escape
		}
	case charset:
		t.state = ground
	case csi:
		switch {
		case c == 0x1b:
			t.state = escape
		case c == 0x18 || c == 0x1a:
			t.state = ground
		case c >= 0x40 && c <= 0x7e:
			t.state = ground
			t.control(c)
		case c >= 0x20 && len(t.par) < maxPar:
			t.par = append(t.par, c)
		}
	case str:
		switch c {
		case 7, 0x18, 0x1a:
			t.state = ground
		case 0x1b:
			t.state = strEsc
		}
	case strEsc:
		t.state = ground
		if c != '\\' { // an escape ends the string and begins anew
			t.state = escape
			t.step(c)
		}
	}
}

// control handles a whole CSI sequence.
func (t *tracked) control(final byte) {
	if len(t.par) == 0 {
		return
	}
	switch final {
	case 'r':
		t.marg = t.par[0] != '?'
	case 'h', 'l':
		if t.par[0] != '?' {
			return
		}
		for _, f := range bytes.Split(t.par[1:], []byte{';'}) {
			n, err := strconv.Atoi(string(f))
			if err != nil {
				continue
			}
			if want, ok := wanted[n]; ok {
				if t.on == nil {
					t.on = map[int]bool{}
				}
				if (final == 'h') == want {
					delete(t.on, n)
				} else {
					t.on[n] = true
				}
			}
		}
	case 'u':
		switch n, _ := strconv.Atoi(string(t.par[1:])); t.par[0] {
		case '>':
			t.kitty = min(t.kitty+1, 64)
		case '<':
			t.kitty = max(0, t.kitty-max(1, n))
		case '=':
			t.kitty = max(t.kitty, 1)
		}
	case 'm':
		if t.par[0] == '>' {
			t.other = !bytes.HasSuffix(t.par, []byte(";0")) && !bytes.Equal(t.par, []byte(">4"))
		}
	case 'q':
		t.shape = t.shape || t.par[len(t.par)-1] == ' '
	}
}

// restore switches off what was left on.
func (t *tracked) restore() {
	var b []byte
	if t.state == str || t.state == strEsc || t.state == csi || t.state == escape {
		b = append(b, "\x18"...) // CAN: give up the sequence that was cut off
		if t.state == str || t.state == strEsc {
			b = append(b, "\x1b\\"...)
		}
	}
	if t.kitty > 0 {
		b = append(b, "\x1b[<"+strconv.Itoa(t.kitty)+"u\x1b[=0u"...)
	}
	if t.other {
		b = append(b, "\x1b[>4;0m"...)
	}
	if t.keypd {
		b = append(b, "\x1b>"...)
	}
	if t.shape {
		b = append(b, "\x1b[0 q"...)
	}
	if t.marg {
		b = append(b, "\x1b7\x1b[r\x1b8"...)
	}
	if t.chars {
		b = append(b, "\x0f\x1b(B"...)
	}
	// The alternate screen goes last: the other modes belong to what is seen now.
	var last []byte
	for n := range t.on {
		s := "\x1b[?" + strconv.Itoa(n)
		if wanted[n] {
			s += "h"
		} else {
			s += "l"
		}
		if n == 47 || n == 1047 || n == 1049 {
			last = append(last, s...)
		} else {
			b = append(b, s...)
		}
	}
	b = append(b, "\x1b[0m\x1b[?25h"...)
	b = append(b, last...)
	if t.mid {
		b = append(b, "\r\n"...)
	}
	_, _ = t.w.Write(b) // a terminal that is gone needs no restoring
}
