package top

import (
	"strings"

	"berth/backend/base/plaintext"
	"berth/gpu"
	"berth/ui/draw"
	"berth/ui/money"
	"berth/ui/text"
	"berth/ui/theme"
)

// procColumn is a column of the table of processes. From is the width from which it is shown.
type procColumn struct {
	title, sort string
	w, from     int
	right       bool
	get         func(s *Top, p *gpu.Process) string
	gpu         bool // not where there are no GPUs
}

// shown reports whether a column is shown on a screen of w cells.
func (c *procColumn) shown(s *Top, w int) bool {
	return w >= c.from && (!c.gpu || len(s.sample.GPUs) > 0)
}

// width is that of a column: of names, as wide as they are where there is room.
func (c *procColumn) width(s *Top, w int) int {
	if c.title != "USER" && c.title != "OWNER" || w < 100 {
		return c.w
	}
	n := s.wide[c.title]
	if n == 0 { // once a frame
		n = c.w
		for i := range s.sample.Processes {
			n = max(n, text.Width(plaintext.Clean(c.get(s, &s.sample.Processes[i]))))
		}
		s.wide[c.title] = n
	}
	return min(n, max(c.w, w/6))
}

var procColumns = []procColumn{
	{"PID", "pid", 7, 0, true, func(_ *Top, p *gpu.Process) string { return itoa(p.PID) }, false},
	{"USER", "user", 8, 0, false, func(_ *Top, p *gpu.Process) string { return p.User }, false},
	{"OWNER", "", 16, 100, false, func(_ *Top, p *gpu.Process) string { return owner(p) }, false},
	{"GPU", "gpu", 3, 0, true, func(_ *Top, p *gpu.Process) string {
		if p.GPUIndex == nil {
			return ""
		}
		if p.MIG != nil {
			return itoa(*p.GPUIndex) + "/" + itoa(*p.MIG)
		}
		return itoa(*p.GPUIndex)
	}, true},
	{"GPU MEM", "gpu memory", 8, 0, true, func(_ *Top, p *gpu.Process) string {
		return blank(p.GPUIndex, bytesOf(p.GPUMemory))
	}, true},
	{"SM", "sm", 4, 0, true, func(_ *Top, p *gpu.Process) string {
		return blank(p.GPUIndex, money.Figure(p.SM, money.Percent))
	}, true},
	{"CPU", "cpu", 5, 0, true, func(_ *Top, p *gpu.Process) string { return money.Figure(p.CPU, money.Percent) }, false},
	{"MEM", "memory", 8, 0, true, func(_ *Top, p *gpu.Process) string { return bytesOf(p.Memory) }, false},
	{"AGE", "age", 4, 70, true, func(s *Top, p *gpu.Process) string {
		if p.StartedAt.IsZero() {
			return ""
		}
		return s.e.Age(p.StartedAt)
	}, false},
	{"THR", "", 4, 130, true, func(_ *Top, p *gpu.Process) string {
		if p.Threads == 0 {
			return ""
		}
		return itoa(p.Threads)
	}, false},
	{"STATE", "", 9, 115, false, func(_ *Top, p *gpu.Process) string { return p.State }, false},
}

// blank is a figure of a GPU, of a process that is on one.
func blank(on *int, s string) string {
	if on == nil {
		return ""
	}
	return s
}

func (s *Top) procHead(l *draw.Line) {
	t := s.e.Theme
	w := l.Col() + l.Room()
	arrow := t.Down
	if s.Down {
		arrow = t.Up
	}
	head := func(title, by string, cw int, right bool) {
		st := t.Dim
		if by != "" && by == s.Sort {
			st = t.Key
			if title += arrow; len(title) > cw+2 && right {
				title = arrow + strings.TrimSuffix(title, arrow)[:cw-1]
			}
		}
		l.Cell(st, title, cw, right).Space(1)
	}
	for i := range procColumns {
		if c := &procColumns[i]; c.shown(s, w) {
			head(c.title, c.sort, c.width(s, w), c.right)
		}
	}
	head("COMMAND", "command", 9, false)
	if s.sample.ProcessCount > 0 && l.Room() > 20 {
		n := 0
		for _, k := range s.items {
			if k.kind == procItem {
				n++
			}
		}
		l.End(t.Dim, itoa(n)+" of "+itoa(s.sample.ProcessCount)+" ")
	}
}

// procRow writes a process. What it was called with comes from outside: the line cleans it.
func (s *Top) procRow(l *draw.Line, p *gpu.Process, depth int) {
	t := s.e.Theme
	w := l.Col() + l.Room()
	for i := range procColumns {
		c := &procColumns[i]
		if !c.shown(s, w) {
			continue
		}
		st := s.grey(t.Text)
		if c.title == "OWNER" && p.Owner.Kind == "" {
			st = t.Dim
		}
		l.Cell(st, c.get(s, p), c.width(s, w), c.right).Space(1)
	}
	if depth > 0 {
		l.Space(2 * min(depth-1, 8))
		g := "└ "
		if t.ASCII {
			g = "` "
		}
		l.Glyph(t.Border, g)
	}
	st := s.grey(t.Text)
	if p.Note != "" {
		l.Text(s.grey(noteStyle(t, p)), "("+p.Note+") ")
	} else if w < 115 && p.State == "zombie" {
		l.Text(s.grey(t.Busy), "(zombie) ")
	}
	l.Text(st, p.Command)
}

func noteStyle(t *theme.Theme, p *gpu.Process) theme.Style {
	if p.State == "zombie" {
		return t.Busy
	}
	return t.Odd
}
