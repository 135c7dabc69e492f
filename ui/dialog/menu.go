package dialog

import (
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/base/plaintext"
	"berth/ui/form"
	"berth/ui/screen"
	"berth/ui/text"
)

// Item is one line of a menu.
type Item struct {
	Label, Detail string
	Do            tea.Cmd
}

// Menu is a list to choose from; typing narrows it.
type Menu struct {
	Title string
	Keys  string // for the lower border
	Items []Item
	At    int // the item under the cursor

	in   form.Input
	top  int
	y, n int // where the list was drawn
}

func (m *Menu) shown() []int {
	q := strings.ToLower(m.in.Value())
	var out []int
	for i, it := range m.Items {
		if q == "" || strings.Contains(strings.ToLower(it.Label+" "+it.Detail), q) {
			out = append(out, i)
		}
	}
	return out
}

// Update implements screen.Dialog.
func (m *Menu) Update(msg tea.Msg) (bool, tea.Cmd) {
	list := m.shown()
	m.At = max(0, min(m.At, len(list)-1))
	switch k := msg.(type) {
	case tea.MouseMsg:
		switch {
		case k.Button == tea.MouseButtonWheelDown:
			m.At = min(m.At+1, len(list)-1)
		case k.Button == tea.MouseButtonWheelUp:
			m.At = max(m.At-1, 0)
		case k.Action == tea.MouseActionPress && k.Button == tea.MouseButtonLeft && k.Y >= m.y && k.Y < m.y+m.n:
			if i := m.top + k.Y - m.y; i < len(list) {
				return true, m.Items[list[i]].Do
			}
		}
	case tea.KeyMsg:
		switch k.String() {
		case "esc":
			return true, nil
		case "enter":
			if len(list) > 0 {
				return true, m.Items[list[m.At]].Do
			}
		case "up", "ctrl+p", "shift+tab":
			m.At = max(m.At-1, 0)
		case "down", "ctrl+n", "tab":
			m.At = min(m.At+1, max(0, len(list)-1))
		case "pgup":
			m.At = max(m.At-max(1, m.n), 0)
		case "pgdown":
			m.At = max(0, min(m.At+max(1, m.n), len(list)-1))
		default:
			if m.in.Update(k) {
				m.At = 0
			}
		}
	}
	return false, nil
}

// Box implements screen.Dialog.
func (m *Menu) Box(e *screen.Env, w, h int) []string {
	t := e.Theme
	lw, dw := 0, 0
	for _, it := range m.Items {
		lw = max(lw, text.Width(plaintext.Clean(it.Label)))
		dw = max(dw, text.Width(plaintext.Clean(it.Detail)))
	}
	bw := boxWidth(w, max(46, min(lw+dw+8, 96)))
	lw = min(lw, (bw-8)*2/3)
	if dw == 0 {
		lw = bw - 6
	}
	f := newFrame(e, m.Title, bw, t.Title)
	list := m.shown()
	m.At = max(0, min(m.At, len(list)-1))
	if len(m.Items) > 8 || m.in.Len() > 0 {
		l := f.begin()
		l.Text(t.Dim, "/ ")
		m.in.Draw(l, t, l.Room()-2, true)
	}
	m.y = f.next()
	m.n = max(1, min(len(list), min(h-2-len(f.lines), 18)))
	if m.At < m.top {
		m.top = m.At
	}
	if m.At >= m.top+m.n {
		m.top = m.At - m.n + 1
	}
	m.top = max(0, min(m.top, len(list)-m.n))
	for i := m.top; i < m.top+m.n && i < len(list); i++ {
		it := m.Items[list[i]]
		l := f.begin()
		row(l, t, i == m.At, it, lw, f.w-2)
	}
	if len(list) == 0 {
		f.begin().Text(t.Dim, "nothing matches")
	}
	keys := m.Keys
	if keys == "" {
		keys = "enter choose " + t.Dot + " esc close"
	}
	return f.end(keys, h)
}
