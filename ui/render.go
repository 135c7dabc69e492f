package ui

import (
	"fmt"
	"strings"

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
	m.body = [2]int{bar, m.h - bar - status - hints}
	m.page.Reset(m.e.Theme, m.w, m.body[1])
	m.top().Draw(&m.page)
	lines = append(lines, m.page.Lines()...)
	if status > 0 {
		lines = append(lines, m.drawStatus())
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
	for i, s := range m.stack {
		st := t.Dim
		if i == len(m.stack)-1 {
			st = t.Text
		}
		if l.Room() > 4 {
			l.Text(t.Dim, sep).Text(st, s.Title())
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
	if s.PerHourKnown {
		sum := money.USD(s.PerHour) + "/h"
		if s.Unpriced > 0 {
			sum = money.USD(s.PerHour) + "+?/h" // and what is not known
		}
		out = append(out, segment{st: t.Text, s: sum, must: true})
	}
	switch {
	case f.Any && f.Busy+f.Idle+f.Lost > 0:
		gpus := fmt.Sprintf("GPUs %d busy %d idle", f.Busy, f.Idle)
		if f.Lost > 0 {
			gpus += fmt.Sprintf(" %d lost", f.Lost)
		}
		out = append(out, segment{st: t.Text, s: gpus, short: fmt.Sprintf("GPUs %d/%d busy", f.Busy, f.Busy+f.Idle+f.Lost)})
	case s.GPUs > 0:
		out = append(out, segment{st: t.Dim, s: fmt.Sprintf("%d GPUs on", s.GPUs)})
	}
	if idle, short := idleCost(&f); idle != "" {
		out = append(out, segment{st: t.Busy, s: idle, short: short})
	}
	if f.PowerKnown {
		out = append(out, segment{st: t.Dim, s: watts(f.Power)})
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
		today = money.USD(f.IdleToday)
		if f.IdleUnsure > 0 {
			today += "+?"
		}
		today += " today"
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

// watts writes a power.
func watts(w float64) string {
	if w >= 1000 {
		return fmt.Sprintf("%.1f kW", w/1000)
	}
	return fmt.Sprintf("%.0f W", w)
}

func (m *Model) drawStatus() string {
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
		switch m.toast.Level {
		case "error":
			l.Glyph(t.Bad, t.Bad_).Space(1).Text(t.Bad, m.toast.Text)
		case "warn":
			l.Text(t.Busy, "! ").Text(t.Text, m.toast.Text)
		default:
			l.Text(t.Text, m.toast.Text)
		}
	case !m.e.Store.Connected && m.e.Store.Err != nil:
		l.Text(t.Warn, "reconnecting"+t.Ellipsis).Space(1).Text(t.Dim, "what is shown may be old: ").Text(t.Dim,
			m.e.Store.Err.Error())
	case m.after != nil:
		l.Text(t.Text, "Its shell opens when it is ready.").Text(t.Dim, " Any key keeps you here.")
	default:
		if s, ok := m.top().(screen.Stater); ok {
			s.Status(l)
		}
	}
	return string(l.Bytes())
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
	end := []*key.Binding{key.Find(global, "?"), key.Find(global, "q")}
	if s, ok := m.top().(screen.Typer); ok && s.Typing() {
		end = nil
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
	bs := m.top().Keys()
	for i := range bs {
		b := &bs[i]
		if b.Label == "" || hintWidth(b) > l.Room()-reserve {
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
