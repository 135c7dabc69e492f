package list

import (
	"fmt"

	tea "github.com/charmbracelet/bubbletea"

	"berth/ui/draw"
	"berth/ui/key"
	"berth/ui/theme"
)

// Pager is a text that is scrolled: its keys and marks are those of lists, it has no cursor.
type Pager struct {
	Find
	top, view, all int
}

// Move scrolls by n lines.
func (g *Pager) Move(n int) tea.Cmd {
	g.top = max(0, min(g.top+n, g.all-g.view))
	return nil
}

// End scrolls to the end of what is drawn next.
func (g *Pager) End() { g.top, g.all = 1<<40, 1<<41 }

// AtEnd reports whether the end of what was drawn is in sight.
func (g *Pager) AtEnd() bool { return g.top+g.view >= g.all }

// Keys are the bindings of the text: while its line is typed in, those of the line only.
func (g *Pager) Keys() []key.Binding {
	if g.typing {
		return typingKeys[:2]
	}
	bs := append(Moves(g.Move, func() int { return g.view }), g.begin().As("search"))
	if g.in.Value() != "" {
		bs = append(bs, key.Of("esc", "", func() tea.Cmd { g.in.Set(""); return nil }).As("clear").
			Saying("Show all of it again."))
	}
	return bs
}

// Mouse takes the wheel.
func (g *Pager) Mouse(m tea.MouseMsg) tea.Cmd {
	switch m.Button {
	case tea.MouseButtonWheelDown:
		return g.Move(3)
	case tea.MouseButtonWheelUp:
		return g.Move(-3)
	}
	return nil
}

// Type takes a key while the line is typed.
func (g *Pager) Type(k tea.KeyMsg) tea.Cmd {
	if g.typing && g.typed(k) {
		g.top = 0
	}
	return nil
}

// Width is how wide lines may be.
func (g *Pager) Width(p *draw.Page) int { return max(0, p.Width()-edge) }

// Draw writes those of the lines, drawn already, that are in sight, and marks where there are more.
func (g *Pager) Draw(p *draw.Page, t *theme.Theme, lines []string) {
	g.all, g.view = len(lines), max(1, p.Left())
	g.Move(0)
	drawColumns(p, t, g.view, []Column{{Lines: lines, W: p.Width()}}, []int{g.top})
}

// Status writes the line while it is typed, or what the text is narrowed by, and which lines are in sight.
func (g *Pager) Status(ln *draw.Line, t *theme.Theme) {
	if g.line(ln, t, fmt.Sprintf("%d lines", g.all)) {
		return
	}
	if v := g.in.Value(); v != "" {
		ln.Text(t.Accent, "  search "+v)
	}
	if g.all > 0 {
		ln.End(t.Dim, fmt.Sprintf("lines %d-%d of %d", g.top+1, min(g.all, g.top+g.view), g.all))
	}
}
