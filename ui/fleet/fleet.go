package fleet

import (
	"strconv"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/ui/data"
	"berth/ui/detail"
	"berth/ui/list"
	"berth/ui/screen"
)

func itoa(n int) string { return strconv.Itoa(n) }

// Fleet is the screen.
type Fleet struct {
	e *screen.Env

	list.List
	rows, spare []*data.Row // in order; spare is the last order's memory
	mine        bool
	match       func(name, hay string) bool // the filter; nil: everything

	cols     []*column
	sortCol  *column
	sortedAt time.Time      // when the order was made anew
	byKey    []keyed        // memory of the last order by a figure
	wide     map[string]int // the content's width by column
	wideGen  int
	laid     []placed
	laidW    int
	laidWide int

	pane    *detail.Detail // of the row under the cursor, where the rows leave room
	paneID  string
	noPane  bool      // switched off
	noRoom  string    // why there is no room for it
	movedAt time.Time // the cursor, by the last key
	hurry   bool      // the key before it was pressed just before
}

// New makes the fleet's screen; arg is a filter.
func New(e *screen.Env, arg string) screen.Screen {
	f := &Fleet{e: e, mine: e.Config.MineOnly, wide: map[string]int{}, laidW: -1}
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
	f.pane = detail.New(e, "").(*detail.Detail)
	f.Sort = "name"
	f.Begin(list.Of{
		Len: func() int { return len(f.rows) }, ID: func(i int) string { return f.rows[i].ID }, Find: f.find,
		All: e.Store.Len,
		By:  f.shown, Lay: f.lay, Marking: true, Went: f.went, Now: e.Now, Open: func() tea.Cmd {
			return e.Send(screen.Open{Name: "detail", Arg: f.Row().ID})
		}}, arg)
	f.Hint("words, ~fuzzy, !not")
	if !f.SortByColumn(e.Config.Sort) {
		f.SortBy("name", false)
	}
	return f
}

// SortByColumn sorts by a column's name, downwards with "-" before it. It reports whether there is one.
func (f *Fleet) SortByColumn(s string) bool {
	s, down := strings.CutPrefix(s, "-")
	c := columnNamed(s)
	if c == nil {
		return false
	}
	f.SortBy(c.name, down)
	return true
}

// shown are the columns in sight, or all before anything was drawn: what S goes through.
func (f *Fleet) shown() []string {
	var out []string
	for _, c := range f.laid {
		out = append(out, c.name)
	}
	if len(out) == 0 {
		return ColumnNames()
	}
	return out
}

// Init implements screen.Screen.
func (f *Fleet) Init() tea.Cmd { return nil }

// Title implements screen.Screen.
func (f *Fleet) Title() string { return "fleet" }

// Topic implements screen.Screen.
func (f *Fleet) Topic() string { return "fleet" }

// Update implements screen.Screen.
func (f *Fleet) Update(msg tea.Msg) tea.Cmd {
	switch m := msg.(type) {
	case screen.Changed:
		f.merge(m.Fresh)
	case screen.Measured:
		f.measured()
	case tea.KeyMsg:
		return f.Type(m)
	}
	return nil
}

// went remembers when the cursor was moved: the pane follows when it rests.
func (f *Fleet) went(int) tea.Cmd {
	now := f.e.Now()
	f.hurry, f.movedAt = now.Sub(f.movedAt) < settle, now
	return nil
}

// Row is the row under the cursor, or nil.
func (f *Fleet) Row() *data.Row {
	if f.At >= 0 && f.At < len(f.rows) {
		return f.rows[f.At]
	}
	return nil
}

// Subjects implements screen.Subject: the marked rows in view's order, or the one under the cursor.
func (f *Fleet) Subjects() []*data.Row {
	var out []*data.Row
	for _, i := range f.Marked() {
		out = append(out, f.rows[i])
	}
	return out
}

// Select puts the cursor on an instance.
func (f *Fleet) Select(id string) { f.To(id) }

// passes reports whether a row is shown.
func (f *Fleet) passes(r *data.Row) bool {
	return (!f.mine || r.Mine) && (f.match == nil || f.match(r.Name, r.Haystack()))
}
