package theme

import (
	"io"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"

	"berth/backend/api"
)

// Off ends every style.
const Off = "\x1b[0m"

// Back is what a text stands on.
type Back int

// The backgrounds.
const (
	Ground Back = iota // the terminal's own
	Sel                // the row under the cursor
	Bar                // the bar on top
	backs
)

// Style is a look: the escape sequence that begins it, for each background.
type Style struct{ on [backs]string }

// On returns the sequence that begins the style on a background; "" where nothing is needed.
func (s Style) On(b Back) string { return s.on[b] }

// Options is what a terminal can show.
type Options struct {
	Profile termenv.Profile // Ascii: no escape sequences at all
	NoColor bool            // attributes (bold, reverse) only
	Dark    bool
	ASCII   bool // no character beyond ASCII
}

// Theme is the look of the dashboard on one terminal.
type Theme struct {
	Options
	Glyphs

	Text, Dim, Bold, Accent, Title, Good, Busy, Bad, Odd, Idle Style
	Key, Border, Mark, Warn, Input, Button, ButtonOn, Danger   Style
	Rule, Caret                                                Style
}

type look struct {
	fg                    *color
	bg                    *color
	bold, faint, rev, und bool
}

// New makes the theme for a terminal.
func New(o Options) *Theme {
	t := &Theme{Options: o, Glyphs: unicodeGlyphs}
	if o.ASCII {
		t.Glyphs = asciiGlyphs
	}
	p := paletteOf(o.Dark)
	b := builder{o: o, r: lipgloss.NewRenderer(io.Discard, termenv.WithProfile(o.Profile)), p: p}
	if o.NoColor && o.Profile != termenv.Ascii {
		b.r.SetColorProfile(termenv.ANSI)
	} else {
		b.r.SetColorProfile(o.Profile)
	}
	t.Text = b.style(look{})
	t.Dim = b.style(look{fg: &p.dim, faint: b.few()})
	t.Bold = b.style(look{bold: true})
	t.Accent = b.style(look{fg: &p.accent})
	t.Title = b.style(look{fg: &p.accent, bold: true})
	t.Good = b.style(look{fg: &p.good})
	t.Busy = b.style(look{fg: &p.busy})
	t.Bad = b.style(look{fg: &p.bad})
	t.Odd = b.style(look{fg: &p.odd})
	t.Idle = t.Dim
	t.Key = b.style(look{fg: &p.accent, bold: true})
	t.Border = b.style(look{fg: &p.border, faint: b.few()})
	t.Rule = t.Border
	t.Mark = b.style(look{fg: &p.odd, bold: true})
	t.Warn = b.style(look{fg: &p.busy, bold: true})
	t.Caret = b.style(look{rev: true})
	t.Input = b.style(look{und: o.NoColor, bg: &p.field})
	t.Button = b.style(look{bg: &p.field})
	t.ButtonOn = b.style(look{fg: &p.onAccent, bg: &p.accent, bold: true, rev: o.NoColor})
	t.Danger = b.style(look{fg: &p.onAccent, bg: &p.bad, bold: true, rev: o.NoColor})
	return t
}

// builder renders looks into styles.
type builder struct {
	o Options
	r *lipgloss.Renderer
	p palette
}

// few reports whether there are too few colours for a quiet grey.
func (b builder) few() bool { return b.o.NoColor || b.o.Profile == termenv.ANSI }

func (b builder) style(l look) Style {
	var s Style
	if b.o.Profile == termenv.Ascii {
		return s
	}
	s.on[Ground] = b.begin(l)
	sel, bar := l, l
	if b.few() { // no fine background: the row is shown in reverse, which forgets the colours
		sel = look{rev: true, bold: l.bold}
		bar.bold = true
	} else {
		if sel.bg == nil {
			sel.bg = &b.p.sel
		}
		if bar.bg == nil {
			bar.bg = &b.p.bar
		}
	}
	s.on[Sel], s.on[Bar] = b.begin(sel), b.begin(bar)
	return s
}

func (b builder) begin(l look) string {
	s := b.r.NewStyle().Bold(l.bold).Faint(l.faint).Reverse(l.rev).Underline(l.und)
	if !b.o.NoColor {
		if l.fg != nil {
			s = s.Foreground(l.fg.lip())
		}
		if l.bg != nil {
			s = s.Background(l.bg.lip())
		}
	}
	on, _, _ := strings.Cut(s.Render("X"), "X")
	return on
}

// State returns the look of an instance's state.
func (t *Theme) State(s api.State) Style {
	switch s {
	case api.StateRunning:
		return t.Good
	case api.StateStopped:
		return t.Idle
	case api.StateCreateFailed, api.StateSetupFailed, api.StateUnusable:
		return t.Bad
	case api.StateUnknown:
		return t.Odd
	}
	if s.Changing() {
		return t.Busy
	}
	return t.Odd // a state of a newer daemon
}

// Level returns the look of an event's level.
func (t *Theme) Level(level string) Style {
	switch level {
	case "error":
		return t.Bad
	case "warn":
		return t.Busy
	}
	return t.Text
}

// LevelGlyph returns the sign of an event's level; "" for what is only told.
func (t *Theme) LevelGlyph(level string) string {
	switch level {
	case "error":
		return t.Bad_
	case "warn":
		return "!"
	}
	return ""
}

// Severity returns the sign and the look of a finding by its rank: 3 is critical, 2 a warning, 1 less, 0 none.
func (t *Theme) Severity(rank int) (string, Style) {
	switch rank {
	case 3:
		return t.Critical, t.Bad
	case 2:
		return t.Glyphs.Warning, t.Busy
	case 1:
		return t.Notice, t.Dim
	}
	return "", t.Dim
}

// Brackets are what stands around a button: it is known for one, and for the chosen one, without colour.
func (t *Theme) Brackets(chosen bool) (left, right string) {
	switch {
	case chosen:
		return "[ ", " ]"
	case t.NoColor || t.Profile == termenv.ANSI || t.Profile == termenv.Ascii:
		return "( ", " )"
	}
	return "  ", "  "
}
