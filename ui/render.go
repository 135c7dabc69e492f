package ui

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"

	"berth/backend/base/plaintext"
	"berth/ui/data"
	"berth/ui/draw"
	"berth/ui/key"
	"berth/ui/money"
	"berth/ui/screen"
	"berth/ui/text"
	"berth/ui/theme"
)

// render draws the frame that View returns.
func (m *Model) render() {
	m.e.BeginFrame()
	if m.w <= 0 || m.h <= 0 {
		m.frame = ""
		return
	}
	bar, status, hints := 0, 0, 0
	if m.h >= 3 {
		bar = 1
	}
	if m.h >= 4 {
		status = 1
	}
	if m.h >= 6 {
		hints = 1
	}
	lines := make([]string, 0, m.h)
	if bar > 0 {
		lines = append(lines, m.drawBar())
	}
	room := m.h - bar - status - hints
	if status > 0 {
		status = max(1, len(m.command(room/4)))
	}
	m.body = [2]int{bar, m.h - bar - status - hints}
	m.page.Reset(m.e.Theme, m.w, m.body[1])
	m.top().Draw(&m.page)
	lines = append(lines, m.page.Lines()...)
	if status > 0 {
		lines = append(lines, make([]string, status)...)
		said := m.drawStatus(room / 2) // what does not fit into its place covers the last lines of the page
		lines = append(lines[:len(lines)-len(said)], said...)
	}
	if hints > 0 {
		lines = append(lines, m.drawHints())
	}
	for _, d := range m.dialogs {
		box := d.Box(m.e, m.w, m.h)
		d.h, d.w = len(box), 0
		for _, l := range box {
			d.w = max(d.w, lineWidth(l))
		}
		d.x, d.y = max(0, (m.w-d.w)/2), max(0, (m.h-d.h)/2)
		draw.Over(lines, box, d.x, d.y, d.w)
	}
	m.frame = strings.Join(lines, "\n")
}

// segment is a piece of the bar.
type segment struct {
	st    theme.Style
	s     string
	short string // where there is little room; empty: s
	must  bool   // others are written short before it is left out
}

func (m *Model) drawBar() string {
	t := m.e.Theme
	l := &m.bar
	l.Reset(t, m.w, theme.Bar)
	l.Space(1).Text(t.Title, "Berth")
	sep := " " + t.Right + " "
	path := m.path()
	for i, s := range path {
		st := t.Dim
		if i == len(path)-1 {
			st = t.Text
		}
		if l.Room() > 4 {
			l.Text(t.Dim, sep).Text(st, s)
		}
	}
	right := m.summary()
	w := 1
	for _, s := range right {
		if s.must {
			w += text.Width(s.s) + 2
		}
	}
	if w > l.Room() {
		for i := range right {
			if right[i].short != "" {
				right[i].s = right[i].short
			}
		}
	}
	for len(right) > 0 {
		w := 1
		for _, s := range right {
			w += text.Width(s.s) + 2
		}
		if w <= l.Room() {
			l.To(m.w - w)
			for _, s := range right {
				l.Space(2).Text(s.st, s.s)
			}
			break
		}
		right = right[:len(right)-1]
	}
	return string(l.Bytes())
}

// path is where the screen on top stands: the screens below it by their one-word names, and before those that are
// about one instance its name, once.
func (m *Model) path() []string {
	var out []string
	about := ""
	for _, s := range m.stack {
		if a, ok := s.(screen.About); ok && a.About() != "" && a.About() != about {
			about = a.About()
			out = append(out, about)
		}
		if s.Title() != "" {
			out = append(out, s.Title())
		}
	}
	return out
}

// summary is the right side of the bar, the most important first.
func (m *Model) summary() []segment {
	t := m.e.Theme
	var out []segment
	if m.e.ReadOnly {
		out = append(out, segment{st: t.Warn, s: "READ-ONLY"})
	}
	s := m.e.Store.Totals()
	if s.All == 0 {
		return out
	}
	count := func(n int, st theme.Style, glyph, word string, must bool) {
		if n > 0 {
			out = append(out, segment{st, fmt.Sprintf("%s %d %s", glyph, n, word), fmt.Sprintf("%s %d", glyph, n), must})
		}
	}
	f := m.e.Store.FigureTotals(m.e.Clock())
	switch {
	case f.Critical > 0:
		out = append(out, segment{st: t.Bad, s: fmt.Sprintf("%s %d", t.Critical, f.Critical), must: true})
	case f.Warning > 0:
		out = append(out, segment{st: t.Busy, s: fmt.Sprintf("%s %d", t.Glyphs.Warning, f.Warning), must: true})
	}
	count(s.Running, t.Good, t.Running, "running", true)
	count(s.Changing, t.Busy, t.Going, "changing", true)
	count(s.Failed, t.Bad, t.Bad_, "failed", true)
	count(s.Unknown, t.Odd, t.Odd_, "unknown", true)
	if s.PerHourKnown && (s.PerHour > 0 || s.Unpriced == 0) {
		out = append(out, segment{st: t.Text, s: money.Sum(s.PerHour, s.Unpriced > 0) + "/h", must: true})
	}
	switch {
	case f.Any && f.Busy+f.Idle+f.Lost > 0:
		gpus := fmt.Sprintf("GPUs %d busy %d idle", f.Busy, f.Idle)
		if f.Lost > 0 {
			gpus += fmt.Sprintf(" %d lost", f.Lost)
		}
		out = append(out, segment{st: t.Text, s: gpus, short: fmt.Sprintf("GPUs %d/%d busy", f.Busy, f.Busy+f.Idle+f.Lost)})
	case s.GPUs > 0:
		out = append(out, segment{st: t.Dim, s: english.Plural(s.GPUs, "GPU", "") + " on"})
	}
	if idle, short := idleCost(&f); idle != "" {
		out = append(out, segment{st: t.Busy, s: idle, short: short})
	}
	if f.PowerKnown {
		out = append(out, segment{st: t.Dim, s: money.Figure(&f.Power, money.Watt)})
	}
	count(s.Stopped, t.Idle, t.Stopped, "stopped", false)
	if s.TodayKnown {
		out = append(out, segment{st: t.Text, s: money.USD(s.Today) + " today"})
	}
	return out
}

// idleCost says what idle GPUs cost now and have cost today; "+?" is what is not known of the day.
func idleCost(f *data.FigureTotals) (long, short string) {
	today := ""
	if f.IdleToday >= 0.01 {
		today = money.Sum(f.IdleToday, f.IdleUnsure > 0) + " today"
	}
	switch {
	case f.IdleKnown && f.IdlePerHour > 0:
		short = "idle " + money.USD(f.IdlePerHour) + "/h"
		if today != "" {
			return short + ", " + today, short
		}
		return short, short
	case today != "":
		return "idle " + today, "idle " + today
	}
	return "", ""
}

// drawStatus draws the status line; what must be read takes up to most lines more where it does not fit into one.
func (m *Model) drawStatus(most int) []string {
	t := m.e.Theme
	l := &m.bar
	l.Reset(t, m.w, theme.Ground)
	l.Space(1)
	now := m.e.Clock()
	if m.toast.Text != "" && !m.until.IsZero() {
		if now.Before(m.until) {
			m.e.ExpireAt(m.until)
		} else {
			m.toast = screen.Toast{}
		}
	}
	switch {
	case m.toast.Text != "":
		st := t.Level(m.toast.Level)
		if g := t.LevelGlyph(m.toast.Level); g != "" {
			l.Glyph(st, g).Space(1)
		}
		return m.wrapped(st, m.toast.Text, most)
	case !m.e.Store.Connected && m.e.Store.Err != nil:
		l.Text(t.Warn, "reconnecting"+t.Ellipsis).Space(1).Text(t.Dim, "what is shown may be old: ").Text(t.Dim,
			m.e.Store.Err.Error())
	case m.after != nil:
		l.Text(t.Text, "Its shell opens when it is ready.").Text(t.Dim, " Any key keeps you here.")
	default:
		if s, ok := m.top().(screen.Stater); ok {
			s.Status(l)
		}
		if l.Col() == 1 {
			if said := m.command(most / 2); said != nil {
				return said
			}
		}
	}
	return []string{string(l.Bytes())}
}

// command draws the command line that does what the screen on top does, in one line and up to most more; nil: there is
// none.
func (m *Model) command(most int) []string {
	s, ok := m.top().(screen.Commander)
	if !ok {
		return nil
	}
	m.bar.Reset(m.e.Theme, m.w, theme.Ground)
	m.bar.Space(1).Text(m.e.Theme.Dim, "$ ")
	return m.wrapped(m.e.Theme.Dim, s.Command(), most)
}

// wrapped writes a text into the line that was begun, and into up to most more.
func (m *Model) wrapped(st theme.Style, s string, most int) []string {
	l, from := &m.bar, m.bar.Col()
	parts := text.Fold(plaintext.Clean(s), l.Room())
	if len(parts) > most+1 {
		parts = append(parts[:most:most], strings.Join(parts[most:], "")) // cut, with a mark
	}
	var out []string
	for i, p := range parts {
		if i > 0 {
			l.Reset(m.e.Theme, m.w, theme.Ground)
			l.Space(from)
		}
		l.Text(st, p)
		if len(parts) > 1 { // over the page
			l.To(m.w)
		}
		out = append(out, string(l.Bytes()))
	}
	return out
}

func (m *Model) drawHints() string {
	t := m.e.Theme
	l := &m.bar
	l.Reset(t, m.w, theme.Ground)
	l.Space(1)
	if len(m.dialogs) > 0 { // it takes the keys, and names its own
		return string(l.Bytes())
	}
	global := m.globals()
	end := []*key.Binding{key.Find(global, "?"), key.Find(global, "esc")}
	if end[1] == nil {
		end[1] = key.Find(global, "q")
	}
	bs := m.top().Keys()
	if s, ok := m.top().(screen.Typer); ok && s.Typing() {
		end = nil
	} else {
		// What is the screen's own, then what is done to the instance; how a list is narrowed and sorted is known.
		narrows := func(b key.Binding) bool { return b.Keys[0] == "/" || b.Keys[0] == "S" }
		own := slices.DeleteFunc(slices.Clone(bs), narrows)
		rest := slices.DeleteFunc(bs, func(b key.Binding) bool { return !narrows(b) })
		var inst []key.Binding
		if len(m.Subjects()) > 0 || m.about() != "" {
			inst = m.instanceKeys()
		}
		most := min(3, len(inst)) // those that are used most
		bs = slices.Concat(own, inst[:most], global, rest, inst[most:])
	}
	reserve := 0
	for _, b := range end {
		reserve += hintWidth(b) + 2
	}
	hint := func(b *key.Binding) {
		if b.Why != "" {
			l.Text(t.Border, "("+b.Name()+" "+b.Label+")")
		} else {
			l.Text(t.Key, b.Name()).Space(1).Text(t.Dim, b.Label)
		}
		l.Space(2)
	}
	said := make(map[string]bool, len(bs))
	for i := range bs {
		b := &bs[i]
		before := said[b.Keys[0]]
		said[b.Keys[0]] = true
		if b.Label == "" || before || slices.ContainsFunc(end, func(x *key.Binding) bool { return x.Keys[0] == b.Keys[0] }) ||
			hintWidth(b) > l.Room()-reserve {
			continue
		}
		hint(b)
	}
	for _, b := range end {
		if hintWidth(b) <= l.Room() {
			hint(b)
		}
	}
	return string(l.Bytes())
}

func hintWidth(b *key.Binding) int {
	n := text.Width(b.Name()) + 1 + len(b.Label)
	if b.Why != "" {
		n += 2
	}
	return n
}
