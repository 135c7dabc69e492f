package form

import (
	"strings"
	"unicode/utf8"

	"github.com/charmbracelet/bubbles/key"
	"github.com/charmbracelet/bubbles/textinput"
	tea "github.com/charmbracelet/bubbletea"
	"github.com/muesli/termenv"

	"berth/backend/base/plaintext"
	"berth/ui/draw"
	"berth/ui/text"
	"berth/ui/theme"
)

// maxInput bounds what an input holds, in characters.
const maxInput = 4096

// Input is one line that is typed: the editing of bubbles' textinput, drawn with the dashboard's own
// styles. Hint is shown while it is empty; Mask hides what is typed. The zero Input is ready.
type Input struct {
	Hint string
	Mask bool
	edit *textinput.Model
	sel  bool // the whole text is selected: what is typed replaces it
}

// model is the editor, made at first use.
func (i *Input) model() *textinput.Model {
	if i.edit == nil {
		m := textinput.New()
		m.CharLimit = maxInput
		m.KeyMap.Paste.SetEnabled(false) // the terminal pastes; the clipboard of this computer may be another's
		m.Focus()
		i.edit = &m
	}
	return i.edit
}

// Value returns what was typed.
func (i *Input) Value() string { return i.model().Value() }

// Set replaces the text and puts the caret at its end.
func (i *Input) Set(s string) {
	i.model().SetValue(s)
	i.model().CursorEnd()
	i.sel = false
}

// Suggest sets a text that what is typed replaces; moving the caret keeps it for editing.
func (i *Input) Suggest(s string) {
	i.Set(s)
	i.sel = i.Value() != ""
}

// Suggested reports whether the text is one of Suggest, untouched.
func (i *Input) Suggested() bool { return i.sel }

// Update takes a key and reports whether it was one for typing.
func (i *Input) Update(k tea.KeyMsg) bool {
	m := i.model()
	km := m.KeyMap
	typed := (k.Type == tea.KeyRunes || k.Type == tea.KeySpace) && !k.Alt
	deletes := key.Matches(k, km.DeleteCharacterBackward, km.DeleteCharacterForward, km.DeleteWordBackward,
		km.DeleteWordForward, km.DeleteBeforeCursor, km.DeleteAfterCursor)
	moves := key.Matches(k, km.CharacterForward, km.CharacterBackward, km.WordForward, km.WordBackward, km.LineStart,
		km.LineEnd)
	if !typed && !deletes && !moves {
		return false
	}
	if i.sel && (typed || deletes) {
		i.Set("")
	}
	i.sel = false
	if typed {
		s := string(k.Runes)
		if !i.Mask { // a passphrase may hold anything but a line end
			s = plaintext.Clean(s)
		}
		r := []rune(strings.TrimRight(s, "\r\n"))
		if i.Len()+len(r) > maxInput {
			return true // cut, it would be something else than what was pasted
		}
		k = tea.KeyMsg{Type: tea.KeyRunes, Runes: r}
	}
	*m, _ = m.Update(k) // its commands only blink a caret that is not drawn
	return true
}

// Search takes a key of a line that narrows what is shown: enter leaves the line, esc empties it and leaves
// it. open reports whether it is still typed in, changed whether its text may be another.
func (i *Input) Search(k tea.KeyMsg) (open, changed bool) {
	switch k.String() {
	case "enter":
		return false, false
	case "esc":
		i.Set("")
		return false, true
	}
	return true, i.Update(k)
}

// Draw writes the input into w cells, the caret in view if it has the focus.
func (i *Input) Draw(l *draw.Line, t *theme.Theme, w int, focus bool) {
	w = min(w, l.Room())
	if w <= 0 {
		return
	}
	end := l.Col() + w
	s, pos := i.Value(), i.model().Position()
	if i.Mask {
		s = strings.Repeat("*", i.Len())
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
	for from < pos && text.Width(string(r[from:pos])) > w-1 {
		from++
	}
	l.Text(t.Input, string(r[from:pos]))
	switch {
	case pos < len(r):
		l.Text(t.Caret, string(r[pos]))
		l.Field(t.Input, string(r[pos+1:]), end-l.Col())
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
func (i *Input) Len() int { return utf8.RuneCountInString(i.Value()) }
