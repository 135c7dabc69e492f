package ttymodes

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
)

// Clean ends whatever sequence or string a terminal is in the middle of, and undoes what would keep another program's
// output from being seen in the right place: the character set, the margins, and modes that move or hide text. The
// cursor stays where it is. ST comes twice: some terminals take an escape within a string for a part of it.
const Clean = "\x1b\\\x1b\\\x0f\x1b(B\x1b)B\x1b[?69l\x1b[?5l\x1b[?7h\x1b[4l\x1b[20l\x1b[?2026l\x1b[0m" + NoMargins

// NoMargins puts the margins where the terminal's edges are, as a terminal that is resized does. The cursor stays.
const NoMargins = "\x1b7\x1b[r\x1b8"

// Modes is the state of a terminal that a program has written to. The zero value is a fresh terminal.
type Modes struct {
	state  int
	kind   byte          // of the string being read
	par    []byte        // parameters of the sequence being read
	on     map[int]bool  // private modes that are not as in a fresh terminal
	set    map[int]bool  // the others
	kitty  []string      // keyboard flags pushed
	flags  string        // keyboard flags set
	other  string        // modifyOtherKeys
	keypad bool          // application keypad
	shape  string        // of the cursor
	sets   map[byte]byte // character sets, by the byte that chooses the place
	out    bool          // shifted to the second one
	latin  bool          // not UTF-8
	marg   string        // margins
}

// usual lists the private modes that matter, and what they are in a fresh terminal.
var usual = map[int]bool{
	1: false, 5: false, 6: false, 7: true, 9: false, 25: true, 47: false, 66: false, 69: false, 1000: false, 1001: false,
	1002: false, 1003: false, 1004: false, 1005: false, 1006: false, 1007: false, 1015: false, 1016: false, 1047: false,
	1049: false, 2004: false, 2026: false, 2031: false, 2048: false, 9001: false,
}

// screens are the modes that choose the screen: the others belong to what is seen then.
var screens = []int{47, 1047, 1049}

// The states of the parser.
const (
	ground = iota
	escape
	csi
	charset
	skip   // a sequence with an intermediate byte that does not matter
	str    // OSC, DCS, APC, PM, SOS: until ST, or BEL in an OSC
	strEsc // ESC within
)

const (
	// maxPar bounds the parameters that are kept; longer ones belong to nothing that matters here.
	maxPar = 64
	// maxKitty bounds the keyboard flags that are kept, as terminals do.
	maxKitty = 16
)

// Clone returns a copy.
func (m *Modes) Clone() *Modes {
	c := *m
	c.par, c.kitty = slices.Clone(m.par), slices.Clone(m.kitty)
	c.on, c.set, c.sets = maps.Clone(m.on), maps.Clone(m.set), maps.Clone(m.sets)
	return &c
}

// Alternate reports whether the alternate screen is shown.
func (m *Modes) Alternate() bool {
	return slices.ContainsFunc(screens, func(n int) bool { return m.on[n] })
}

// Scan follows output.
func (m *Modes) Scan(p []byte) {
	for len(p) > 0 {
		if m.state != ground {
			if m.state == csi {
				n := 0
				for n < len(p) && p[n]-0x20 < 0x20 { // parameters: logs in colours are full of them
					n++
				}
				m.par = append(m.par, p[:min(n, maxPar-len(m.par))]...)
				if p = p[n:]; len(p) == 0 {
					return
				}
			}
			m.step(p[0])
			p = p[1:]
			continue
		}
		// The usual case: look for the next escape.
		i := bytes.IndexByte(p, 0x1b)
		text := p
		if i >= 0 {
			text = p[:i]
		}
		if bytes.IndexByte(text, 0x0e) >= 0 || m.out { // else there is nothing to shift in
			if so, si := bytes.LastIndexByte(text, 0x0e), bytes.LastIndexByte(text, 0x0f); so != si {
				m.out = so > si
			}
		}
		if i < 0 {
			return
		}
		p = p[i+1:]
		m.state = escape
	}
}

// Finish follows output to the end of the sequence that is under way, and returns how many bytes that were.
func (m *Modes) Finish(p []byte) int {
	for n, c := range p {
		if m.state == ground {
			return n
		}
		m.step(c)
	}
	return len(p)
}

func (m *Modes) step(c byte) {
	switch m.state {
	case escape:
		m.state = ground
		switch c {
		case '[':
			m.state, m.par = csi, m.par[:0]
		case ']', 'P', '_', '^', 'X':
			m.state, m.kind = str, c
		case '(', ')', '*', '+':
			m.state, m.kind = charset, c
		case '=', '>':
			m.keypad = c == '='
		case 'c': // reset: all is as in a fresh terminal
			*m = Modes{}
		case 0x1b:
			m.state = escape
		default:
			if c >= 0x20 && c < 0x30 {
				m.state, m.kind = skip, c
			}
		}
	case charset:
		m.state = ground
		switch {
		case c == 0x1b:
			m.state = escape
		case c >= 0x20 && c < 0x30: // one of two bytes: hardly anybody has them
			m.state = skip
		case c == 'B':
			delete(m.sets, m.kind)
		case c >= 0x30 && c < 0x7f:
			if m.sets == nil {
				m.sets = map[byte]byte{}
			}
			m.sets[m.kind] = c
		}
	case skip:
		if m.state = ground; c == 0x1b {
			m.state = escape
		} else if m.kind == '%' {
			m.latin = c == '@'
		}
	case csi:
		switch {
		case c == 0x1b:
			m.state = escape
		case c == 0x18 || c == 0x1a:
			m.state = ground
		case c >= 0x40 && c <= 0x7e:
			m.state = ground
			m.control(c)
		case c >= 0x20 && len(m.par) < maxPar:
			m.par = append(m.par, c)
		}
	case str:
		switch {
		case c == 7 && m.kind == ']', c == 0x18, c == 0x1a:
			m.state = ground
		case c == 0x1b:
			m.state = strEsc
		}
	case strEsc:
		m.state = ground
		if c != '\\' { // an escape ends the string and begins anew
			m.state = escape
			m.step(c)
		}
	}
}

// control handles a whole CSI sequence.
func (m *Modes) control(final byte) {
	par := m.par
	private := len(par) > 0 && par[0] >= 0x3c && par[0] <= 0x3f
	switch final {
	case 'r':
		if !private {
			m.marg = string(par)
		}
	case 'h', 'l':
		switch {
		case !private:
			for _, n := range numbers(par) {
				m.set = mark(m.set, n, final == 'h' && (n == 4 || n == 20))
			}
		case par[0] == '?':
			for _, n := range numbers(par[1:]) {
				if was, ok := usual[n]; ok {
					m.on = mark(m.on, n, (final == 'h') != was)
				}
			}
		}
	case 'p':
		if string(par) == "!" { // DECSTR
			for _, n := range []int{1, 6, 7, 25, 66, 69} {
				delete(m.on, n)
			}
			m.set, m.sets, m.out, m.marg, m.keypad = nil, nil, false, "", false
		}
	case 'u':
		m.keyboard(par)
	case 'm':
		if private && par[0] == '>' {
			if m.other = string(par[1:]); m.other == "4" || bytes.HasSuffix(par, []byte(";0")) {
				m.other = ""
			}
		}
	case 'q':
		if n := len(par); n > 0 && par[n-1] == ' ' {
			if m.shape = string(par[:n-1]); m.shape == "0" {
				m.shape = ""
			}
		}
	}
}

// keyboard handles the kitty keyboard's sequences.
func (m *Modes) keyboard(par []byte) {
	if len(par) == 0 {
		return
	}
	rest := string(par[1:])
	switch par[0] {
	case '>':
		if len(m.kitty) < maxKitty {
			m.kitty = append(m.kitty, rest)
		}
	case '<':
		n, _ := strconv.Atoi(rest)
		m.kitty = m.kitty[:max(0, len(m.kitty)-max(1, n))]
	case '=':
		if m.flags = rest; rest == "" || rest == "0" || rest == "0;1" {
			m.flags = ""
		}
	}
}

func mark(set map[int]bool, n int, on bool) map[int]bool {
	if !on {
		delete(set, n)
		return set
	}
	if set == nil {
		set = map[int]bool{}
	}
	set[n] = true
	return set
}

func numbers(par []byte) []int {
	var out []int
	for _, f := range bytes.Split(par, []byte{';'}) {
		if n, err := strconv.Atoi(string(f)); err == nil {
			out = append(out, n)
		}
	}
	return out
}

// switches returns what sets private modes as they are now, or as they were in a fresh terminal.
func (m *Modes) switches(now bool) (screen, others []byte) {
	for _, n := range slices.Sorted(maps.Keys(m.on)) {
		final := byte('l')
		if usual[n] != now {
			final = 'h'
		}
		s := append(strconv.AppendInt([]byte("\x1b[?"), int64(n), 10), final)
		if slices.Contains(screens, n) {
			screen = append(screen, s...)
		} else {
			others = append(others, s...)
		}
	}
	return screen, others
}

// Off returns what makes the terminal usual again, whatever it is in the middle of. The cursor is shown, and stays
// where it is unless the screen changes.
func (m *Modes) Off() []byte {
	var b []byte
	if m.state != ground {
		b = append(b, 0x18) // CAN gives it up where ST does not
	}
	b = append(b, Clean...)
	if m.latin {
		b = append(b, "\x1b%G"...)
	}
	for _, g := range slices.Sorted(maps.Keys(m.sets)) {
		b = append(b, 0x1b, g, 'B')
	}
	if len(m.kitty) > 0 {
		b = append(b, "\x1b[<"+strconv.Itoa(len(m.kitty))+"u"...)
	}
	if m.flags != "" || len(m.kitty) > 0 {
		b = append(b, "\x1b[=0u"...)
	}
	if m.other != "" {
		b = append(b, "\x1b[>4;0m"...)
	}
	if m.keypad {
		b = append(b, "\x1b>"...)
	}
	if m.shape != "" {
		b = append(b, "\x1b[0 q"...)
	}
	screen, others := m.switches(false)
	b = append(b, others...)
	b = append(b, "\x1b[?25h"...)
	return append(b, screen...)
}

// On returns what brings a fresh terminal to these modes. It asks the terminal nothing.
func (m *Modes) On() []byte {
	screen, others := m.switches(true)
	b := screen
	if len(b) > 0 {
		b = append(b, "\x1b[2J\x1b[H"...)
	}
	if m.latin {
		b = append(b, "\x1b%@"...)
	}
	if m.marg != "" {
		b = append(b, "\x1b["+m.marg+"r"...)
	}
	for _, g := range slices.Sorted(maps.Keys(m.sets)) {
		b = append(b, 0x1b, g, m.sets[g])
	}
	if m.out {
		b = append(b, 0x0e)
	}
	for _, n := range slices.Sorted(maps.Keys(m.set)) {
		b = append(strconv.AppendInt(append(b, "\x1b["...), int64(n), 10), 'h')
	}
	if m.keypad {
		b = append(b, "\x1b="...)
	}
	if m.shape != "" {
		b = append(b, "\x1b["+m.shape+" q"...)
	}
	if m.other != "" {
		b = append(b, "\x1b[>"+m.other+"m"...)
	}
	for _, k := range m.kitty {
		b = append(b, "\x1b[>"+k+"u"...)
	}
	if m.flags != "" {
		b = append(b, "\x1b[="+m.flags+"u"...)
	}
	return append(b, others...)
}
