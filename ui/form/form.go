package form

import (
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/base/plaintext"
	"berth/ui/draw"
	"berth/ui/text"
	"berth/ui/theme"
)

// Option is one value of a choice.
type Option struct{ Value, Label, Detail string }

// Field is one field of a form: text where Options is nil and Switch false.
type Field struct {
	Name    string
	Input   Input
	Options []Option
	At      int
	IsList  bool // a choice, even while it has no options yet
	Switch  bool
	On      bool
	OnText  string // what the switch says when on and off
	OffText string
	Off     string // why the field can't be used; empty: it can
	Note    string // below the field; Bad makes it an error
	Hint    string // below the note: what to do about it
	None    string // what stands for a list without options; empty: they are being looked for
	Bad     bool
	Good    bool
}

// Value is what the field holds.
func (f *Field) Value() string {
	switch {
	case f.IsList:
		if f.At >= 0 && f.At < len(f.Options) {
			return f.Options[f.At].Value
		}
		return ""
	case f.Switch:
		if f.On {
			return "on"
		}
		return "off"
	}
	return strings.TrimSpace(f.Input.Value())
}

// Pick chooses the option with a value, and reports whether there is one.
func (f *Field) Pick(v string) bool {
	for i, o := range f.Options {
		if o.Value == v {
			f.At = i
			return true
		}
	}
	return false
}

// Form is a column of fields and a button. Focus is a field's index, or len(Fields) for the button.
type Form struct {
	Fields []*Field
	Focus  int
	Button string

	top   int
	spots []spot
}

// spot is where a field was drawn.
type spot struct{ y, field int }

// Event is what a key did to the form.
type Event int

// The events.
const (
	Nothing Event = iota
	Edited        // the focused field has another value
	Moved
	Choose // a list wants to be opened
	Submit
	Cancel
)

// Update takes a key.
func (f *Form) Update(k tea.KeyMsg) Event {
	cur := f.Current()
	switch k.String() {
	case "esc":
		return Cancel
	case "ctrl+s":
		return Submit
	case "tab", "down":
		f.step(1)
		return Moved
	case "shift+tab", "up":
		f.step(-1)
		return Moved
	case "enter":
		switch {
		case cur == nil:
			return Submit
		case cur.IsList && len(cur.Options) > 0:
			return Choose
		case cur.IsList || cur.Off != "":
			f.step(1)
			return Moved
		}
		return Submit // of a form that lacks something, the focus goes there
	}
	if cur == nil || cur.Off != "" {
		return Nothing
	}
	switch {
	case cur.IsList:
		n := len(cur.Options)
		switch k.String() {
		case "left", "h":
			if n > 0 {
				cur.At = (cur.At + n - 1) % n
				return Edited
			}
		case "right", "l", " ":
			if n > 0 {
				cur.At = (cur.At + 1) % n
				return Edited
			}
		}
	case cur.Switch:
		switch k.String() {
		case "left", "right", " ", "h", "l":
			cur.On = !cur.On
			return Edited
		}
	default:
		before := cur.Input.Value()
		if cur.Input.Update(k) && cur.Input.Value() != before {
			return Edited
		}
	}
	return Nothing
}

// Current is the field in focus; nil is the button.
func (f *Form) Current() *Field {
	if f.Focus >= 0 && f.Focus < len(f.Fields) {
		return f.Fields[f.Focus]
	}
	return nil
}

func (f *Form) step(n int) {
	all := len(f.Fields) + 1
	f.Focus = (f.Focus + n + all) % all
}

const labels = 12

// Draw writes the form into a page.
func (f *Form) Draw(p *draw.Page, t *theme.Theme) {
	// Every field has its line, and below it what there is to say; gaps where there is room.
	need := 2
	for _, x := range f.Fields {
		need++
		if x.Note != "" || x.Off != "" {
			need++
		}
		if x.Hint != "" {
			need++
		}
	}
	gap := p.Left() >= need+len(f.Fields)
	var pg draw.Page
	pg.Reset(t, p.Width(), 1<<12)
	f.spots = f.spots[:0]
	focusY := 0
	for i, x := range f.Fields {
		on := i == f.Focus
		if on {
			focusY = pg.Len()
		}
		f.spots = append(f.spots, spot{pg.Len(), i})
		f.field(&pg, t, x, on)
		if gap {
			pg.Blank(1)
		}
	}
	if f.Focus >= len(f.Fields) {
		focusY = pg.Len() + 1
	}
	if !gap {
		pg.Blank(1)
	}
	f.spots = append(f.spots, spot{pg.Len(), len(f.Fields)})
	st := t.Button
	if f.Focus >= len(f.Fields) {
		st = t.ButtonOn
	}
	l, r := t.Brackets(f.Focus >= len(f.Fields))
	pg.Line(theme.Ground).Space(labels+2).Text(st, l+f.Button+r)
	lines := pg.Drawn()
	h := p.Left()
	f.top = max(0, min(f.top, len(lines)-h))
	if focusY < f.top {
		f.top = focusY
	}
	if focusY+1 >= f.top+h {
		f.top = min(focusY+2-h, len(lines)-h)
	}
	f.top = max(0, f.top)
	y0 := p.Len()
	shown := slices.Clone(lines[f.top:min(len(lines), f.top+h)])
	mark := func(y int, g string) {
		var l draw.Line
		l.Reset(t, 1, theme.Ground)
		draw.Over(shown, []string{string(l.Glyph(t.Accent, g).Bytes())}, p.Width()-1, y, 1)
	}
	if f.top > 0 {
		mark(0, t.Up)
	}
	if f.top+h < len(lines) {
		mark(len(shown)-1, t.Down)
	}
	p.Add(shown...)
	for i := range f.spots {
		f.spots[i].y += y0 - f.top
	}
}

func (f *Form) field(p *draw.Page, t *theme.Theme, x *Field, on bool) {
	l := p.Line(theme.Ground)
	label := t.Dim
	if on {
		l.Glyph(t.Accent, t.Cursor)
		label = t.Key
	} else {
		l.Space(1)
	}
	l.Space(1).Cell(label, x.Name, labels-1, false).Space(1)
	w := min(l.Room()-1, max(64, text.Width(x.Input.Value())+1))
	switch {
	case x.Off != "":
		for i, s := range text.Wrap(plaintext.Clean(x.Off), l.Room()-1) {
			if i > 0 {
				l = p.Line(theme.Ground).Space(labels + 2)
			}
			l.Text(t.Dim, s)
		}
	case x.IsList && len(x.Options) == 0 && x.None != "":
		l.Text(t.Dim, x.None)
	case x.IsList && len(x.Options) == 0:
		l.Text(t.Dim, "looking"+t.Ellipsis)
	case x.IsList:
		o := x.Options[max(0, min(x.At, len(x.Options)-1))]
		side := t.Dim
		if on {
			side = t.Accent
		}
		l.Glyph(side, t.Left).Space(1)
		l.Text(t.Bold, o.Label)
		l.Space(1).Glyph(side, t.Right)
		l.Space(2).Text(t.Dim, o.Detail)
	case x.Switch:
		word, st, g := x.OffText, t.Dim, t.Off_
		if x.On {
			word, st, g = x.OnText, t.Text, t.On
		}
		gs := t.Dim
		if x.On {
			gs = t.Good
		}
		l.Glyph(gs, g).Space(1).Text(st, word)
	default:
		x.Input.Draw(l, t, w, on)
	}
	if x.Note != "" {
		st, g := t.Dim, ""
		switch {
		case x.Bad:
			st, g = t.Bad, t.Cross+" "
		case x.Good:
			st, g = t.Good, t.Check+" "
		}
		for i, s := range text.Wrap(plaintext.Clean(x.Note), p.Width()-labels-6) {
			l := p.Line(theme.Ground).Space(labels + 2)
			if i == 0 {
				l.Glyph(st, g)
			} else {
				l.Space(text.Width(g))
			}
			l.Text(st, s)
		}
	}
	if x.Hint != "" {
		for _, s := range text.Wrap(plaintext.Clean(x.Hint), p.Width()-labels-6) {
			p.Line(theme.Ground).Space(labels+4).Text(t.Dim, s)
		}
	}
}

// Click puts the focus on what was clicked at line y and says what to do.
func (f *Form) Click(y int) Event {
	for i := len(f.spots) - 1; i >= 0; i-- {
		s := f.spots[i]
		if y < s.y {
			continue
		}
		if y > s.y && s.field == len(f.Fields) {
			return Nothing
		}
		was := f.Focus
		f.Focus = s.field
		cur := f.Current()
		switch {
		case y != s.y:
			return Moved
		case cur == nil:
			return Submit
		case cur.Off != "":
			return Moved
		case cur.IsList && len(cur.Options) > 0:
			return Choose
		case cur.Switch && was == s.field:
			cur.On = !cur.On
			return Edited
		}
		return Moved
	}
	return Nothing
}

// Error writes an error with its hint below a form.
func Error(p *draw.Page, t *theme.Theme, msg, hint string) {
	for i, s := range text.Wrap(plaintext.Clean(msg), p.Width()-6) {
		l := p.Line(theme.Ground).Space(1)
		if i == 0 {
			l.Glyph(t.Bad, t.Cross)
		}
		l.To(3).Text(t.Bad, s)
	}
	if hint == "" {
		return
	}
	for _, s := range text.Wrap(plaintext.Clean(hint), p.Width()-6) {
		p.Line(theme.Ground).Space(3).Text(t.Dim, s)
	}
}
