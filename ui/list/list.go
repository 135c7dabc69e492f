package list

import (
	"slices"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/ui/key"
)

// Of is what a screen tells of the rows in its list. Only Len must be set.
type Of struct {
	Len     func() int
	All     func() int          // how many there are with those that are not shown
	ID      func(i int) string  // tells a row from the others, also when it stands elsewhere
	Find    func(id string) int // where a row stands now, or -1; nil: it is looked for by ID
	Skip    func(i int) bool    // the cursor passes over it
	Open    func() tea.Cmd      // what a second click does
	Went    func(n int) tea.Cmd // follows each move; n is how far it was asked for
	Now     func() time.Time    // for second clicks
	Tall    func() int          // rows above each other, where the list stands in several columns
	Lay     func()              // makes the rows anew, for other words or another order; nil: it can't be narrowed
	Also    func() bool         // esc takes something else away too; it reports whether there was something
	By      func() []string     // what it can be sorted by now; nil: it has one order
	Marking bool                // rows can be marked
}

// List is a cursor over rows.
type List struct {
	At    int             // the row under the cursor
	Marks map[string]bool // by ID
	Sort  string          // one of By
	Down  bool            // the order is turned round
	// Hit is the row at a place of the page, or -1, and View how many rows a page has: who draws the list sets them.
	Hit  func(x, y int) int
	View int

	Find
	of      Of
	top     int
	tops    []int // of columns of lines
	down    bool  // the cursor was moved down last
	clicked string
	click   time.Time
}

// doubleClick is the longest time between the two clicks of a double click.
const doubleClick = 500 * time.Millisecond

// Begin makes the list ready; words are a filter to begin with.
func (l *List) Begin(of Of, words string) {
	l.of, l.View, l.Marks = of, 10, map[string]bool{}
	l.in.Hint = "words, !not"
	l.in.Set(words)
	if of.By != nil && l.Sort == "" {
		l.Sort = of.By()[0]
	}
}

// Row reports whether there is a row under the cursor, and which.
func (l *List) Row() (int, bool) {
	return l.At, l.At >= 0 && l.At < l.of.Len() && !l.skip(l.At)
}

func (l *List) skip(i int) bool { return l.of.Skip != nil && l.of.Skip(i) }

// Top is the first row in sight.
func (l *List) Top() int { return l.top }

// Scroll returns the first line in sight of n, of which view are, so that the line at is one of them: the last one
// but as little as that takes.
func Scroll(top, at, view, n int) int {
	view = max(1, view)
	if at < top {
		top = at
	}
	if at >= top+view {
		top = at - view + 1
	}
	return max(0, min(top, n-view))
}

// fit keeps the cursor on a row and in sight of h lines.
func (l *List) fit(h int) int {
	l.View = max(1, h)
	n := l.clamp()
	l.top = Scroll(l.top, l.At, l.View, n)
	for l.top > 0 && l.At < l.top+l.View-1 && l.skip(l.top-1) { // its heading is seen, too
		l.top--
	}
	return n
}

// clamp keeps the cursor on a row that it does not pass over, if there is one.
func (l *List) clamp() int {
	n := l.of.Len()
	l.At = max(0, min(l.At, n-1))
	for i := l.At; i < n; i++ {
		if !l.skip(i) {
			l.At = i
			return n
		}
	}
	for i := l.At; i >= 0 && i < n; i-- {
		if !l.skip(i) {
			l.At = i
			break
		}
	}
	return n
}

// Move puts the cursor n rows on, as far as there are any.
func (l *List) Move(n int) tea.Cmd {
	all, step, left := l.of.Len(), 1, n
	l.down = n > 0
	if n < 0 {
		step, left = -1, -n
	}
	if l.of.Skip == nil {
		l.At, left = max(0, min(l.At+n, all-1)), 0
	}
	for i := l.At + step; i >= 0 && i < all && left > 0; i += step {
		if !l.skip(i) {
			l.At = i
			left--
		}
	}
	if l.of.Went != nil {
		return l.of.Went(n)
	}
	return nil
}

// To puts the cursor on the row with an id and reports whether there is one.
func (l *List) To(id string) bool {
	i := l.find(id)
	if i >= 0 {
		l.At = i
	}
	return i >= 0
}

// id is what tells the row under the cursor from the others.
func (l *List) id() string {
	if l.of.ID == nil || l.At < 0 || l.At >= l.of.Len() {
		return ""
	}
	return l.of.ID(l.At)
}

// find returns where a row stands, the nearest to the cursor where there are several, or -1.
func (l *List) find(id string) int {
	switch {
	case id == "":
		return -1
	case l.of.Find != nil:
		return l.of.Find(id)
	}
	n := l.of.Len()
	for d := range n + l.At {
		for _, i := range [2]int{l.At + d, l.At - d} {
			if i >= 0 && i < n && l.of.ID(i) == id {
				return i
			}
		}
	}
	return -1
}

// Keep runs a change of the rows and puts the cursor on its row again, at the same place on the screen; where the row
// is gone, on the one that took its place.
func (l *List) Keep(change func()) {
	id, y := l.id(), l.At-l.top
	change()
	if i := l.find(id); i >= 0 {
		l.At = i
	}
	n := l.clamp()
	l.top = Scroll(l.At-y, l.At, l.View, n)
}

// lay has the rows made anew for other words or another order.
func (l *List) lay() { l.Keep(l.of.Lay) }

// next sorts by what comes n after what it is sorted by.
func (l *List) next(n int) {
	by := l.of.By()
	i := slices.Index(by, l.Sort)
	l.SortBy(by[((i+n)%len(by)+len(by))%len(by)], false)
}

// SortBy sorts by one of By.
func (l *List) SortBy(by string, down bool) {
	l.Sort, l.Down = by, down
	l.lay()
}

// Marked are the places of the marked rows, or that of the row under the cursor where none is marked.
func (l *List) Marked() []int {
	var out []int
	if len(l.Marks) > 0 {
		for i := range l.of.Len() {
			if l.Marks[l.of.ID(i)] {
				out = append(out, i)
			}
		}
		return out
	}
	if i, ok := l.Row(); ok {
		out = append(out, i)
	}
	return out
}

func (l *List) toggle() {
	id := l.id()
	switch {
	case id == "":
	case l.Marks[id]:
		delete(l.Marks, id)
	default:
		l.Marks[id] = true
	}
}

func (l *List) markAll() {
	n, all := l.of.Len(), true
	for i := range n {
		all = all && (l.skip(i) || l.Marks[l.of.ID(i)])
	}
	clear(l.Marks)
	for i := 0; i < n && !all; i++ {
		if !l.skip(i) {
			l.Marks[l.of.ID(i)] = true
		}
	}
}

// Narrowed reports whether esc has something to take away.
func (l *List) Narrowed() bool { return len(l.Marks) > 0 || l.in.Value() != "" }

// Clear takes the marks away, or, without any, the filter.
func (l *List) Clear() {
	if len(l.Marks) > 0 {
		clear(l.Marks)
		return
	}
	l.in.Set("")
	l.lay()
}

// Keys are the bindings of the list: while its filter is typed in, those of the line only.
func (l *List) Keys() []key.Binding {
	if l.typing {
		return typingKeys
	}
	do := func(f func()) func() tea.Cmd { return func() tea.Cmd { f(); return nil } }
	var bs []key.Binding
	none := ""
	if l.of.Len() == 0 {
		none = "there is nothing in the list"
	}
	if l.of.Lay != nil {
		bs = append(bs, l.begin())
	}
	if l.of.By != nil {
		one := none
		if none == "" && len(l.of.By()) < 2 {
			one = "there is one order only; I turns it round"
		}
		bs = append(bs, key.Of("S", one, do(func() { l.next(1) })).As("sort"),
			key.Of("I", none, do(func() { l.SortBy(l.Sort, !l.Down) })),
			key.Binding{Keys: []string{"<"}, Group: key.Looking, Desc: "Sort by what comes before; > by what comes after.",
				Why: one, Do: do(func() { l.next(-1) })},
			key.Binding{Keys: []string{">"}, Why: one, Do: do(func() { l.next(1) })})
	}
	if l.of.Marking {
		bs = append(bs, key.Of(" ", none, func() tea.Cmd { l.toggle(); return l.Move(1) }),
			key.Of("*", none, do(l.markAll)))
	}
	bs = append(bs, Moves(l.Move, func() int { return l.View })...)
	if l.of.Tall != nil {
		bs = append(bs, key.Binding{Keys: []string{"right", "l"}, Show: "→ l", Group: key.Moving, Desc: "A column to the right.",
			Do: func() tea.Cmd { return l.Move(l.of.Tall()) }},
			key.Binding{Keys: []string{"left", "h"}, Show: "← h", Group: key.Moving, Desc: "A column to the left.",
				Do: func() tea.Cmd { return l.Move(-l.of.Tall()) }})
	}
	if l.Narrowed() {
		bs = append(bs, key.Of("esc", "", do(l.Clear)).As("clear").Saying("Take away marks and filter."))
	}
	return bs
}

// Moves are the bindings that move or scroll.
func Moves(move func(n int) tea.Cmd, page func() int) []key.Binding {
	step := func(n int) func() tea.Cmd { return func() tea.Cmd { return move(n) } }
	return []key.Binding{key.Of("j", "", step(1)), key.Of("k", "", step(-1)), key.Of("g", "", step(-1<<40)),
		key.Of("G", "", step(1<<40)),
		{Keys: []string{"pgdown", "ctrl+f"}, Show: "pgdn", Group: key.Moving, Desc: "A page down.",
			Do: func() tea.Cmd { return move(page()) }},
		{Keys: []string{"pgup", "ctrl+b"}, Show: "pgup", Group: key.Moving, Desc: "A page up.",
			Do: func() tea.Cmd { return move(-page()) }}}
}

// Mouse takes the mouse: a click selects, a second one opens, the wheel moves.
func (l *List) Mouse(m tea.MouseMsg) tea.Cmd {
	switch {
	case m.Button == tea.MouseButtonWheelDown:
		return l.Move(3)
	case m.Button == tea.MouseButtonWheelUp:
		return l.Move(-3)
	case m.Action != tea.MouseActionPress || m.Button != tea.MouseButtonLeft || l.Hit == nil:
		return nil
	}
	i := l.Hit(m.X, m.Y)
	if i < 0 || i >= l.of.Len() || l.skip(i) {
		return nil
	}
	cmd := l.Move(0)
	l.At = i
	if l.of.Marking && m.X < 2 {
		l.toggle()
		return cmd
	}
	if l.of.Open == nil {
		return cmd
	}
	id, now := l.id(), l.of.Now()
	if id == l.clicked && now.Sub(l.click) < doubleClick {
		l.clicked = ""
		return l.of.Open()
	}
	l.clicked, l.click = id, now
	return cmd
}
