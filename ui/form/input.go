package form

import (
	"strings"
	"unicode/utf8"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/muesli/termenv"

	"berth/ui/draw"
	"berth/ui/text"
	"berth/ui/theme"
)

// maxInput bounds what an input holds, in characters.
const maxInput = 4096

// Input is one line that is typed. Hint is shown while it is empty; Mask hides what is typed.
type Input struct {
	Hint string
	Mask bool
	val  []rune
	pos  int
	sel  bool // the whole text is selected: what is typed replaces it
}

// Value returns what was typed.
func (i *Input) Value() string { return string(i.val) }

// Set replaces the text and puts the caret at its end.
func (i *Input) Set(s string) {
	i.val = []rune(s)
	i.pos = len(i.val)
	i.sel = false
}

// Suggest sets a text that what is typed replaces; moving the caret keeps it for editing.
func (i *Input) Suggest(s string) {
	i.Set(s)
	i.sel = len(i.val) > 0
}

// Suggested reports whether the text is one of Suggest, untouched.
func (i *Input) Suggested() bool { return i.sel }

// Update takes a key and reports whether it was one for typing.
func (i *Input) Update(k tea.KeyMsg) bool {
	if i.sel {
		switch k.String() {
		case "backspace", "ctrl+h", "delete", "ctrl+d", "ctrl+w", "alt+backspace":
			i.Set("")
			return true
		}
		if (k.Type == tea.KeyRunes || k.Type == tea.KeySpace) && !k.Alt {
			i.Set("")
		}
	}
	if !i.edit(k) {
		return false
	}
	i.sel = false
	return true
}

func (i *Input) edit(k tea.KeyMsg) bool {
	switch k.String() {
	case "left", "ctrl+b":
		i.pos = max(0, i.pos-1)
	case "right", "ctrl+f":
		i.pos = min(len(i.val), i.pos+1)
	case "home", "ctrl+a":
		i.pos = 0
	case "end", "ctrl+e":
		i.pos = len(i.val)
	case "backspace", "ctrl+h":
		i.cut(i.pos-1, i.pos)
	case "delete", "ctrl+d":
		i.cut(i.pos, i.pos+1)
	case "ctrl+u":
		i.cut(0, i.pos)
	case "ctrl+k":
		i.cut(i.pos, len(i.val))
	case "ctrl+w", "alt+backspace":
		j := i.pos
		for j > 0 && i.val[j-1] == ' ' {
			j--
		}
		for j > 0 && i.val[j-1] != ' ' {
			j--
		}
		i.cut(j, i.pos)
	default:
		if (k.Type != tea.KeyRunes && k.Type != tea.KeySpace) || k.Alt {
			return false
		}
		i.insert(string(k.Runes))
	}
	return true
}

func (i *Input) insert(s string) {
	if !i.Mask { // a passphrase may hold anything but a line end
		s = text.Clean(s)
	}
	s = strings.TrimRight(s, "\r\n")
	r := []rune(s)
	if len(i.val)+len(r) > maxInput {
		return
	}
	i.val = append(i.val[:i.pos:i.pos], append(r, i.val[i.pos:]...)...)
	i.pos += len(r)
}

func (i *Input) cut(from, to int) {
	from, to = max(from, 0), min(to, len(i.val))
	if from >= to {
		return
	}
	i.val = append(i.val[:from:from], i.val[to:]...)
	i.pos = from
}

// Draw writes the input into w cells, the caret in view if it has the focus.
func (i *Input) Draw(l *draw.Line, t *theme.Theme, w int, focus bool) {
	w = min(w, l.Room())
	if w <= 0 {
		return
	}
	end := l.Col() + w
	s := string(i.val)
	if i.Mask {
		s = strings.Repeat("*", len(i.val))
	}
	r := []rune(s)
	if !focus {
		if len(r) == 0 {
			l.Field(t.Dim, i.Hint, w)
			return
		}
		l.Field(t.Text, s, w)
		return
	}
	if i.sel && t.Profile != termenv.Ascii {
		l.Text(t.Caret, s)
		l.Field(t.Input, "", end-l.Col())
		return
	}
	// The part around the caret that fits.
	from := 0
	for from < i.pos && text.Width(string(r[from:i.pos])) > w-1 {
		from++
	}
	l.Text(t.Input, string(r[from:i.pos]))
	switch {
	case i.pos < len(r):
		l.Text(t.Caret, string(r[i.pos]))
		l.Field(t.Input, string(r[i.pos+1:]), end-l.Col())
	case t.Profile == termenv.Ascii:
		l.Text(t.Input, "_")
	default:
		l.Text(t.Caret, " ")
		if len(r) == 0 && i.Hint != "" {
			l.Field(t.Dim, i.Hint, end-l.Col())
		}
	}
	l.Field(t.Input, "", end-l.Col())
}

// Len is the number of characters typed.
func (i *Input) Len() int { return utf8.RuneCountInString(string(i.val)) }
