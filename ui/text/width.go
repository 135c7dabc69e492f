package text

import (
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"berth/backend/base/plaintext"
)

// Width is the number of cells that clean text takes.
func Width(s string) int {
	if plaintext.Plain(s) {
		return len(s)
	}
	return ansi.StringWidth(s)
}

// Truncate cuts clean text to at most w cells, ending with tail where something was cut.
func Truncate(s string, w int, tail string) string {
	if w <= 0 {
		return ""
	}
	if plaintext.Plain(s) {
		if len(s) <= w {
			return s
		}
		if t := Width(tail); t < w {
			return s[:w-t] + tail
		}
		return s[:w]
	}
	if ansi.StringWidth(s) <= w {
		return s
	}
	if Width(tail) >= w {
		tail = ""
	}
	return ansi.Truncate(s, w, tail)
}

// signs have a likeness in ASCII, of the same width.
var signs = []rune("←→↑↓‹›…–—·•✓✗●○‘’“”")

const asciiSigns = "<>^v<>.---*+x*o''\"\""

// ASCII replaces what is not ASCII in clean text by as many question marks as it has cells.
func ASCII(s string) string {
	if plaintext.Plain(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if r < 0x7f {
			b.WriteRune(r)
			continue
		}
		if i := slices.Index(signs, r); i >= 0 {
			b.WriteByte(asciiSigns[i])
			continue
		}
		b.WriteString(strings.Repeat("?", ansi.StringWidth(string(r))))
	}
	return b.String()
}

// Wrap breaks clean text into lines of at most w cells, at spaces where there are any.
func Wrap(s string, w int) []string {
	if w <= 0 {
		return nil
	}
	var out []string
	for _, para := range strings.Split(s, "\n") {
		line, lw := "", 0
		for word := range strings.FieldsSeq(para) {
			ww := Width(word)
			for ww > w { // a word longer than the line
				if lw > 0 {
					out, line, lw = append(out, line), "", 0
				}
				head := Truncate(word, w, "")
				if head == "" { // a wide character and one column: there is no way to show it
					word, ww = "", 0
					break
				}
				out = append(out, head)
				word = word[len(head):]
				ww = Width(word)
			}
			switch {
			case word == "":
			case lw == 0:
				line, lw = word, ww
			case lw+1+ww <= w:
				line, lw = line+" "+word, lw+1+ww
			default:
				out = append(out, line)
				line, lw = word, ww
			}
		}
		out = append(out, line)
	}
	return out
}
