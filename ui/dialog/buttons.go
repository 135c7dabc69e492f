package dialog

import (
	tea "github.com/charmbracelet/bubbletea"
)

// button is one of a row of buttons.
type button struct {
	label  string
	danger bool
}

// buttons is a row of buttons with one in focus; it remembers where it was drawn, for the mouse.
type buttons struct {
	list  []button
	focus int
	y     int
	spans [][2]int
}

func (b *buttons) draw(f *frame) {
	f.blank()
	l := f.begin()
	w := 0
	for _, x := range b.list {
		w += len(x.label) + 6
	}
	l.To(f.w - 2 - w)
	b.spans = b.spans[:0]
	for i, x := range b.list {
		l.Space(2)
		st := f.t.Button
		left, right := f.t.Brackets(i == b.focus)
		if i == b.focus {
			st = f.t.ButtonOn
			if x.danger {
				st = f.t.Danger
			}
		}
		from := l.Col()
		l.Text(st, left+x.label+right)
		b.spans = append(b.spans, [2]int{from, l.Col()})
	}
}

// end closes the box; the buttons are its last line.
func (b *buttons) end(f *frame, keys string, h int) []string {
	out := f.end(keys, h)
	b.y = len(out) - 2
	return out
}

// key moves the focus and reports whether it took the key.
func (b *buttons) key(k string) bool {
	switch k {
	case "left", "shift+tab", "h":
		b.focus = (b.focus + len(b.list) - 1) % len(b.list)
	case "right", "tab", "l":
		b.focus = (b.focus + 1) % len(b.list)
	default:
		return false
	}
	return true
}

// mouse returns the button that was clicked, or -1.
func (b *buttons) mouse(m tea.MouseMsg) int {
	if m.Action != tea.MouseActionPress || m.Button != tea.MouseButtonLeft || m.Y != b.y {
		return -1
	}
	for i, s := range b.spans {
		if m.X >= s[0] && m.X < s[1] {
			return i
		}
	}
	return -1
}
