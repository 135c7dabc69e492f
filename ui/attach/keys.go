package attach

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// key is one piece of what a terminal sends: a key that was pressed, or something that is none.
type key struct {
	raw  []byte
	kind keyKind
	// char is what the key types, as a terminal without any keyboard protocol sends it; 0: none that matters here.
	char rune
}

type keyKind int

const (
	press    keyKind = iota
	noKey            // a release, a modifier alone, the mouse, the focus, an answer of the terminal
	pasteOn          // a paste begins
	pasteOff         // and ends
	part             // the beginning of a sequence
)

// nextKey splits the first piece off what a terminal sent.
func nextKey(b []byte) key {
	switch {
	case b[0] != 0x1b:
		return key{b[:1], press, rune(b[0])}
	case len(b) == 1:
		return key{b, part, 0}
	}
	switch b[1] {
	case '[':
		return csiKey(b)
	case 'O':
		return ss3Key(b)
	case ']', 'P', '_', '^', 'X': // a string, if it is whole; else these are the alt key and a letter
		if n := stringEnd(b); n > 0 {
			return key{b[:n], noKey, 0}
		}
	case 0x1b:
		return key{b[:1], press, 0x1b}
	}
	return key{b[:2], press, 0}
}

// stringEnd returns the length of a control string with its end, or 0.
func stringEnd(b []byte) int {
	for i := 2; i < len(b); i++ {
		switch {
		case b[i] == 7:
			return i + 1
		case b[i] == 0x1b && i+1 < len(b) && b[i+1] == '\\':
			return i + 2
		case b[i] < 0x20:
			return 0
		}
	}
	return 0
}

// ss3Key is a key of the keypad, or a cursor or function key.
func ss3Key(b []byte) key {
	switch {
	case len(b) < 3:
		return key{b, part, 0}
	case b[2] == 'M':
		return key{b[:3], press, '\r'}
	case b[2] == 'n':
		return key{b[:3], press, '.'}
	case b[2] < 0x20:
		return key{b[:2], press, 0}
	}
	return key{b[:3], press, 0}
}

func csiKey(b []byte) key {
	for i := 2; i < len(b); i++ {
		switch c := b[i]; {
		case c < 0x20 || c > 0x7e: // no sequence after all
			return key{b[:i], press, 0}
		case c == '[' && i == 2: // the Linux console's function keys: one more
			if len(b) == 3 {
				return key{b, part, 0}
			}
			return key{b[:4], press, 0}
		case c >= 0x40:
			return wholeCSI(b, i)
		}
	}
	return key{b, part, 0}
}

// wholeCSI is the sequence whose last byte is b[end].
func wholeCSI(b []byte, end int) key {
	k := key{raw: b[:end+1]}
	par, final := string(b[2:end]), b[end]
	switch {
	case par != "" && strings.IndexByte("<=>?", par[0]) >= 0: // the mouse, answers
		k.kind = noKey
		return k
	case par == "" && final == 'M': // the mouse of old: three bytes more
		if len(b) < end+4 {
			return key{b, part, 0}
		}
		return key{b[:end+4], noKey, 0}
	case par == "" && (final == 'I' || final == 'O'): // the focus
		k.kind = noKey
		return k
	case strings.IndexByte("Mcntxy", final) >= 0:
		k.kind = noKey
		return k
	}
	f := fields(par)
	switch {
	case final == '~' && par == "200":
		k.kind = pasteOn
	case final == '~' && par == "201":
		k.kind = pasteOff
	case final == '~' && at(f, 0, 0) == 27 && len(f) > 2: // modifyOtherKeys
		k.char = typed(f[2], at(f, 1, 0), 0)
	case final == 'u': // the kitty keyboard, and modifyOtherKeys in its other form
		code := at(f, 0, 0)
		if at(f, 1, 1) == 3 || code >= 57358 && code <= 57360 || code >= 57441 && code <= 57454 {
			k.kind = noKey // a release; a lock or a modifier alone
			return k
		}
		text := 0
		if len(f) > 2 && len(f[2]) == 1 {
			text = f[2][0]
		}
		k.char = typed(f[0], at(f, 1, 0), text)
	case final == '_': // win32-input-mode: key, scan code, character, down, modifiers, repeat
		if at(f, 3, 0) == 0 || at(f, 2, 0) == 0 {
			k.kind = noKey
		}
		k.char = rune(at(f, 2, 0))
	case at(f, 1, 1) == 3:
		k.kind = noKey
	}
	return k
}

// fields reads parameters, and what colons divide within them. What is no number is 0.
func fields(par string) [][]int {
	out := [][]int{}
	for _, p := range strings.Split(par, ";") {
		var sub []int
		for _, s := range strings.Split(p, ":") {
			n, _ := strconv.Atoi(s)
			sub = append(sub, n)
		}
		out = append(out, sub)
	}
	return out
}

func at(f [][]int, i, j int) int {
	if i >= len(f) || j >= len(f[i]) {
		return 0
	}
	return f[i][j]
}

// The modifiers of the keyboard protocols, less one; the locks change no key that matters here.
const (
	shift = 1
	ctrl  = 4
	locks = 64 | 128
)

// The keys of an American keyboard that shift changes, for protocols that report the key and not what it types.
const (
	plain   = "`1234567890-=[]\\;',./"
	shifted = "~!@#$%^&*()_+{}|:\"<>?"
)

// typed returns what a reported key types; code is its own code, that with shift, and that of the same key on an
// American keyboard.
func typed(code []int, mods, text int) rune {
	m := max(0, mods-1) &^ locks
	c := code[0]
	if c >= 0x80 && len(code) > 2 && code[2] > 0 && code[2] < 0x80 {
		code = []int{code[2]}
		c = code[0]
	}
	switch c {
	case 57414: // enter on the keypad
		c = '\r'
	case 57409: // its decimal point
		c = '.'
	}
	if m&shift != 0 {
		switch i := strings.IndexRune(plain, rune(c)); {
		case len(code) > 1 && code[1] > 0:
			c = code[1]
		case i >= 0:
			c = int(shifted[i])
		case c >= 'a' && c <= 'z':
			c -= 'a' - 'A'
		}
	}
	switch m &^ shift {
	case 0:
		if text > 0 {
			c = text
		}
		return rune(c)
	case ctrl:
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c >= '@' && c <= '_' {
			return rune(c - '@')
		}
	}
	return 0
}

// keysIn splits all that a terminal sent.
func keysIn(b []byte) []key {
	var out []key
	for len(b) > 0 {
		k := nextKey(b)
		out = append(out, k)
		b = b[len(k.raw):]
	}
	return out
}

// plainKeys is what the keys in b type, for who reads a line: without the marks of a paste and what is no key.
func plainKeys(b []byte) []byte {
	var out []byte
	for _, k := range keysIn(b) {
		switch {
		case k.kind == part && len(k.raw) == 1:
			out = append(out, 0x1b)
		case k.kind != press || k.char == 0:
		case k.raw[0] != 0x1b:
			out = append(out, k.raw...)
		case k.char < 0x80 || unicode.IsPrint(k.char):
			out = utf8.AppendRune(out, k.char)
		}
	}
	return out
}
