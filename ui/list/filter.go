package list

import (
	"fmt"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/gpu"
	"berth/ui/draw"
	"berth/ui/form"
	"berth/ui/key"
	"berth/ui/theme"
)

// typingKeys are the keys while the filter is typed; the typing itself is done by Type.
var typingKeys = []key.Binding{
	key.Of("enter", "", nil).As("keep").Saying("Keep the filter."),
	key.Of("esc", "", nil).As("show all").Saying("Take the filter away."),
	key.Of("j", "", nil).Saying("Move among what matches."),
}

// Find is the line of words that narrow what is shown.
type Find struct {
	in     form.Input
	typing bool
}

// Hint is what stands in the empty line.
func (f *Find) Hint(s string) { f.in.Hint = s }

// Typing reports whether the line is being typed.
func (f *Find) Typing() bool { return f.typing }

// Words is what the line holds.
func (f *Find) Words() string { return f.in.Value() }

// typed takes a key of the line and reports whether it holds something else now.
func (f *Find) typed(k tea.KeyMsg) bool {
	was := f.in.Value()
	f.typing, _ = f.in.Search(k)
	return f.in.Value() != was
}

// line writes the line while it is typed, with what is said of it, and reports whether it is.
func (f *Find) line(ln *draw.Line, t *theme.Theme, said string) bool {
	if !f.typing {
		return false
	}
	ln.Text(t.Key, "/")
	f.in.Draw(ln, t, min(30, ln.Room()/2), true)
	ln.Space(2).Text(t.Dim, said)
	return true
}

// Begins has the line typed from now on.
func (f *Find) Begins() { f.typing = true }

// begin is the key that begins to type.
func (f *Find) begin() key.Binding {
	return key.Of("/", "", func() tea.Cmd { f.typing = true; return nil }).As("filter")
}

// Filter sets the filter.
func (l *List) Filter(words string) {
	l.in.Set(words)
	l.lay()
}

// Type takes a key while the filter is typed.
func (l *List) Type(k tea.KeyMsg) tea.Cmd {
	if !l.typing {
		return nil
	}
	switch k.String() {
	case "up", "ctrl+p":
		return l.Move(-1)
	case "down", "ctrl+n":
		return l.Move(1)
	}
	if l.typed(k) {
		l.lay()
	}
	return nil
}

// Match is what rows must match, nil where all do: words that occur in hay, "!" before one that must not, and "~"
// before letters that occur in this order in the name.
func Match(words string) func(name, hay string) bool {
	var fuzzy [][]rune
	var rest []string
	for w := range strings.FieldsSeq(strings.ToLower(words)) {
		if letters, ok := strings.CutPrefix(w, "~"); ok {
			if letters != "" {
				fuzzy = append(fuzzy, []rune(letters))
			}
			continue
		}
		rest = append(rest, w)
	}
	match := gpu.Words(strings.Join(rest, " "))
	if match == nil && fuzzy == nil {
		return nil
	}
	return func(name, hay string) bool {
		for _, letters := range fuzzy {
			if !inOrder(letters, name) {
				return false
			}
		}
		return match == nil || match(hay)
	}
}

// inOrder reports whether letters occur in a name in this order.
func inOrder(letters []rune, name string) bool {
	for _, c := range strings.ToLower(name) {
		if c == letters[0] {
			if letters = letters[1:]; len(letters) == 0 {
				return true
			}
		}
	}
	return false
}

// Line writes the line of the filter while it is typed, and reports whether it is.
func (l *List) Line(ln *draw.Line, t *theme.Theme) bool {
	_, n := l.count()
	said := fmt.Sprintf("%d shown", n)
	if l.of.All != nil {
		said = fmt.Sprintf("%d of %d", n, l.of.All())
	}
	return l.line(ln, t, said)
}

// Said writes what narrows and orders the list, and at the end of the line where the cursor is.
func (l *List) Said(ln *draw.Line, t *theme.Theme) {
	gap := func() {
		if ln.Col() > 1 {
			ln.Space(2)
		}
	}
	if m := len(l.Marks); m > 0 {
		gap()
		s := fmt.Sprintf("%d marked", m)
		if hidden := m - len(l.Marked()); hidden > 0 { // actions go to those that are shown
			s += fmt.Sprintf(", %d of them hidden", hidden)
		}
		ln.Text(t.Mark, s)
	}
	if v := l.in.Value(); v != "" {
		gap()
		ln.Text(t.Accent, "filter "+v)
	}
	at, n := l.count()
	if n == 0 {
		return
	}
	where := fmt.Sprintf("%d/%d", at, n)
	if l.of.By != nil {
		by := "by " + l.Sort
		if l.Down {
			by += ", turned round"
		}
		where = by + "  " + where
	}
	ln.End(t.Dim, where)
}

// count is the place of the cursor and the number of rows, without those that it passes over.
func (l *List) count() (at, n int) {
	if l.of.Skip == nil {
		return l.At + 1, l.of.Len()
	}
	for i := range l.of.Len() {
		if l.skip(i) {
			continue
		}
		if n++; i <= l.At {
			at = n
		}
	}
	return at, n
}

// Nothing says that nothing matches, where that is so, and reports it.
func (l *List) Nothing(p *draw.Page, t *theme.Theme) bool {
	if l.of.Len() > 0 || l.in.Value() == "" {
		return false
	}
	if p.Left() > 1 {
		p.Blank(1)
	}
	p.Line(theme.Ground).Space(2).Text(t.Dim, "Nothing matches the filter. ").Text(t.Key, "esc").Text(t.Dim, " shows all.")
	return true
}
