package markdown

import (
	"regexp"
	"strings"
	"sync"

	"berth/ui/text"
)

// Style is how a span is to look.
type Style int

// The styles of spans.
const (
	Plain Style = iota
	Code
	Bold
)

// Span is text of one style.
type Span struct {
	Style Style
	Text  string
}

// Kind is what a line is.
type Kind int

// The kinds of lines.
const (
	Text Kind = iota // of a paragraph or a list
	Heading
	Block // of code, as it was written
	Blank
)

// Line is a line as it is shown. Its text begins Indent cells from the left. On the first line of an item of a list
// Mark ("-", "1.") stands before it, from the left.
type Line struct {
	Kind   Kind
	Indent int
	Mark   string
	Spans  []Span
}

// String is the line's text without indent and mark.
func (l *Line) String() string {
	var b strings.Builder
	for _, s := range l.Spans {
		b.WriteString(s.Text)
	}
	return b.String()
}

// blockIndent is how far code is indented in the text, and where it is shown.
const blockIndent = "    "

var item = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(-|\*|[0-9]{1,3}\.) +`) })

// Layout breaks a page into lines of at most w cells. Only code may be wider.
func Layout(page string, w int) []Line { return layout(page, w, "") }

// Marked is Layout for where styles can't be shown: `code` keeps its signs, which tell it from the words around it.
func Marked(page string, w int) []Line { return layout(page, w, "`") }

func layout(page string, w int, sign string) []Line {
	var out []Line
	var para []string
	mark := ""
	end := func() {
		if len(para) == 0 {
			return
		}
		indent := 0
		if mark != "" {
			indent = len(mark) + 1
		}
		for i, spans := range wrap(inline(strings.Join(strings.Fields(strings.Join(para, " ")), " "), sign), max(w-indent, 1)) {
			l := Line{Indent: indent, Spans: spans}
			if i == 0 {
				l.Mark = mark
			}
			out = append(out, l)
		}
		para, mark = nil, ""
	}
	for line := range strings.SplitSeq(strings.Trim(page, "\n"), "\n") {
		line = strings.TrimRight(line, " \t")
		switch {
		case line == "":
			end()
			out = append(out, Line{Kind: Blank})
		case strings.HasPrefix(line, "#"):
			end()
			out = append(out, Line{Kind: Heading, Spans: inline(strings.TrimLeft(line, "# "), sign)})
		case strings.HasPrefix(line, blockIndent) && len(para) == 0:
			out = append(out, Line{Kind: Block, Indent: len(blockIndent), Spans: []Span{{Code, line[len(blockIndent):]}}})
		default:
			if m := item().FindString(line); m != "" {
				end()
				mark, line = strings.TrimRight(m, " "), line[len(m):]
			}
			para = append(para, strings.TrimSpace(line))
		}
	}
	end()
	return out
}

// inline finds `code`, which is put between signs, and **bold**. A sign that has no partner stands for itself.
func inline(s, keep string) []Span {
	var out []Span
	add := func(style Style, text string) {
		if text != "" {
			out = append(out, Span{style, text})
		}
	}
	for s != "" {
		at := strings.IndexAny(s, "`*")
		if at < 0 {
			break
		}
		sign, style := "`", Code
		if s[at] == '*' {
			sign, style = "**", Bold
		}
		rest, ok := strings.CutPrefix(s[at:], sign)
		inner, after, closed := strings.Cut(rest, sign)
		if !ok || !closed || inner == "" {
			add(Plain, s[:at+1])
			s = s[at+1:]
			continue
		}
		add(Plain, s[:at])
		if style == Code {
			inner = keep + inner + keep
		}
		add(style, inner)
		s = after
	}
	add(Plain, s)
	return out
}

// wrap breaks spans into lines of at most w cells, at spaces where there are any.
func wrap(spans []Span, w int) [][]Span {
	// The lines are those of the bare text; the styles are laid over them again.
	var bare strings.Builder
	for _, s := range spans {
		bare.WriteString(s.Text)
	}
	var out [][]Span
	i, left := 0, ""
	if len(spans) > 0 {
		left = spans[0].Text
	}
	for _, line := range text.Wrap(bare.String(), w) {
		var got []Span
		for line != "" {
			for left == "" && i+1 < len(spans) {
				i++
				left = spans[i].Text
			}
			if left == "" {
				return append(out, []Span{{Plain, line}})
			}
			// Between lines spaces are dropped, and several within one are one.
			if left[0] == ' ' && line[0] != ' ' {
				left = left[1:]
				continue
			}
			n := common(line, left)
			if n == 0 { // bytes that are no text were cut elsewhere
				return append(out, []Span{{Plain, line}})
			}
			got = append(got, Span{spans[i].Style, line[:n]})
			line, left = line[n:], left[n:]
		}
		out = append(out, join(got))
	}
	return out
}

// common is how many bytes two texts begin alike, up to a second space in a row.
func common(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// join makes one span of neighbours of one style.
func join(spans []Span) []Span {
	var out []Span
	for _, s := range spans {
		if n := len(out); n > 0 && out[n-1].Style == s.Style {
			out[n-1].Text += s.Text
			continue
		}
		out = append(out, s)
	}
	return out
}
