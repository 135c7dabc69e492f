package top

import (
	"cmp"
	"strconv"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/base/shellquote"
	"berth/ui/key"
	"berth/ui/list"
	"berth/ui/screen"
)

func do(f func()) func() tea.Cmd {
	return func() tea.Cmd {
		f()
		return nil
	}
}

// noProcesses says why there are no processes to sort, or "".
func (s *Top) noProcesses() string {
	if s.sample == nil || len(s.sample.Processes) == 0 {
		return "there are no processes here"
	}
	return ""
}

// Keys implements screen.Screen.
func (s *Top) Keys() []key.Binding {
	const look, procs = key.Looking, "Processes"
	if s.Typing() {
		return s.List.Keys()
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
	noGraph := none
	if none == "" && !s.graphed {
		noGraph = "no graph is in sight: h shows the history of what is under the cursor"
	}
	span := func(i int, desc string) key.Binding {
		b := key.Binding{Keys: []string{strconv.Itoa(i + 1)}, Group: look, Desc: desc, Why: noGraph,
			Do: func() tea.Cmd { s.past.span, s.past.cursor = i, -1; return s.fetch() }}
		if noGraph == "" && s.past.span == i && s.past.cursor < 0 {
			b.Why = "the graph shows the last " + ranges[i].name + " already"
		}
		return b
	}
	newer := noGraph
	if newer == "" && s.past.cursor < 0 {
		newer = "the graph ends with what is newest: ← reads further back"
	}
	noTree, noHistory := s.noProcesses(), noPast
	if s.page != overview {
		noTree = "processes are on the overview: esc goes back to it"
	}
	if s.page == graph {
		noHistory = "this is its history"
	}
	cursor := func(n int) func() tea.Cmd { return do(func() { s.past.cursor = max(-1, s.past.cursor+n) }) }
	bs := []key.Binding{
		key.Of("enter", none, func() tea.Cmd { return s.open(facts) }).As("all of it").
			Saying("Everything that is known of the thing under the cursor."),
		{Keys: []string{"h"}, Label: "history", Group: look, Desc: "Its history: 15 minutes, 6 hours, 30 days.", Why: noHistory,
			Do: func() tea.Cmd { return s.open(graph) }},
		s.endKey(k, noProc),
		{Keys: []string{"T"}, Label: "tree", Group: procs, Desc: "Show processes below their parents, or not.", Why: noTree,
			Do: do(func() { s.tree = !s.tree; s.Keep(s.build) })},
		{Keys: []string{"v"}, Group: look, Desc: "Another metric of the same thing in the graph.", Why: cmp.Or(noPast, noGraph),
			Do: func() tea.Cmd { c, _ := s.charted(); s.past.which[c.kind]++; s.past.cursor = -1; return s.fetch() }},
		span(0, "The last 15 minutes in the graph."), span(1, "The last 6 hours."), span(2, "The last 30 days."),
		{Keys: []string{"left"}, Show: "← →", Group: look, Desc: "Read the graph at a time.", Why: noGraph, Do: cursor(1)},
		{Keys: []string{"right"}, Why: newer, Do: cursor(-1)},
		{Keys: []string{"shift+left"}, Show: "shift+← →", Group: look, Desc: "The same, ten steps at once.", Why: noGraph,
			Do: cursor(10)},
		{Keys: []string{"shift+right"}, Why: newer, Do: cursor(-10)},
		key.Of("c", "", s.copyLine).Saying("Copy the command line that shows the same."),
		key.Of("y", none, func() tea.Cmd {
			return s.e.Send(screen.Copy{What: "its name", Text: s.nameOf(k)})
		}).Saying("Copy what the thing under the cursor is called."),
		{Keys: []string{"tab"}, Group: key.Moving, Desc: "To the next part: GPUs, host, disks, processes.",
			Do: func() tea.Cmd { s.jump(1); return s.fetch() }},
		{Keys: []string{"shift+tab"}, Group: key.Moving, Desc: "To the part before.",
			Do: func() tea.Cmd { s.jump(-1); return s.fetch() }},
	}
	if s.page == overview {
		for _, b := range s.List.Keys() {
			switch b.Keys[0] {
			case "/":
				b = b.Saying("Show only processes that match, of all on the host: words, ! before one that must not occur.")
			case "S":
				b = b.Saying("Sort processes by " + strings.Join(sortNames, ", ") + ".")
			case "esc": // below
				continue
			}
			if b.Keys[0] == "S" || b.Keys[0] == "I" || b.Keys[0] == "<" || b.Keys[0] == ">" {
				b.Why = s.noProcesses()
			}
			bs = append(bs, b)
		}
	} else {
		bs = append(bs, list.Moves(s.step, func() int { return max(1, s.view/2) })...)
		bs = append(bs, key.Of("/", "", do(func() { s.page = overview; s.Begins() })))
	}
	switch {
	case s.page != overview:
		for i := range bs {
			switch bs[i].Keys[0] {
			case "T":
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
				if s.of.kind != procItem && s.of.kind != gpuItem {
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
		for _, k := range []string{"esc", "q"} {
			bs = append(bs, key.Of(k, "", s.up).Saying("Back to the overview."))
		}
	case s.past.cursor >= 0 || s.Words() != "":
		bs = append(bs, key.Of("esc", "", func() tea.Cmd { s.past.cursor = -1; s.Filter(""); return s.refilter() }).As("clear").
			Saying("Take away the filter and the graph's cursor."))
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

// went follows a move of the cursor.
func (s *Top) went(int) tea.Cmd {
	s.past.cursor = -1
	return s.fetch()
}

// step scrolls the page of facts, or goes to the next thing of the kind whose graph is shown.
func (s *Top) step(n int) tea.Cmd {
	if s.page == facts {
		s.top = max(0, min(s.top+n, 1<<20))
		return nil
	}
	for i, k := range s.items {
		if !k.same(s.of) {
			continue
		}
		if j := i + max(-1, min(n, 1)); j >= 0 && j < len(s.items) && s.items[j].kind == s.of.kind {
			s.of, s.At = s.items[j], j
		}
		break
	}
	return s.fetch()
}

// jump goes to the next section.
func (s *Top) jump(d int) {
	if s.page != overview {
		return
	}
	for i, x := range s.sections {
		if s.At >= x.from && s.At < x.to {
			s.At = s.sections[(i+d+len(s.sections))%len(s.sections)].from
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
