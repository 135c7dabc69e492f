package attach

import (
	"fmt"
	"strings"
	"time"
)

// escapes finds the detach keys among what is typed: "~." and "~?" at the beginning of a line, as in
// ssh, and a prefix key with a letter, which also works where a nested ssh takes the first. They are known under every
// keyboard protocol. What is pasted is data: an escape counts only where it was typed.
type escapes struct {
	prefix, key byte // as ctrl-] and d
	name        string

	lineStart bool   // the last key ended a line
	pending   rune   // ~ or the prefix, which was typed and is held back; 0: none
	held      []byte // it, and what came after it that is no key
	leaked    bool   // its first part was passed on already
	begun     []byte // the beginning of a sequence, which was passed on already
	paste     bool   // within a bracketed paste
	big       bool   // the last read was so large that it may go on in the next
	last      time.Time
	eaten     int // bytes of escapes that were not passed on
}

const (
	// bigRead is from how many bytes on a read is surely not typed, and may have been cut off from the next.
	bigRead = 128
	// together is how close the parts of one sequence, or of one paste, come after each other.
	together = 100 * time.Millisecond
	// pasteLimit is for how long a paste may say nothing. One whose end is lost must not lock the user in.
	pasteLimit = 2 * time.Second
	// maxHeld bounds what is held back.
	maxHeld = 1 << 10
)

type escAction int

const (
	escNone escAction = iota
	escLeave
	escHelp
)

// parseEscape reads a second detach key: "ctrl-] d". Empty is that one.
func parseEscape(s string) (*escapes, error) {
	if s == "" {
		s = "ctrl-] d"
	}
	e := &escapes{lineStart: true, name: s}
	f := strings.Fields(s)
	if len(f) == 2 && len(f[1]) == 1 && f[1][0] > ' ' && f[1][0] < 0x7f {
		if c, ok := strings.CutPrefix(strings.ToLower(f[0]), "ctrl-"); ok && len(c) == 1 {
			b := c[0]
			if b >= 'a' && b <= 'z' {
				b -= 'a' - 'A'
			}
			if b > '@' && b <= '_' {
				e.prefix, e.key = b-'@', f[1][0]
				return e, nil
			}
		}
	}
	return nil, fmt.Errorf("the detach key %q is not of the form \"ctrl-] d\"", s)
}

// filter takes one read of the terminal, at a time. It returns what is to be passed on, and what was asked for. After
// escLeave the rest is dropped.
func (e *escapes) filter(b []byte, now time.Time) (out []byte, act escAction) {
	if len(b) == 0 {
		return nil, escNone
	}
	pause := now.Sub(e.last)
	e.last = now
	if e.paste && pause > pasteLimit {
		e.paste = false
	}
	if pause > together {
		e.begun, e.big = nil, false
	}
	sent := len(e.begun) // of all: it was passed on before
	all := append(e.begun, b...)
	e.begun = nil
	keys := keysIn(all)
	byHand := !e.big && e.byHand(keys)
	for _, k := range keys {
		raw := k.raw[min(sent, len(k.raw)):]
		sent -= len(k.raw) - len(raw)
		switch {
		case k.kind == part:
			if len(k.raw) <= maxHeld {
				e.begun = append([]byte(nil), k.raw...)
			}
			e.flush(&out) // it goes now: it may be the escape key
		case k.kind == pasteOn || k.kind == pasteOff:
			e.flush(&out)
			e.paste = k.kind == pasteOn
		case k.kind == noKey && e.pending != 0 && !e.paste:
			if e.held = append(e.held, raw...); len(e.held) > maxHeld {
				e.flush(&out)
			}
			continue
		case k.kind == press:
			taken, what := e.press(k, raw, byHand && !e.paste, &out)
			if what == escLeave {
				return out, what
			}
			if what != escNone {
				act = what
			}
			if taken {
				continue
			}
		}
		out = append(out, raw...)
	}
	e.big = len(b) >= bigRead && keys[len(keys)-1].kind != pasteOff
	return out, act
}

// press takes a key that was pressed. It reports whether the key was taken: held back, or part of an escape.
func (e *escapes) press(k key, raw []byte, byHand bool, out *[]byte) (taken bool, act escAction) {
	if e.pending != 0 && byHand {
		switch p := e.pending; {
		case p == '~' && k.char == '.', p != '~' && k.char == rune(e.key):
			e.eat(out, raw)
			return true, escLeave
		case k.char == '?':
			e.eat(out, raw)
			e.lineStart = p == '~'
			return true, escHelp
		case k.char == p: // twice: once for the other side
			e.flush(out)
			e.eaten += len(raw)
			return true, escNone
		}
	}
	e.flush(out)
	if byHand && (k.char == rune(e.prefix) || k.char == '~' && e.lineStart) {
		e.pending, e.held, e.leaked = k.char, append([]byte(nil), raw...), len(raw) < len(k.raw)
		return true, escNone
	}
	e.lineStart = k.char == '\r' || k.char == '\n'
	return false, escNone
}

// eat keeps an escape from the other side, with its last key. Where its first was passed on in part, the rest follows:
// half a sequence would take what is typed next with it.
func (e *escapes) eat(out *[]byte, last []byte) {
	if e.eaten += len(last); e.leaked {
		e.flush(out)
		return
	}
	e.eaten += len(e.held)
	e.pending, e.held = 0, nil
}

// flush passes on what was held back.
func (e *escapes) flush(out *[]byte) {
	if e.pending == 0 {
		return
	}
	*out = append(*out, e.held...)
	e.pending, e.held, e.lineStart = 0, nil, false
}

// byHand reports whether what was read together may have been typed: a single key, or an escape, which a slow line
// brings in one piece. Anything longer is a paste from a terminal that does not mark it, and data.
func (e *escapes) byHand(keys []key) bool {
	var chars []rune
	paste := e.paste
	for _, k := range keys {
		switch {
		case k.kind == pasteOn || k.kind == pasteOff:
			paste = k.kind == pasteOn
		case k.kind == press && !paste:
			if len(chars) == 0 && (k.char == '\r' || k.char == '\n') && len(keys) > 1 {
				continue // the end of the line before
			}
			if chars = append(chars, k.char); len(chars) > 2 {
				return false
			}
		}
	}
	if len(chars) < 2 {
		return true
	}
	switch chars[0] {
	case '~':
		return chars[1] == '.' || chars[1] == '?'
	case rune(e.prefix):
		return chars[1] == rune(e.key) || chars[1] == '?'
	}
	return false
}

// help lists the escapes; goes is what they do to the shell.
func (e *escapes) help(goes string) string {
	return fmt.Sprintf("~?\r\n[berth: at the beginning of a line  ~.  leaves%s,  ~~  types a ~\r\n        anywhere  %s  leaves]\r\n",
		goes, e.name)
}
