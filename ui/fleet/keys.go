package fleet

import (
	"slices"

	tea "github.com/charmbracelet/bubbletea"

	"berth/ui/action"
	"berth/ui/key"
	"berth/ui/screen"
)

func do(f func()) func() tea.Cmd {
	return func() tea.Cmd {
		f()
		return nil
	}
}

// Keys implements screen.Screen.
func (f *Fleet) Keys() []key.Binding {
	e := f.e
	r := f.Row()
	if f.typing {
		return typingKeys
	}
	none := ""
	if r == nil {
		none = "there is no instance here"
	}
	verb := action.Stop
	if r != nil {
		verb = action.Toggle(r)
	}
	on := func(v string) func() tea.Cmd {
		return func() tea.Cmd { return action.Do(e, v, f.Subjects()) }
	}
	// With marks, an action is offered if it can be done to any of them.
	why := func(v string) string {
		if len(f.marks) == 0 {
			return action.Why(e, r, v)
		}
		w := ""
		for _, s := range f.Subjects() {
			if w = action.Why(e, s, v); w == "" {
				return ""
			}
		}
		return w
	}
	readOnly := ""
	if e.ReadOnly {
		readOnly = "read-only: nothing is changed from here (R switches it off)"
	}
	const move, acts, view = "Moving", "Acting", "Looking"
	bs := []key.Binding{
		{Keys: []string{"enter"}, Label: "open", Group: acts, Desc: "Show everything about the instance.", Why: none,
			Do: func() tea.Cmd { return e.Send(screen.Open{Name: "detail", Arg: r.ID}) }},
		{Keys: []string{"n"}, Label: "new", Group: acts, Desc: "Make an instance.", Why: readOnly,
			Do: func() tea.Cmd { return e.Send(screen.Open{Name: "create"}) }},
		{Keys: []string{"t"}, Label: "shell", Group: acts,
			Desc: "Give this terminal to a shell on the instance; enter ~ . comes back.", Why: action.Why(e, r, action.Shell),
			Do: on(action.Shell)},
		{Keys: []string{"f"}, Label: "figures", Group: view, Desc: "Its GPUs, processes, disks and their history, live.",
			Why: none,
			Do:  func() tea.Cmd { return e.Send(screen.Open{Name: "top", Arg: r.ID}) }},
		{Keys: []string{"s"}, Label: verb, Group: acts, Desc: "Start what is stopped, stop what runs.", Why: why(verb),
			Do: func() tea.Cmd { return action.Do(e, verb, f.Subjects()) }},
		{Keys: []string{"w"}, Label: "wall", Group: view, Desc: "All GPUs of the fleet on one screen.",
			Do: func() tea.Cmd { return e.Send(screen.Open{Name: "wall"}) }},
		{Keys: []string{"r"}, Label: "restart", Group: acts, Desc: "Restart the instance.", Why: why(action.Restart),
			Do: on(action.Restart)},
		{Keys: []string{"d"}, Label: "delete", Group: acts,
			Desc: "Delete the instance and its disk, or forget an adopted one; asks first.", Why: why(action.Delete),
			Do: on(action.Delete)},
		{Keys: []string{"/"}, Label: "filter", Group: view, Desc: "Show only what matches: words, ~ for fuzzy, ! for not.",
			Do: do(func() { f.typing = true })},
		{Keys: []string{" "}, Show: "space", Group: acts, Desc: "Mark the instance; actions then go to all marked ones.",
			Why: none, Do: do(f.toggleMark)},
		{Keys: []string{"*"}, Group: acts, Desc: "Mark all that are shown, or none.", Why: none, Do: do(f.markAll)},
		{Keys: []string{"a"}, Label: "adopt", Group: acts, Desc: "Take in a machine that exists: over SSH, or this computer.",
			Why: readOnly,
			Do:  func() tea.Cmd { return e.Send(screen.Open{Name: "adopt"}) }},
		{Keys: []string{"c", "Y"}, Show: "c", Group: acts, Desc: "Show and copy the command lines that do the same.",
			Why: none,
			Do:  func() tea.Cmd { return action.Commands(e, f.Subjects()) }},
		{Keys: []string{"y"}, Label: "copy", Group: acts, Desc: "Copy a value of the instance to the clipboard.", Why: none,
			Do: func() tea.Cmd { return action.CopyMenu(e, r) }},
		{Keys: []string{"e"}, Label: "events", Group: view, Desc: "What happened, as it happens.",
			Do: func() tea.Cmd { return e.Send(screen.Open{Name: "events"}) }},
		{Keys: []string{"b"}, Group: view, Desc: "The snapshots of the instance: take one, go back to one, delete one.",
			Why: none,
			Do:  func() tea.Cmd { return e.Send(screen.Open{Name: "snapshots", Arg: r.ID}) }},
		{Keys: []string{"m"}, Label: "mine", Group: view, Desc: "Show only my instances, or all.",
			Do: do(func() { f.mine = !f.mine; f.rebuild() })},
		{Keys: []string{"p"}, Group: view, Desc: "Show or hide the instance below the list, where there is room for it.",
			Do: do(func() { f.noPane = !f.noPane })},
		{Keys: []string{"1", "2", "3", "4", "5", "6", "7", "8", "9"}, Show: "1-9", Group: view,
			Desc: "Sort by the first, second … column; again turns it round.", Do: nil},
		{Keys: []string{"<", ">"}, Show: "< >", Group: view, Desc: "Sort by the column to the left or right.", Do: nil},
		{Keys: []string{"i"}, Group: view, Desc: "Turn the order round.",
			Do: do(func() { f.sortDown = !f.sortDown; f.rebuild() })},
		{Keys: []string{"ctrl+r"}, Group: view, Desc: "Ask the provider how the instances are now.", Why: none,
			Do: func() tea.Cmd { return action.Refresh(e, f.Subjects()) }},
		{Keys: []string{"down", "j"}, Show: "↓ j", Group: move, Desc: "Down.", Do: do(func() { f.move(1) })},
		{Keys: []string{"up", "k"}, Show: "↑ k", Group: move, Desc: "Up.", Do: do(func() { f.move(-1) })},
		{Keys: []string{"g", "home"}, Show: "g", Group: move, Desc: "To the first.", Do: do(func() { f.move(-len(f.rows)) })},
		{Keys: []string{"G", "end"}, Show: "G", Group: move, Desc: "To the last.", Do: do(func() { f.move(len(f.rows)) })},
		{Keys: []string{"pgdown", "ctrl+f"}, Show: "pgdn", Group: move, Desc: "A page down.",
			Do: do(func() { f.move(f.view) })},
		{Keys: []string{"pgup", "ctrl+b"}, Show: "pgup", Group: move, Desc: "A page up.", Do: do(func() { f.move(-f.view) })},
	}
	for i, k := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9"} {
		bs = append(bs, key.Binding{Keys: []string{k}, Do: do(func() { f.sortVisible(i) })})
	}
	bs = append(bs, key.Binding{Keys: []string{"<"}, Do: do(func() { f.sortNext(-1) })}, key.Binding{Keys: []string{">"},
		Do: do(func() { f.sortNext(1) })})
	if e.Store.Len() == 0 { // nothing to act on: the footer says how to begin
		for i := range bs {
			if !slices.Contains([]string{"n", "a", "e"}, bs[i].Keys[0]) {
				bs[i].Label = ""
			}
		}
	}
	if !f.filter.empty() || len(f.marks) > 0 {
		bs = append(bs, key.Binding{Keys: []string{"esc"}, Label: "clear", Group: view, Desc: "Take away marks and filter.",
			Do: do(f.clear)})
	}
	return bs
}

// typingKeys are the keys while the filter is typed; the typing itself is done by Update.
var typingKeys = []key.Binding{
	{Keys: []string{"enter"}, Label: "keep", Group: "Filter", Desc: "Keep the filter."},
	{Keys: []string{"esc"}, Label: "show all", Group: "Filter", Desc: "Take the filter away."},
	{Keys: []string{"down"}, Show: "↓ ↑", Label: "move", Group: "Filter", Desc: "Move among what matches."},
	{Keys: []string{"~"}, Label: "fuzzy", Group: "Filter", Desc: "Letters in this order, anywhere in the name."},
	{Keys: []string{"!"}, Label: "not", Group: "Filter", Desc: "What does not match."},
}

func (f *Fleet) clear() {
	if len(f.marks) > 0 {
		clear(f.marks)
		return
	}
	f.Filter("")
}

func (f *Fleet) toggleMark() {
	id := f.cursorID()
	if f.marks[id] {
		delete(f.marks, id)
	} else {
		f.marks[id] = true
	}
	f.move(1)
}

func (f *Fleet) markAll() {
	all := true
	for _, r := range f.rows {
		all = all && f.marks[r.ID]
	}
	clear(f.marks)
	if !all {
		for _, r := range f.rows {
			f.marks[r.ID] = true
		}
	}
}

func (f *Fleet) sortVisible(i int) {
	if i < len(f.laid) {
		f.sortOn(f.laid[i].column)
	}
}

func (f *Fleet) sortOn(c *column) {
	f.sortDown = c == f.sortCol && !f.sortDown
	f.sortCol = c
	f.rebuild()
}

func (f *Fleet) sortNext(d int) {
	for i, c := range f.laid {
		if c.column == f.sortCol {
			f.sortCol, f.sortDown = f.laid[(i+d+len(f.laid))%len(f.laid)].column, false
			f.rebuild()
			return
		}
	}
	f.sortVisible(0)
}
