package dialog

import (
	"berth/backend/base/plaintext"
	"berth/ui/draw"
	"berth/ui/screen"
	"berth/ui/text"
	"berth/ui/theme"
)

// frame draws a border with a title around what body writes, w cells wide in all. The body is
// written through a function that begins a line inside the frame.
type frame struct {
	t     *theme.Theme
	w     int // of the whole box
	line  draw.Line
	lines []string
	empty []bool // lines that say nothing, and go first where there is no room
	open  bool
}

func newFrame(e *screen.Env, title string, w int, st theme.Style) *frame {
	f := &frame{t: e.Theme, w: w}
	t := e.Theme
	f.line.Reset(t, w, theme.Ground)
	f.line.Glyph(t.Border, t.TL).Glyph(t.Border, t.H)
	if title != "" {
		title = text.Truncate(plaintext.Clean(title), w-6, t.Ellipsis)
		f.line.Space(1).Text(st, title).Space(1)
	}
	f.line.Repeat(t.Border, t.H, w-1-f.line.Col()).Glyph(t.Border, t.TR)
	f.lines, f.empty = append(f.lines, string(f.line.Bytes())), append(f.empty, false)
	return f
}

// inner is the width inside the frame.
func (f *frame) inner() int { return max(0, f.w-4) }

// next is the number of the line that begins next, counted from the top of the box.
func (f *frame) next() int {
	f.close()
	return len(f.lines)
}

func (f *frame) begin() *draw.Line {
	f.close()
	f.line.Reset(f.t, f.w, theme.Ground)
	f.line.Glyph(f.t.Border, f.t.V).Space(1)
	f.line.Limit(f.w - 2) // the border has its place, whatever is written
	f.open = true
	return &f.line
}

func (f *frame) close() {
	if !f.open {
		return
	}
	empty := f.line.Col() <= 2
	f.line.Limit(f.w)
	f.line.To(f.w - 1)
	f.line.Glyph(f.t.Border, f.t.V)
	f.lines, f.empty = append(f.lines, string(f.line.Bytes())), append(f.empty, empty)
	f.open = false
}

func (f *frame) blank() { f.begin() }

// text writes a paragraph, wrapped.
func (f *frame) text(st theme.Style, s string) {
	for _, para := range plaintext.Lines(s) {
		for _, l := range text.Wrap(para, f.inner()) {
			f.begin().Text(st, l)
		}
	}
}

// item writes a paragraph that hangs from a bullet.
func (f *frame) item(bullet, st theme.Style, s string) {
	w := text.Width(f.t.Bullet) + 1
	for i, l := range text.Wrap(plaintext.Clean(s), f.inner()-w) {
		line := f.begin()
		if i == 0 {
			line.Glyph(bullet, f.t.Bullet).Space(1)
		} else {
			line.Space(w)
		}
		line.Text(st, l)
	}
}

// commandLines is how many lines a command line may take; that of thousands of instances would fill any screen.
const commandLines = 4

// command writes a command line, wrapped.
func (f *frame) command(s string) {
	lines := text.Fold(plaintext.Clean(s), f.inner()-2)
	for i, l := range lines {
		sign := "  "
		if i == 0 {
			sign = "$ "
		}
		if i == commandLines-1 && len(lines) > commandLines {
			l = text.Truncate(l, f.inner()-2-text.Width(f.t.Ellipsis), "") + f.t.Ellipsis
		}
		if i < commandLines {
			f.begin().Text(f.t.Dim, sign+l)
		}
	}
}

// end closes the box; keys are named on its lower border.
func (f *frame) end(keys string, h int) []string {
	f.close()
	f.line.Reset(f.t, f.w, theme.Ground)
	f.line.Glyph(f.t.Border, f.t.BL)
	if n := text.Width(keys); keys != "" && n+6 <= f.w {
		f.line.Repeat(f.t.Border, f.t.H, f.w-4-n).Space(1).Text(f.t.Dim, keys).Space(1)
	}
	f.line.Repeat(f.t.Border, f.t.H, f.w-1-f.line.Col()).Glyph(f.t.Border, f.t.BR)
	last := string(f.line.Bytes())
	for i := len(f.lines) - 1; i > 0 && len(f.lines) > h-1; i-- {
		if f.empty[i] {
			f.lines = append(f.lines[:i], f.lines[i+1:]...)
		}
	}
	if len(f.lines) > h-1 && h > 2 { // the end of a box holds what is asked: cut in the middle
		keep := min(4, h-2)
		tail := f.lines[len(f.lines)-keep:]
		f.lines = f.lines[: h-1-keep : h-1-keep]
		if n := len(f.lines) - 1; n > 0 { // with a mark where something is missing
			f.line.Reset(f.t, f.w, theme.Ground)
			f.line.Glyph(f.t.Border, f.t.V).Space(1).Glyph(f.t.Accent, f.t.Ellipsis)
			f.lines[n] = string(f.line.To(f.w-1).Glyph(f.t.Border, f.t.V).Bytes())
		}
		f.lines = append(f.lines, tail...)
	}
	return append(f.lines, last)
}

// boxWidth is how wide a box is on a screen of w cells.
func boxWidth(w, want int) int { return max(1, min(want, w-2)) }

// row writes one line of a list, up to column end, on the cursor's background where it is chosen.
func row(l *draw.Line, t *theme.Theme, on, first bool, label, detail string, lw, end int) {
	if on {
		l.Back(theme.Sel)
	}
	if on && first {
		l.Glyph(t.Accent, t.Cursor)
	} else {
		l.Space(1)
	}
	l.Cell(t.Text, label, min(lw, end-l.Col()), false)
	l.Space(2)
	l.Cell(t.Dim, detail, end-l.Col(), false)
	l.Back(theme.Ground)
}
