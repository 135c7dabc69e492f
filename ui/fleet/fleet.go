package fleet

import (
	"strconv"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/ui/data"
	"berth/ui/detail"
	"berth/ui/form"
	"berth/ui/screen"
)

func itoa(n int) string { return strconv.Itoa(n) }

// Fleet is the screen.
type Fleet struct {
	e *screen.Env

	rows, spare []*data.Row // in order; spare is the last order's memory
	at, top     int         // the cursor's row and the first row in view
	view        int         // rows in view, of the last frame
	marks       map[string]bool
	mine        bool
	filter      filter
	typing      bool // the filter is being typed
	in          form.Input

	cols     []*column
	sortCol  *column
	sortDown bool
	sortedAt time.Time      // when the order was made anew
	byKey    []keyed        // memory of the last order by a figure
	wide     map[string]int // the content's width by column
	wideGen  int
	laid     []placed
	laidW    int
	laidWide int
	hidden   int

	pane    *detail.Detail // of the row under the cursor, where the rows leave room
	paneID  string
	noPane  bool      // switched off
	movedAt time.Time // the cursor, by the last key
	hurry   bool      // the key before it was pressed just before

	clickAt  time.Time
	clickRow string
}

// New makes the fleet's screen; arg is a filter.
func New(e *screen.Env, arg string) screen.Screen {
	f := &Fleet{e: e, marks: map[string]bool{}, mine: e.Config.MineOnly, wide: map[string]int{}, laidW: -1, view: 10}
	for _, n := range e.Config.Columns {
		if c := columnNamed(strings.TrimSpace(n)); c != nil {
			f.cols = append(f.cols, c)
		}
	}
	if len(f.cols) == 0 {
		for i := range columns {
			f.cols = append(f.cols, &columns[i])
		}
	}
	f.sortCol = columnNamed("name")
	f.SortBy(e.Config.Sort)
	f.in.Hint = "words, ~fuzzy, !not"
	f.in.Set(arg)
	f.filter = parseFilter(arg)
	f.pane = detail.New(e, "").(*detail.Detail)
	f.rebuild()
	return f
}

// SortBy sorts by a column's name, downwards with "-" before it. It reports whether there is one.
func (f *Fleet) SortBy(s string) bool {
	down := false
	if rest, ok := strings.CutPrefix(s, "-"); ok {
		down, s = true, rest
	}
	c := columnNamed(s)
	if c == nil {
		return false
	}
	f.sortCol, f.sortDown = c, down
	f.rebuild()
	return true
}

// Filter sets the filter.
func (f *Fleet) Filter(s string) {
	f.in.Set(s)
	f.filter = parseFilter(s)
	f.rebuild()
}

// Init implements screen.Screen.
func (f *Fleet) Init() tea.Cmd { return nil }

// Title implements screen.Screen.
func (f *Fleet) Title() string { return "fleet" }

// Topic implements screen.Screen.
func (f *Fleet) Topic() string { return "fleet" }

// Typing implements screen.Typer.
func (f *Fleet) Typing() bool { return f.typing }

// Update implements screen.Screen.
func (f *Fleet) Update(msg tea.Msg) tea.Cmd {
	switch m := msg.(type) {
	case screen.Changed:
		f.merge(m.Fresh)
	case screen.Measured:
		f.measured()
	case tea.KeyMsg:
		if f.typing {
			return f.typeFilter(m)
		}
	}
	return nil
}

func (f *Fleet) typeFilter(k tea.KeyMsg) tea.Cmd {
	switch k.String() {
	case "enter":
		f.typing = false
	case "esc":
		f.typing = false
		f.Filter("")
	case "up", "ctrl+p":
		f.move(-1)
	case "down", "ctrl+n":
		f.move(1)
	default:
		if f.in.Update(k) {
			f.filter = parseFilter(f.in.Value())
			f.rebuild()
		}
	}
	return nil
}

func (f *Fleet) move(n int) {
	now := f.e.Now()
	f.hurry, f.movedAt = now.Sub(f.movedAt) < settle, now
	f.at += n
	f.clamp()
}

// Row is the row under the cursor, or nil.
func (f *Fleet) Row() *data.Row {
	if f.at >= 0 && f.at < len(f.rows) {
		return f.rows[f.at]
	}
	return nil
}

// Subjects implements screen.Subject: the marked rows in view's order, or the one under the cursor.
func (f *Fleet) Subjects() []*data.Row {
	if len(f.marks) > 0 {
		var out []*data.Row
		for _, r := range f.rows {
			if f.marks[r.ID] {
				out = append(out, r)
			}
		}
		return out
	}
	if r := f.Row(); r != nil {
		return []*data.Row{r}
	}
	return nil
}

// marked is the number of marked rows that are shown.
func (f *Fleet) marked() int {
	n := 0
	for _, r := range f.rows {
		if f.marks[r.ID] {
			n++
		}
	}
	return n
}

// Select puts the cursor on an instance.
func (f *Fleet) Select(id string) {
	if i := f.find(id); i >= 0 {
		f.at = i
		f.clamp()
	}
}
