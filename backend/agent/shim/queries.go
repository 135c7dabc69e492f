package shim

import "bytes"

// dropQueries removes from replayed output every sequence that a terminal answers: the answer would
// come in as typing, to a shell that asked nobody now. It works in place.
func dropQueries(p []byte) []byte {
	for range maxPasses {
		n := len(p)
		if p = dropOnce(p); len(p) == n {
			return p
		}
		// What stood around a query may be one now.
	}
	return textOnly(p) // made to be nested like this
}

// maxPasses bounds the work that hostile output can cause.
const maxPasses = 8

// textOnly drops every byte that could begin or be a control sequence.
func textOnly(p []byte) []byte {
	out := p[:0]
	for _, c := range p {
		if c >= 0x20 && c != 0xc2 && c != 0x7f || c == '\n' || c == '\r' || c == '\t' {
			out = append(out, c)
		}
	}
	return out
}

func dropOnce(p []byte) []byte {
	out := p[:0]
	for len(p) > 0 {
		n, asks := sequence(p)
		if !asks {
			out = append(out, p[:n]...)
		}
		p = p[n:]
	}
	return out
}

// sequence returns the length of what p begins with, one control sequence or a run of text, and
// whether a terminal would answer it. An unfinished sequence at the end counts as one that asks: its
// rest will be shown live, and can't be judged here.
func sequence(p []byte) (n int, asks bool) {
	if p[0] == 0x05 { // ENQ: answerback
		return 1, true
	}
	if c1(p) { // an 8-bit control, as UTF-8: nothing modern sends one but to ask
		return 2, true
	}
	if p[0] != 0x1b {
		for n = 1; n < len(p); n++ {
			if p[n] == 0x1b || p[n] == 0x05 || c1(p[n:]) {
				break
			}
		}
		return n, false
	}
	if len(p) == 1 || p[1] < 0x20 { // a control inside a sequence is obeyed: judge it by itself
		return 1, true
	}
	switch p[1] {
	case '[':
		return csi(p)
	case ']', 'P', '_', '^', 'X': // OSC, DCS, APC, PM, SOS: up to ESC \, or BEL in an OSC
		return stringSequence(p)
	case 'Z': // DECID
		return 2, true
	}
	return 2, false
}

// c1 reports whether p begins with a control of the range U+0080 to U+009F.
func c1(p []byte) bool { return len(p) > 1 && p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f }

func csi(p []byte) (int, bool) {
	for i := 2; i < len(p); i++ {
		c := p[i]
		if c == 0x05 || c >= 0x80 {
			return i, true // malformed: not worth showing
		}
		if c == 0x1b {
			return i, false // broken off by another sequence
		}
		if c < 0x40 || c > 0x7e {
			continue
		}
		params := p[2:i]
		switch c {
		case 'c': // device attributes
			return i + 1, true
		case 'n': // status and cursor position reports
			return i + 1, true
		case 'x': // terminal parameters
			return i + 1, true
		case 'p': // DECRQM: … $ p; without $ it sets something
			return i + 1, bytes.IndexByte(params, '$') >= 0
		case 'q': // XTVERSION: > q; " q and SP q set something
			return i + 1, len(params) > 0 && params[0] == '>'
		case 't': // 11 and above report; 22 and 23 save and restore the title
			return i + 1, reports(params)
		case 'u': // kitty keyboard: ? u asks
			return i + 1, len(params) > 0 && params[0] == '?'
		case 'y': // DECRQCRA and self tests
			return i + 1, true
		}
		return i + 1, false
	}
	return len(p), true
}

func reports(params []byte) bool {
	first, _, _ := bytes.Cut(params, []byte{';'})
	switch string(first) {
	case "11", "13", "14", "15", "16", "18", "19", "20", "21":
		return true
	}
	return false
}

func stringSequence(p []byte) (int, bool) {
	end, body := -1, p[2:]
	for i := 2; i < len(p); i++ {
		if p[i] == 0x05 || c1(p[i:]) {
			return i, true
		}
		if p[i] == 0x07 && p[1] == ']' {
			end, body = i+1, p[2:i]
			break
		}
		if p[i] == 0x1b {
			if i+1 < len(p) && p[i+1] == '\\' {
				end, body = i+2, p[2:i]
			} else {
				return i, true // broken off: not worth showing
			}
			break
		}
	}
	if end < 0 {
		return len(p), true
	}
	switch p[1] {
	case 'P': // DECRQSS ($q), XTGETTCAP (+q)
		return end, bytes.HasPrefix(body, []byte("$q")) || bytes.HasPrefix(body, []byte("+q"))
	case '_': // kitty graphics answer
		return end, true
	case ']':
		// OSC n;? asks for a colour or the clipboard; a replayed OSC 52 would also set the clipboard again.
		return end, bytes.Contains(body, []byte(";?")) || bytes.HasPrefix(body, []byte("52;"))
	}
	return end, false
}
