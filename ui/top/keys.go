package top

import (
	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/base/shellquote"
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
func (s *Top) Keys() []key.Binding {
	const look, move, procs = "Looking", "Moving", "Processes"
	if s.typing {
		return []key.Binding{
			{Keys: []string{"enter"}, Label: "keep", Group: "Filter", Desc: "Keep the filter."},
			{Keys: []string{"esc"}, Label: "show all", Group: "Filter", Desc: "Take the filter away."},
			{Keys: []string{"!"}, Label: "not", Group: "Filter", Desc: "What does not match."},
		}
	}
	k, ok := s.current()
	none, noPast, noProc := "", "", ""
	if !ok {
		none = "there is nothing here yet"
	}
	if noPast = none; none == "" {
		if _, ok := s.charted(); !ok {
			noPast = "no history is kept of it"
		}
	}
	if noProc = none; none == "" {
		noProc = s.cantSignal(k)
	}
	step := func(n int) func() tea.Cmd { return func() tea.Cmd { s.move(n); return s.fetch() } }
	span := func(i int) func() tea.Cmd {
		return func() tea.Cmd { s.past.span, s.past.cursor = i, -1; return s.fetch() }
	}
	cursor := func(n int) func() tea.Cmd { return do(func() { s.past.cursor = max(-1, s.past.cursor+n) }) }
	bs := []key.Binding{
		{Keys: []string{"enter"}, Label: "all of it", Group: look,
			Desc: "Everything that is known of the thing under the cursor.", Why: none,
			Do: func() tea.Cmd { return s.open(facts) }},
		{Keys: []string{"h"}, Label: "history", Group: look, Desc: "Its history: 15 minutes, 6 hours, 30 days.", Why: noPast,
			Do: func() tea.Cmd { return s.open(graph) }},
		{Keys: []string{"x"}, Label: "signal", Group: procs, Desc: "Send a signal to the process; asks first.", Why: noProc,
			Do: s.signal},
		{Keys: []string{"/"}, Label: "filter", Group: procs,
			Desc: "Show only processes that match, of all on the host: words, ! for not.",
			Do:   do(func() { s.page, s.typing = overview, true })},
		{Keys: []string{"o"}, Label: "sort", Group: procs,
			Desc: "Sort processes by GPU memory, SM, CPU, memory, GPU, age, user, PID, command.",
			Do:   do(func() { s.sorted = (s.sorted + 1) % len(sortings); s.build() })},
		{Keys: []string{"i"}, Group: procs, Desc: "Turn their order round.",
			Do: do(func() { s.reversed = !s.reversed; s.build() })},
		{Keys: []string{"T"}, Label: "tree", Group: procs, Desc: "Show processes below their parents, or not.",
			Do: do(func() { s.tree = !s.tree; s.build() })},
		{Keys: []string{"v"}, Group: look, Desc: "Another metric of the same thing in the graph.", Why: noPast,
			Do: func() tea.Cmd { c, _ := s.charted(); s.past.which[c.kind]++; s.past.cursor = -1; return s.fetch() }},
		{Keys: []string{"1"}, Group: look, Desc: "The last 15 minutes in the graph.", Do: span(0)},
		{Keys: []string{"2"}, Group: look, Desc: "The last 6 hours.", Do: span(1)},
		{Keys: []string{"3"}, Group: look, Desc: "The last 30 days.", Do: span(2)},
		{Keys: []string{"left"}, Show: "← →", Group: look, Desc: "Read the graph at a time.", Do: cursor(1)},
		{Keys: []string{"right"}, Do: cursor(-1)},
		{Keys: []string{"shift+left"}, Show: "shift+← →", Group: look, Desc: "The same, ten steps at once.", Do: cursor(10)},
		{Keys: []string{"shift+right"}, Do: cursor(-10)},
		{Keys: []string{"t"}, Group: look, Desc: "Give this terminal to a shell on the instance; enter ~ . comes back.",
			Why: action.Why(s.e, s.e.Store.Row(s.id), action.Shell), Do: func() tea.Cmd {
				return action.Do(s.e, action.Shell, s.Subjects())
			}},
		{Keys: []string{"c", "Y"}, Show: "c", Group: look, Desc: "Copy the command line that shows the same.",
			Do: s.copyLine},
		{Keys: []string{"y"}, Group: look, Desc: "Copy what the thing under the cursor is called.", Why: none,
			Do: func() tea.Cmd {
				return s.e.Send(screen.Copy{What: "its name", Text: s.nameOf(k)})
			}},
		{Keys: []string{"tab"}, Show: "tab", Group: move, Desc: "To the next part: GPUs, host, disks, processes.",
			Do: func() tea.Cmd { s.jump(1); return s.fetch() }},
		{Keys: []string{"shift+tab"}, Group: move, Desc: "To the part before.",
			Do: func() tea.Cmd { s.jump(-1); return s.fetch() }},
		{Keys: []string{"down", "j"}, Show: "↓ j", Group: move, Desc: "Down.", Do: step(1)},
		{Keys: []string{"up", "k"}, Show: "↑ k", Group: move, Desc: "Up.", Do: step(-1)},
		{Keys: []string{"g", "home"}, Show: "g", Group: move, Desc: "To the top.", Do: step(-1 << 20)},
		{Keys: []string{"G", "end"}, Show: "G", Group: move, Desc: "To the end.", Do: step(1 << 20)},
		{Keys: []string{"pgdown", "ctrl+f"}, Show: "pgdn", Group: move, Desc: "A page down.", Do: step(max(1, s.view/2))},
		{Keys: []string{"pgup", "ctrl+b"}, Show: "pgup", Group: move, Desc: "A page up.", Do: step(-max(1, s.view/2))},
	}
	switch {
	case s.page != overview:
		for i := range bs {
			switch bs[i].Keys[0] {
			case "/", "o", "T":
				bs[i].Label = ""
			case "enter":
				if s.page == facts {
					bs[i].Label, bs[i].Why = "", "this is all of it"
				}
			case "h":
				if s.page == graph {
					bs[i].Label = ""
				}
			case "x":
				if s.of.kind != procItem {
					bs[i].Label = ""
				}
			}
			if s.page == graph {
				switch bs[i].Keys[0] {
				case "1":
					bs[i].Show, bs[i].Label = "1-3", "range"
				case "left":
					bs[i].Label = "read"
				case "v":
					bs[i].Label = "metric"
				}
			}
		}
		bs = append(bs, key.Binding{Keys: []string{"esc", "q"}, Show: "esc", Group: look, Desc: "Back to the overview.",
			Do: s.up})
	case s.past.cursor >= 0 || s.in.Value() != "":
		bs = append(bs, key.Binding{Keys: []string{"esc"}, Label: "clear", Group: look,
			Desc: "Take away the filter and the graph's cursor.",
			Do:   func() tea.Cmd { s.past.cursor = -1; s.in.Set(""); return s.refilter() }})
	}
	return bs
}

// open shows the thing under the cursor on a page of its own.
func (s *Top) open(p page) tea.Cmd {
	k, ok := s.current()
	if p == graph {
		k, ok = s.charted()
	}
	if !ok || s.page == p {
		return nil
	}
	s.back = s.page
	s.page, s.of, s.top = p, k, 0
	return s.fetch()
}

// up goes back to the page before.
func (s *Top) up() tea.Cmd {
	if s.past.cursor >= 0 {
		s.past.cursor = -1
		return nil
	}
	if s.page == graph {
		s.page = s.back
	} else {
		s.page = overview
	}
	s.back = overview
	return s.fetch()
}

// move puts the cursor n things on, or scrolls.
func (s *Top) move(n int) {
	switch s.page {
	case facts:
		s.top = max(0, s.top+n)
	case overview:
		s.at = max(0, min(s.at+n, len(s.items)-1))
		s.past.cursor = -1
	case graph: // to the next thing of the same kind
		for i, k := range s.items {
			if !k.same(s.of) {
				continue
			}
			if j := i + max(-1, min(n, 1)); j >= 0 && j < len(s.items) && s.items[j].kind == s.of.kind {
				s.of, s.at = s.items[j], j
			}
			return
		}
	}
}

// jump goes to the next section.
func (s *Top) jump(d int) {
	if s.page != overview {
		return
	}
	for i, x := range s.sections {
		if s.at >= x.from && s.at < x.to {
			s.at = s.sections[(i+d+len(s.sections))%len(s.sections)].from
			s.past.cursor = -1
			return
		}
	}
}

func (s *Top) copyLine() tea.Cmd {
	line := "berth top " + shellquote.Word(s.name)
	if r := s.e.Store.Row(s.id); r != nil {
		line = "berth top " + shellquote.Word(s.e.Store.Ref(r))
	}
	return s.e.Send(screen.Copy{What: "the command line", Text: line})
}
