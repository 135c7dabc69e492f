package ui

import (
	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/ui/action"
	"berth/ui/data"
	"berth/ui/key"
	"berth/ui/screen"
)

// about is the name of the one instance that the screen on top is about, or "".
func (m *Model) about() string {
	if a, ok := m.top().(screen.About); ok {
		return a.About()
	}
	return ""
}

// goTo makes what a key does that opens a screen.
func (m *Model) goTo(name string, arg func() string) func() tea.Cmd {
	return func() tea.Cmd {
		if arg == nil {
			return m.open(name, "")
		}
		return m.open(name, arg())
	}
}

// instanceKeys are the bindings of the instance that the screen on top is about, or of those that are marked there:
// the same on every screen that shows one.
func (m *Model) instanceKeys() []key.Binding {
	s, ok := m.top().(screen.Subject)
	if !ok {
		return nil
	}
	e, rows := m.e, s.Subjects()
	var first *data.Row
	none, verb := "there is no instance here", action.Stop
	if name := m.about(); name != "" {
		none = name + " is gone"
	}
	if len(rows) > 0 {
		first, none = rows[0], ""
		if p, ok := s.(screen.Pointer); ok && p.Row() != nil { // of the marked ones, the one under the cursor
			first = p.Row()
		}
		verb = action.Toggle(first)
	}
	// A verb is offered if it can be done to any of them.
	why := func(v string) string {
		w := none
		for _, r := range rows {
			if w = action.Why(e, r, v); w == "" {
				return ""
			}
		}
		return w
	}
	do := func(k, v string) key.Binding {
		return key.Of(k, why(v), func() tea.Cmd { return action.Do(e, v, rows) })
	}
	see := func(k, name string) key.Binding {
		return key.Of(k, none, m.goTo(name, func() string { return first.ID }))
	}
	label := func(b key.Binding, yes bool, s string) key.Binding {
		if yes {
			return b.As(s)
		}
		return b
	}
	failed := first != nil && first.State == api.StateSetupFailed
	shell := key.Of("t", none, func() tea.Cmd { return action.Do(e, action.Shell, []*data.Row{first}) })
	if first != nil {
		shell.Why = action.Why(e, first, action.Shell)
	}
	bs := []key.Binding{
		shell.As("shell"), see("f", "top").As("figures"), do("s", verb).As(verb), do("r", action.Restart).As("restart"),
		do("d", action.Delete).As("delete"),
		{Keys: []string{"u"}, Group: key.Instance, Desc: "Go on with a set-up that failed, from the step that failed.",
			Why: why(action.Setup), Do: func() tea.Cmd { return action.Do(e, action.Setup, rows) }},
		{Keys: []string{"U"}, Group: key.Instance, Desc: "Let go of a set-up that failed: the instance is used as it is.",
			Why: why(action.LetGo), Do: func() tea.Cmd { return action.Do(e, action.LetGo, rows) }},
		label(see("b", "snapshots"), first != nil && first.Capabilities.Snapshots, "snapshots"),
		see("i", "inventory"), see("Q", "queue"), see("P", "ports"), do("C", action.Console),
		{Keys: []string{"A"}, Group: key.Instance, Desc: "All that can be done to it: clone it, make an image, …",
			Why: none, Do: func() tea.Cmd { return action.Menu(e, first) }},
		key.Of("y", none, func() tea.Cmd { return action.CopyMenu(e, first) }),
		key.Of("c", none, func() tea.Cmd { return action.Commands(e, rows) }).As("command"),
		key.Of("R", none, func() tea.Cmd { return action.Refresh(e, rows) }).Saying("Ask the provider how it is now."),
	}
	if failed {
		bs[5].Label = "set up"
	}
	return bs
}

// globals are the bindings that hold on every screen.
func (m *Model) globals() []key.Binding {
	const everywhere = key.Everywhere
	fixed, readOnly := "", ""
	if m.e.Config.ReadOnly {
		fixed = "the configuration says read-only"
	}
	if m.e.ReadOnly {
		readOnly = action.ReadOnly
	}
	bs := []key.Binding{
		key.Of("n", readOnly, m.goTo("create", nil)).As("new"),
		key.Of("e", "", m.goTo("events", m.about)).As("events"),
		key.Of("w", "", m.goTo("wall", nil)).As("wall"),
		key.Of("!", "", m.goTo("attention", nil)),
		key.Of(":", "", func() tea.Cmd { m.show(m.newPalette()); return nil }),
		key.Of("?", "", func() tea.Cmd { return m.open("help", m.helpArg()) }).As("help"),
		{Keys: []string{"L"}, Group: everywhere, Desc: "Read-only: nothing can be changed until it is switched off.",
			Why: fixed, Do: m.toggleReadOnly},
		key.Of("M", "", m.toggleMouse),
		{Keys: []string{"ctrl+l"}, Group: everywhere, Desc: "Draw the screen anew."},
		{Keys: []string{"ctrl+z"}, Group: everywhere, Desc: "Suspend; fg comes back."},
		{Keys: []string{"ctrl+c"}, Group: everywhere, Desc: "Leave at once; at a question: refuse the answer."},
	}
	quit := key.Of("q", "", m.quit).As("quit").Saying("Leave; what runs goes on running.")
	switch {
	case m.verb && len(m.stack) == 2 && m.top().Topic() == "top":
		return append(bs, quit, key.Of("esc", "", m.back).As("fleet").Saying("To all instances."))
	case len(m.stack) > 1:
		back := key.Of("esc", "", m.back).As("back").Saying("Back to the screen before.")
		also := key.Of("q", "", m.back).Saying("Back to the screen before.")
		return append(bs, back, also)
	}
	return append(bs, quit)
}
