package main

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"berth/ui/markdown"
	"berth/ui/text"
)

// pageWidth is the most columns that text for reading takes.
const pageWidth = 92

// textWidth is how wide text is written to w.
func textWidth(w any) int { return min(columns(w), pageWidth) }

// printPage writes a page of Markdown: wrapped, and on a terminal with bold headings and code. Elsewhere code keeps its
// signs, which tell it from the words around it.
func printPage(w io.Writer, page string, bold bool, width int) error {
	const indent = 2
	var b strings.Builder
	strong := func(s string) string { return "\x1b[1m" + s + "\x1b[22m" }
	layout := markdown.Layout
	if !bold {
		strong, layout = func(s string) string { return s }, markdown.Marked
	}
	lines := layout(page, width-indent)
	for i := range lines {
		l := &lines[i]
		switch l.Kind {
		case markdown.Blank:
		case markdown.Heading:
			b.WriteString(strong(l.String()))
		case markdown.Block:
			b.WriteString(strings.Repeat(" ", l.Indent) + l.String())
		default:
			b.WriteString(strings.Repeat(" ", indent) + l.Mark + strings.Repeat(" ", l.Indent-len(l.Mark)))
			for _, s := range l.Spans {
				if s.Style == markdown.Plain {
					b.WriteString(s.Text)
				} else {
					b.WriteString(strong(s.Text))
				}
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// verbHelp writes the help of a verb, wrapped.
func (a *app) verbHelp(cmd *cobra.Command, _ []string) {
	width := textWidth(a.out)
	about := cmd.Long
	if about == "" {
		about = cmd.Short
	}
	usage := ""
	if cmd.Runnable() || cmd.HasSubCommands() {
		usage = "\n" + cmd.UsageString()
	}
	fmt.Fprint(a.out, wrapLines(joinLines(strings.TrimSpace(about)), width), "\n", wrapLines(usage, width))
}

// joinLines makes one line of each paragraph; what is indented stays as it is.
func joinLines(s string) string {
	var b strings.Builder
	before := ""
	for line := range strings.SplitSeq(s, "\n") {
		plain := line != "" && line[0] != ' ' && before != "" && before[0] != ' '
		switch {
		case b.Len() == 0 && before == "":
		case plain:
			b.WriteByte(' ')
		default:
			b.WriteByte('\n')
		}
		b.WriteString(line)
		before = line
	}
	return b.String()
}

// column finds where what is said of a flag or a verb begins: behind it and at least two spaces.
var column = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^ +(?:\S+ ?)+? {2,}`) })

// wrapLines breaks lines that are too wide. What goes on stands below where the words began. Examples stay as they
// are: they are copied.
func wrapLines(s string, width int) string {
	var out []string
	examples := false
	for line := range strings.SplitSeq(s, "\n") {
		if line != "" && line[0] != ' ' {
			examples = strings.HasPrefix(line, "Examples:")
		}
		if examples || text.Width(line) <= width {
			out = append(out, line)
			continue
		}
		head := column().FindString(line)
		if head == "" || text.Width(head) > width/2 {
			head = line[:len(line)-len(strings.TrimLeft(line, " "))]
		}
		at := text.Width(head)
		for i, part := range text.Wrap(line[len(head):], width-at) {
			if i > 0 {
				head = strings.Repeat(" ", at)
			}
			out = append(out, head+part)
		}
	}
	return strings.Join(out, "\n")
}
