package procs

import "bytes"

// stateName puts the kernel's letter in words.
func stateName(c byte) string {
	switch c {
	case 'R':
		return "running"
	case 'D':
		return "waiting"
	case 'T', 't':
		return "stopped"
	case 'Z', 'X', 'x':
		return "zombie"
	}
	return "sleeping"
}

// commandLimit is how many bytes of a command are shown.
const commandLimit = 256

// commandLine makes arguments, separated by zero bytes, one line for people.
func commandLine(b []byte) string {
	if len(b) > 4*commandLimit {
		b = b[:4*commandLimit]
	}
	return clean(string(bytes.TrimRight(b, "\x00 ")))
}

// clean replaces control characters and what is not text, and shortens.
func clean(s string) string {
	out := make([]byte, 0, min(len(s), commandLimit))
	for _, r := range s {
		switch {
		case r == 0 || r == '\n' || r == '\t' || r == '\r':
			r = ' '
		case r < ' ' || (r >= 0x7f && r < 0xa0) || r == 0xfffd || (r >= 0x200b && r <= 0x200f) ||
			(r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069):
			r = '?'
		}
		next := append(out, string(r)...)
		if len(next) > commandLimit {
			break
		}
		out = next
	}
	return string(out)
}
