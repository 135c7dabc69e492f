package dialog

import (
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/base/plaintext"
	"berth/ui/form"
	"berth/ui/list"
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

	in    form.Input
	top   int
	y, n  int // where the list was drawn
	lines []piece
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
	shown := m.shown()
	m.At = max(0, min(m.At, len(shown)-1))
	switch k := msg.(type) {
	case tea.MouseMsg:
		switch {
		case k.Button == tea.MouseButtonWheelDown:
			m.At = min(m.At+1, len(shown)-1)
		case k.Button == tea.MouseButtonWheelUp:
			m.At = max(m.At-1, 0)
		case k.Action == tea.MouseActionPress && k.Button == tea.MouseButtonLeft && k.Y >= m.y && k.Y < m.y+m.n:
			if i := m.top + k.Y - m.y; i < len(m.lines) && m.lines[i].at < len(shown) {
				return true, m.Items[shown[m.lines[i].at]].Do
			}
		}
	case tea.KeyMsg:
		switch k.String() {
		case "esc":
			return true, nil
		case "enter":
			if len(shown) > 0 {
				return true, m.Items[shown[m.At]].Do
			}
		case "up", "ctrl+p", "shift+tab":
			m.At = max(m.At-1, 0)
		case "down", "ctrl+n", "tab":
			m.At = min(m.At+1, max(0, len(shown)-1))
		case "pgup":
			m.At = max(m.At-max(1, m.n), 0)
		case "pgdown":
			m.At = max(0, min(m.At+max(1, m.n), len(shown)-1))
		default:
			if m.in.Update(k) {
				m.At = 0
			}
		}
	}
	return false, nil
}

// piece is one line of an item: what does not fit beside its label goes on below.
type piece struct {
	at            int // among those shown
	first         bool
	label, detail string
}

// pieces breaks the items that are shown into lines of lw cells for labels and dw for details.
func (m *Menu) pieces(shown []int, lw, dw int) []piece {
	var out []piece
	for at, i := range shown {
		labels := text.Fold(plaintext.Clean(m.Items[i].Label), max(1, lw))
		var details []string
		if d := plaintext.Clean(m.Items[i].Detail); d != "" {
			details = text.Wrap(d, max(1, dw))
		}
		for n := range max(len(labels), len(details)) {
			p := piece{at: at, first: n == 0}
			if n < len(labels) {
				p.label = labels[n]
			}
			if n < len(details) {
				p.detail = details[n]
			}
			out = append(out, p)
		}
	}
	return out
}

// scroll returns the first line in sight of n, so that the whole item under the cursor is, or its beginning.
func (m *Menu) scroll(lines []piece, n int) int {
	from := slices.IndexFunc(lines, func(p piece) bool { return p.at == m.At })
	to := from
	for to+1 < len(lines) && lines[to+1].at == m.At {
		to++
	}
	return min(list.Scroll(m.top, to, n, len(lines)), max(0, from))
}

// most is how many lines a menu shows at once.
const most = 18

// Box implements screen.Dialog.
func (m *Menu) Box(e *screen.Env, w, h int) []string {
	t := e.Theme
	lw, dw := 0, 0
	for _, it := range m.Items {
		lw = max(lw, text.Width(plaintext.Clean(it.Label)))
		dw = max(dw, text.Width(plaintext.Clean(it.Detail)))
	}
	bw := boxWidth(w, max(46, min(lw+dw+8, 96)))
	f := newFrame(e, m.Title, bw, t.Title)
	shown := m.shown()
	m.At = max(0, min(m.At, len(shown)-1))
	if len(m.Items) > 8 || m.in.Len() > 0 {
		l := f.begin()
		l.Text(t.Dim, "/ ")
		m.in.Draw(l, t, l.Room()-2, true)
	}
	m.y = f.next()
	room := max(1, min(h-1-m.y, most))
	end := f.w - 2 // where lines end
	inner := func() []piece {
		in := max(1, end-3)
		if dw == 0 {
			return m.pieces(shown, in, 0)
		}
		lw = min(lw, max(1, (in-2)*2/3))
		return m.pieces(shown, lw, in-2-lw)
	}
	lines := inner()
	if len(lines) > room { // with room for the mark
		end -= 2
		lines = inner()
	}
	if dw == 0 {
		lw = end - 3
	}
	m.lines, m.n = lines, max(1, min(len(lines), room))
	m.top = m.scroll(lines, m.n)
	for y := m.top; y < m.top+m.n && y < len(lines); y++ {
		p := lines[y]
		l := f.begin()
		row(l, t, p.at == m.At, p.first, p.label, p.detail, lw, end)
		list.More(l, t, y-m.top, m.n, m.top > 0, m.top+m.n < len(lines))
	}
	if len(shown) == 0 {
		f.begin().Text(t.Dim, "nothing matches")
	}
	keys := m.Keys
	if keys == "" {
		keys = "enter choose " + t.Dot + " esc close"
	}
	return f.end(keys, h)
}
