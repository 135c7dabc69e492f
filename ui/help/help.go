package help

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/assets"
	"berth/backend/base/plaintext"
	"berth/ui/draw"
	"berth/ui/key"
	"berth/ui/screen"
	"berth/ui/text"
	"berth/ui/theme"
)

// Key is one line of the list of keys.
type Key struct{ Name, Desc, Group, Why string }

// Doc is what the screen is about; it travels as the JSON argument of screen.Open.
type Doc struct {
	Title, Topic string
	Keys         []Key
}

// Help is the screen.
type Help struct {
	e         *screen.Env
	doc       Doc
	topics    []string
	topic     string // "": keys first
	top, view int
	total     int
}

// New makes the screen; arg is a Doc in JSON, or the name of a topic.
func New(e *screen.Env, arg string) screen.Screen {
	h := &Help{e: e, topics: assets.HelpTopics()}
	if err := json.Unmarshal([]byte(arg), &h.doc); err != nil {
		h.topic = arg
		if _, ok := assets.HelpPage(arg); !ok {
			h.topic = "start"
		}
	}
	return h
}

// Init implements screen.Screen.
func (h *Help) Init() tea.Cmd { return nil }

// Title implements screen.Screen.
func (h *Help) Title() string {
	if h.topic != "" {
		return "help: " + h.topic
	}
	return "help"
}

// Topic implements screen.Screen.
func (h *Help) Topic() string { return "start" }

// Update implements screen.Screen.
func (h *Help) Update(tea.Msg) tea.Cmd { return nil }

// Keys implements screen.Screen.
func (h *Help) Keys() []key.Binding {
	const move = "Moving"
	step := func(n int) func() tea.Cmd { return func() tea.Cmd { h.top += n; return nil } }
	turn := func(n int) func() tea.Cmd { return func() tea.Cmd { h.turn(n); return nil } }
	return []key.Binding{
		{Keys: []string{"tab", "right", "l"}, Show: "tab", Label: "next page", Group: move, Desc: "To the next help page.",
			Do: turn(1)},
		{Keys: []string{"shift+tab", "left", "h"}, Show: "shift+tab", Group: move, Desc: "To the help page before.",
			Do: turn(-1)},
		{Keys: []string{"down", "j"}, Show: "↓ j", Label: "down", Group: move, Desc: "Down.", Do: step(1)},
		{Keys: []string{"up", "k"}, Show: "↑ k", Label: "up", Group: move, Desc: "Up.", Do: step(-1)},
		{Keys: []string{"pgdown", " ", "ctrl+f"}, Show: "space", Label: "page", Group: move, Desc: "A page down.",
			Do: func() tea.Cmd { h.top += h.view; return nil }},
		{Keys: []string{"pgup", "ctrl+b"}, Show: "pgup", Group: move, Desc: "A page up.",
			Do: func() tea.Cmd { h.top -= h.view; return nil }},
		{Keys: []string{"g", "home"}, Show: "g", Group: move, Desc: "To the top.", Do: step(-1 << 30)},
		{Keys: []string{"G", "end"}, Show: "G", Group: move, Desc: "To the end.", Do: step(1 << 30)},
		{Keys: []string{"?"}, Do: func() tea.Cmd { return h.e.Send(screen.Back{}) }},
	}
}

// turn goes to another page; the keys of the screen are the first.
func (h *Help) turn(n int) {
	pages := h.topics
	if len(h.doc.Keys) > 0 {
		pages = append([]string{""}, pages...)
	}
	at := 0
	for i, p := range pages {
		if p == h.topic {
			at = i
		}
	}
	h.topic = pages[(at+n+len(pages))%len(pages)]
	h.top = 0
}

// Mouse implements screen.Mouser.
func (h *Help) Mouse(m tea.MouseMsg) tea.Cmd {
	switch m.Button {
	case tea.MouseButtonWheelDown:
		h.top += 3
	case tea.MouseButtonWheelUp:
		h.top -= 3
	}
	return nil
}

// Draw implements screen.Screen.
func (h *Help) Draw(p *draw.Page) {
	w := min(p.Width()-4, 92)
	var pg draw.Page
	pg.Reset(h.e.Theme, p.Width(), 1<<12)
	if p.Height() >= 16 {
		pg.Blank(1)
	}
	if h.topic == "" {
		h.keys(&pg, w)
		if page, ok := assets.HelpPage(h.doc.Topic); ok {
			pg.Blank(1)
			h.page(&pg, page, w)
		}
	} else if page, ok := assets.HelpPage(h.topic); ok {
		h.page(&pg, page, w)
	}
	lines := pg.Drawn()
	h.total, h.view = len(lines), p.Height()
	h.top = max(0, min(h.top, len(lines)-p.Height()))
	p.Add(lines[h.top:min(len(lines), h.top+p.Height())]...)
}

// keys writes the keys, in groups, in two columns where there is room.
func (h *Help) keys(pg *draw.Page, w int) {
	t := h.e.Theme
	group, at := "", 14
	for _, k := range h.doc.Keys {
		at = max(at, 4+text.Width(ascii(t, k.Name))+1)
	}
	for _, k := range grouped(h.doc.Keys) {
		if k.Group != group {
			group = k.Group
			if pg.Len() > 1 {
				pg.Blank(1)
			}
			l := pg.Line(theme.Ground).Space(2).Text(t.Title, group).Space(1)
			l.Repeat(t.Rule, t.H, w-l.Col())
		}
		for i, s := range text.Wrap(k.Desc, w-at) {
			l := pg.Line(theme.Ground)
			if i == 0 {
				st := t.Key
				if k.Why != "" {
					st = t.Dim
				}
				l.Space(4).Text(st, ascii(t, k.Name))
			}
			l.To(at).Text(t.Text, s)
		}
		if k.Why == "" {
			continue
		}
		for i, s := range text.Wrap(plaintext.Clean(k.Why), w-at-9) {
			l := pg.Line(theme.Ground).To(at)
			if i == 0 {
				l.Text(t.Busy, "not now: ")
			} else {
				l.Space(9)
			}
			l.Text(t.Dim, s)
		}
	}
}

// grouped puts the keys of one group together, in the order in which the groups first occur.
func grouped(keys []Key) []Key {
	var groups []string
	for _, k := range keys {
		if !slices.Contains(groups, k.Group) {
			groups = append(groups, k.Group)
		}
	}
	out := slices.Clone(keys)
	slices.SortStableFunc(out, func(a, b Key) int { return slices.Index(groups, a.Group) - slices.Index(groups, b.Group) })
	return out
}

// ascii names arrow keys in words where arrows can't be drawn.
func ascii(t *theme.Theme, s string) string {
	if !t.ASCII {
		return s
	}
	return strings.NewReplacer("↓", "down", "↑", "up", "←", "left", "→", "right").Replace(s)
}

// page writes a page of the little Markdown that help pages use: headings, paragraphs, lists, code.
func (h *Help) page(pg *draw.Page, md string, w int) {
	t := h.e.Theme
	var para []string
	flush := func(indent int, bullet bool) {
		if len(para) == 0 {
			return
		}
		for i, s := range text.Wrap(strings.Join(para, " "), w-2-indent) {
			l := pg.Line(theme.Ground).Space(2)
			if bullet && i == 0 {
				l.Glyph(t.Accent, t.Bullet)
			}
			l.To(2 + indent)
			h.spans(l, s)
		}
		para = para[:0]
	}
	bullet := false
	end := func() {
		if bullet {
			flush(2, true)
		} else {
			flush(0, false)
		}
		bullet = false
	}
	for _, line := range strings.Split(strings.TrimSpace(md), "\n") {
		switch {
		case strings.HasPrefix(line, "#"):
			end()
			l := pg.Line(theme.Ground).Space(2).Text(t.Title, strings.TrimLeft(line, "# ")).Space(1)
			l.Repeat(t.Rule, t.H, w-l.Col())
		case strings.TrimSpace(line) == "":
			end()
			pg.Blank(1)
		case strings.HasPrefix(line, "    "):
			end()
			pg.Line(theme.Ground).Space(4).Text(t.Accent, strings.TrimSpace(line))
		case strings.HasPrefix(line, "- "):
			end()
			bullet = true
			para = append(para, line[2:])
		default:
			para = append(para, strings.TrimSpace(line))
		}
	}
	end()
}

// spans writes a line with `code` in it.
func (h *Help) spans(l *draw.Line, s string) {
	t := h.e.Theme
	for i, part := range strings.Split(s, "`") {
		st := t.Text
		if i%2 == 1 {
			st = t.Key
		}
		l.Text(st, ascii(t, part))
	}
}

// Status implements screen.Stater.
func (h *Help) Status(l *draw.Line) {
	t := h.e.Theme
	l.Text(t.Dim, "pages: "+strings.Join(h.topics, ", "))
	if h.total > h.view && l.Room() > 12 {
		l.End(t.Dim, fmt.Sprintf("%d%%", 100*(h.top+h.view)/h.total))
	}
}
