package help

import (
	"encoding/json"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/assets"
	"berth/backend/base/plaintext"
	"berth/ui/draw"
	"berth/ui/key"
	"berth/ui/list"
	"berth/ui/markdown"
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
	e *screen.Env
	list.Pager
	doc    Doc
	topics []string
	topic  string // "": keys first
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
func (h *Help) Title() string { return "help" }

// Topic implements screen.Screen.
func (h *Help) Topic() string { return "start" }

// Update implements screen.Screen.
func (h *Help) Update(msg tea.Msg) tea.Cmd {
	if k, ok := msg.(tea.KeyMsg); ok {
		return h.Type(k)
	}
	return nil
}

// Keys implements screen.Screen.
func (h *Help) Keys() []key.Binding {
	if h.Typing() {
		return h.Pager.Keys()
	}
	turn := func(n int) func() tea.Cmd { return func() tea.Cmd { h.turn(n); return nil } }
	bs := []key.Binding{
		{Keys: []string{"tab", "right", "l"}, Show: "tab", Label: "next page", Group: key.Moving,
			Desc: "To the next help page.", Do: turn(1)},
		{Keys: []string{"shift+tab", "left", "h"}, Show: "shift+tab", Group: key.Moving, Desc: "To the help page before.",
			Do: turn(-1)},
		key.Of("?", "", func() tea.Cmd { return h.e.Send(screen.Back{}) }),
	}
	for _, b := range h.Pager.Keys() {
		if b.Keys[0] == "/" {
			b = b.Saying("Search the keys and all help pages.")
		}
		bs = append(bs, b)
	}
	return bs
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
	h.Move(-1 << 40)
}

// Draw implements screen.Screen.
func (h *Help) Draw(p *draw.Page) {
	w := min(h.Width(p)-2, 92)
	var pg draw.Page
	pg.Reset(h.e.Theme, h.Width(p), 1<<16)
	if p.Height() >= 16 {
		pg.Blank(1)
	}
	match := list.Match(h.Words())
	switch {
	case match != nil:
		h.found(&pg, w, match)
	case h.topic == "":
		h.keys(&pg, h.doc.Keys, w)
		if page, ok := assets.HelpPage(h.doc.Topic); ok {
			pg.Blank(1)
			h.page(&pg, page, w)
		}
	default:
		if page, ok := assets.HelpPage(h.topic); ok {
			h.page(&pg, page, w)
		}
	}
	h.Pager.Draw(p, h.e.Theme, pg.Drawn())
}

// found writes the keys of the screen and the paragraphs of all pages that match.
func (h *Help) found(pg *draw.Page, w int, match func(name, hay string) bool) {
	begin := pg.Len()
	var keys []Key
	for _, k := range h.doc.Keys {
		if match(k.Name, k.Name+" "+k.Desc+" "+k.Group) {
			keys = append(keys, k)
		}
	}
	h.keys(pg, keys, w)
	for _, topic := range h.topics {
		page, _ := assets.HelpPage(topic)
		title, out := "", []string(nil)
		for _, para := range paragraphs(page) {
			switch {
			case strings.HasPrefix(para, "#"):
				head, rest, _ := strings.Cut(para, "\n")
				if title == "" {
					title = strings.TrimLeft(head, "# ")
				}
				if rest != "" && match(topic, title+" "+para) {
					out = append(out, rest)
				}
			case match(topic, title+" "+para):
				out = append(out, para)
			}
		}
		if len(out) == 0 {
			continue
		}
		if pg.Len() > begin {
			pg.Blank(1)
		}
		h.page(pg, "# "+title+" ("+topic+")\n"+strings.Join(out, "\n\n"), w)
	}
	if pg.Len() == begin {
		pg.Line(theme.Ground).Space(2).Text(h.e.Theme.Dim, "Nothing in the help matches.")
	}
}

// paragraphs are those of a page; the lines of a shell that follow one belong to it.
func paragraphs(page string) []string {
	var out []string
	for _, p := range strings.Split(page, "\n\n") {
		if strings.HasPrefix(p, "    ") && len(out) > 0 {
			out[len(out)-1] += "\n\n" + p
			continue
		}
		out = append(out, p)
	}
	return out
}

// keys writes the keys, in groups, in two columns where there is room.
func (h *Help) keys(pg *draw.Page, keys []Key, w int) {
	t := h.e.Theme
	group, at := "", 14
	for _, k := range keys {
		at = max(at, 4+text.Width(ascii(t, k.Name))+1)
	}
	for _, k := range grouped(keys) {
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
		sign := t.Cross + " "
		for i, s := range text.Wrap(plaintext.Clean(k.Why), w-at-text.Width(sign)) {
			l := pg.Line(theme.Ground).To(at)
			if i == 0 {
				l.Text(t.Busy, sign)
			} else {
				l.Space(text.Width(sign))
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

// page writes a page of Markdown.
func (h *Help) page(pg *draw.Page, md string, w int) {
	t := h.e.Theme
	lines := markdown.Layout(ascii(t, md), w-2)
	for i := range lines {
		x := &lines[i]
		switch x.Kind {
		case markdown.Blank:
			pg.Blank(1)
			continue
		case markdown.Heading:
			l := pg.Line(theme.Ground).Space(2).Text(t.Title, x.String()).Space(1)
			l.Repeat(t.Rule, t.H, w-l.Col())
			continue
		case markdown.Block:
			pg.Line(theme.Ground).Space(x.Indent).Text(t.Accent, x.String())
			continue
		}
		l := pg.Line(theme.Ground).Space(2)
		if x.Mark == "-" {
			l.Glyph(t.Accent, t.Bullet)
		} else {
			l.Text(t.Accent, x.Mark)
		}
		l.To(2 + x.Indent)
		for _, s := range x.Spans {
			l.Text(map[markdown.Style]theme.Style{markdown.Plain: t.Text, markdown.Code: t.Key, markdown.Bold: t.Bold}[s.Style],
				s.Text)
		}
	}
}

// Status implements screen.Stater.
func (h *Help) Status(l *draw.Line) {
	if !h.Typing() && h.Words() == "" {
		l.Text(h.e.Theme.Dim, "pages: "+strings.Join(h.topics, ", "))
	}
	h.Pager.Status(l, h.e.Theme)
}
