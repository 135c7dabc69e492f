package draw

import (
	"strings"

	"github.com/charmbracelet/x/ansi"

	"berth/ui/theme"
)

// Page is a block of lines of one width. The zero Page is empty; Reset begins one.
type Page struct {
	t     *theme.Theme
	w, h  int
	line  Line
	open  bool
	lines []string
}

// Reset begins a page of w by h cells.
func (p *Page) Reset(t *theme.Theme, w, h int) {
	p.t, p.w, p.h, p.lines, p.open = t, max(w, 0), max(h, 0), p.lines[:0], false
}

// Width and Height are the page's size in cells.
func (p *Page) Width() int { return p.w }

// Height is the page's number of lines.
func (p *Page) Height() int { return p.h }

// Len is the number of lines begun.
func (p *Page) Len() int {
	if p.open {
		return len(p.lines) + 1
	}
	return len(p.lines)
}

// Left is the number of lines that still fit.
func (p *Page) Left() int { return p.h - p.Len() }

func (p *Page) close() {
	if p.open {
		p.lines = append(p.lines, string(p.line.Bytes()))
		p.open = false
	}
}

// Line begins the next line; what is written beyond the page's height is dropped.
func (p *Page) Line(back theme.Back) *Line {
	p.close()
	p.open = true
	p.line.Reset(p.t, p.w, back)
	return &p.line
}

// Blank adds n empty lines.
func (p *Page) Blank(n int) {
	for range n {
		p.Line(theme.Ground)
	}
}

// Fill adds empty lines until n lines are left.
func (p *Page) Fill(n int) { p.Blank(p.Left() - n) }

// Add adds lines that are already drawn.
func (p *Page) Add(lines ...string) {
	p.close()
	p.lines = append(p.lines, lines...)
}

// Lines returns exactly as many lines as the page is high.
func (p *Page) Lines() []string {
	p.close()
	for len(p.lines) < p.h {
		p.lines = append(p.lines, "")
	}
	return p.lines[:p.h]
}

// String joins the lines.
func (p *Page) String() string { return strings.Join(p.Lines(), "\n") }

// Over lays a block over lines, its corner at column x and line y. Lines must be drawn ones.
func Over(lines []string, block []string, x, y, w int) {
	for i, b := range block {
		if y+i < 0 || y+i >= len(lines) {
			continue
		}
		under := lines[y+i]
		var s strings.Builder
		left := ansi.Truncate(under, x, "")
		put(&s, left)
		for n := ansi.StringWidth(left); n < x; n++ {
			s.WriteByte(' ')
		}
		put(&s, b)
		if all := ansi.StringWidth(under); all > x+w {
			right := ansi.TruncateLeft(under, x+w, "")
			if ansi.StringWidth(right) > all-x-w { // the block's edge goes through a wide character
				right = " " + ansi.TruncateLeft(under, x+w+1, "")
			}
			put(&s, right)
		}
		lines[y+i] = s.String()
	}
}

// put writes a piece of a drawn line and ends its style, if it has one.
func put(b *strings.Builder, s string) {
	b.WriteString(s)
	if strings.IndexByte(s, 0x1b) >= 0 {
		b.WriteString(theme.Off)
	}
}

// Drawn returns the lines written so far.
func (p *Page) Drawn() []string {
	p.close()
	return p.lines
}
