package fleet

import (
	"cmp"
	"fmt"
	"slices"

	tea "github.com/charmbracelet/bubbletea"

	"berth/ui/action"
	"berth/ui/key"
	"berth/ui/screen"
)

// Keys implements screen.Screen.
func (f *Fleet) Keys() []key.Binding {
	if f.Typing() {
		return append(f.List.Keys(), key.Binding{Keys: []string{"~"}, Label: "fuzzy", Group: key.Looking,
			Desc: "Letters in this order, anywhere in the name."})
	}
	do := func(g func()) func() tea.Cmd { return func() tea.Cmd { g(); return nil } }
	none, readOnly := "", ""
	if f.Row() == nil {
		none = "there is no instance here"
	}
	if f.e.ReadOnly {
		readOnly = action.ReadOnly
	}
	enter := key.Of("enter", none, func() tea.Cmd { return f.e.Send(screen.Open{Name: "detail", Arg: f.Row().ID}) }).
		Saying("Show everything about the instance.")
	if none == "" {
		enter = enter.As("open")
	}
	adopt := key.Binding{Keys: []string{"a"}, Group: key.Looking, Desc: "Adopt a machine that exists.", Why: readOnly,
		Do: func() tea.Cmd { return f.e.Send(screen.Open{Name: "adopt"}) }}
	if f.e.Store.Len() == 0 {
		adopt.Label = "adopt"
	}
	bs := []key.Binding{
		enter, adopt,
		{Keys: []string{"m"}, Group: key.Looking, Desc: "Show only my instances, or all.",
			Do: do(func() { f.mine = !f.mine; f.Keep(f.lay) })},
		{Keys: []string{"p"}, Group: key.Looking,
			Desc: "Show or hide the instance below the list, where there is room for it.", Why: cmp.Or(none, f.noRoom),
			Do: do(func() { f.noPane = !f.noPane })},
		{Keys: []string{"1"}, Show: "1-9", Group: key.Looking, Desc: "Sort by the first, second … column; again turns it round.",
			Why: none, Do: do(func() { f.sortVisible(0) })},
	}
	for i, k := range []string{"2", "3", "4", "5", "6", "7", "8", "9"} {
		why := none
		if n := len(f.laid); i+1 >= n {
			why = cmp.Or(why, fmt.Sprintf("there are %d columns in sight", n))
		}
		bs = append(bs, key.Binding{Keys: []string{k}, Why: why, Do: do(func() { f.sortVisible(i + 1) })})
	}
	return slices.Concat(bs, f.List.Keys())
}

func (f *Fleet) sortVisible(i int) {
	if i < len(f.laid) {
		f.sortOn(f.laid[i].name)
	}
}

// sortOn sorts by a column; by the same one again, the other way round.
func (f *Fleet) sortOn(name string) { f.SortBy(name, name == f.Sort && !f.Down) }

// Mouse implements screen.Mouser: besides what it does in every list, a click on a heading sorts.
func (f *Fleet) Mouse(m tea.MouseMsg) tea.Cmd {
	if m.Y == 0 && m.Action == tea.MouseActionPress && m.Button == tea.MouseButtonLeft {
		for _, c := range f.laid {
			if m.X >= c.x && m.X < c.x+c.w {
				f.sortOn(c.name)
			}
		}
		return nil
	}
	return f.List.Mouse(m)
}
