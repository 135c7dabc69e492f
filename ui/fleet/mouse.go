package fleet

import (
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/ui/screen"
)

// doubleClick is the longest time between the two clicks of a double click.
const doubleClick = 500 * time.Millisecond

// Mouse implements screen.Mouser: a click selects or sorts, a second one opens, the wheel moves.
func (f *Fleet) Mouse(m tea.MouseMsg) tea.Cmd {
	switch {
	case m.Button == tea.MouseButtonWheelDown:
		f.move(3)
	case m.Button == tea.MouseButtonWheelUp:
		f.move(-3)
	case m.Action != tea.MouseActionPress || m.Button != tea.MouseButtonLeft:
	case m.Y == 0:
		for _, c := range f.laid {
			if m.X >= c.x && m.X < c.x+c.w {
				f.sortOn(c.column)
				return nil
			}
		}
	case f.top+m.Y-1 < len(f.rows) && m.Y-1 < f.view:
		f.at = f.top + m.Y - 1
		if m.X < 2 {
			f.toggleMark()
			f.move(-1)
			return nil
		}
		id, now := f.cursorID(), f.e.Now()
		if id == f.clickRow && now.Sub(f.clickAt) < doubleClick {
			f.clickRow = ""
			return f.e.Send(screen.Open{Name: "detail", Arg: id})
		}
		f.clickRow, f.clickAt = id, now
	}
	return nil
}
