package renderer

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// screen is a terminal that knows just what a Renderer writes: cells with their style.
type screen struct {
	mu       sync.Mutex
	w, h     int
	cells    [][]string
	x, y     int
	sgr      string
	top, bot int
	n        int
	raw      bytes.Buffer
}

func newScreen(w, h int) *screen {
	s := &screen{w: w, h: h, bot: h - 1}
	for range h {
		s.cells = append(s.cells, make([]string, w))
	}
	return s
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n += len(b)
	s.raw.Write(b)
	for i := 0; i < len(b); {
		if b[i] != 0x1b {
			r := []rune(string(b[i:]))[0]
			if s.x < s.w {
				s.cells[s.y][s.x] = s.sgr + string(r)
			}
			s.x++
			i += len(string(r))
			continue
		}
		j := i + 2
		for b[j] < 0x40 || b[j] > 0x7e {
			j++
		}
		s.csi(string(b[i+2:j]), b[j])
		i = j + 1
	}
	return len(b), nil
}

func (s *screen) csi(par string, final byte) {
	one, two := 1, 1
	fmt.Sscanf(par, "%d;%d", &one, &two)
	switch final {
	case 'm':
		if par == "0" {
			s.sgr = ""
		} else {
			s.sgr += "<" + par + ">"
		}
	case 'H':
		s.y, s.x = one-1, two-1
	case 'K':
		for x := min(s.x, s.w-1); x < s.w; x++ {
			s.cells[s.y][x] = ""
		}
	case 'J':
		for y := s.y; y < s.h; y++ {
			s.cells[y] = make([]string, s.w)
		}
	case 'r':
		s.top, s.bot = 0, s.h-1
		if par != "" {
			s.top, s.bot = one-1, two-1
		}
	case 'S':
		copy(s.cells[s.top:s.bot], s.cells[s.top+1:s.bot+1])
		s.cells[s.bot] = make([]string, s.w)
	case 'T':
		copy(s.cells[s.top+1:s.bot+1], s.cells[s.top:s.bot])
		s.cells[s.top] = make([]string, s.w)
	}
}

// text is what is seen: blanks that were never written look like blanks.
func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, l := range s.cells {
		for _, c := range l {
			if c == "" {
				c = " "
			}
			b.WriteString(c)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// still is a painter that is painted by hand.
func still(s *screen) *Renderer {
	p := New(s)
	p.active = true
	return p
}

func paintOn(p *Renderer, f string, w, h int) {
	p.Frame(f, w, h)
	p.Paint()
}

// However a frame comes about, by differences or anew, it looks the same.
func TestDifferencesGiveTheSameScreen(t *testing.T) {
	piece := rapid.SampledFrom([]string{"abc", " ", "  ", "x", "train-1", "é", "\x1b[1mbold\x1b[0m", "\x1b[31mred\x1b[0m",
		"\x1b[7mrow 1\x1b[0m", "\x1b[7mrow 2\x1b[0m", "12s", "13s"})
	rapid.Check(t, func(t *rapid.T) {
		w, h := 30, rapid.IntRange(1, 14).Draw(t, "h")
		s := newScreen(w, h)
		p := still(s)
		var lines []string
		for i := range rapid.IntRange(1, 8).Draw(t, "frames") {
			switch k := rapid.IntRange(0, 3).Draw(t, "kind"); {
			case k == 0 && len(lines) > 1:
				lines = append(append([]string(nil), lines[1:]...), fmt.Sprint("new ", i))
			case k == 1 && len(lines) > 1:
				lines = append([]string{fmt.Sprint("new ", i)}, lines[:len(lines)-1]...)
			default:
				lines = nil
				for range h {
					lines = append(lines, strings.Join(rapid.SliceOfN(piece, 0, 4).Draw(t, "line"), ""))
				}
			}
			paintOn(p, strings.Join(lines, "\n"), w, h)
			want := newScreen(w, h)
			q := still(want)
			paintOn(q, strings.Join(lines, "\n"), w, h)
			if s.text() != want.text() {
				t.Fatalf("by differences\n%s\nanew\n%s", s.text(), want.text())
			}
		}
	})
}

func TestFewBytes(t *testing.T) {
	s := newScreen(80, 24)
	p := still(s)
	frame := func(f func(i int) string) string {
		var l []string
		for i := range 24 {
			l = append(l, f(i))
		}
		return strings.Join(l, "\n")
	}
	base := func(i int) string { return fmt.Sprintf("row %2d \x1b[32mrunning\x1b[0m                 ec2", i) }
	paintOn(p, frame(base), 80, 24)
	bytesFor := func(f string) int {
		from := s.n
		paintOn(p, f, 80, 24)
		return s.n - from
	}
	require.Zero(t, bytesFor(frame(base)), "the same frame costs nothing")
	one := func(i int) string {
		if i == 5 {
			return "row  5 \x1b[33mstart 1\x1b[0m                 ec2"
		}
		return base(i)
	}
	require.Less(t, bytesFor(frame(one)), 40, "a state that changes")
	paintOn(p, frame(base), 80, 24)
	require.Less(t, bytesFor(frame(func(i int) string { return base(i + 1) })), 80, "a list that scrolls")
	require.Less(t, bytesFor(frame(base)), 80, "and back")
}

func TestPauseResumeStop(t *testing.T) {
	s := newScreen(20, 3)
	p := New(s)
	p.Start(true)
	p.Frame("one\ntwo\nthree", 20, 3)
	require.Eventually(t, func() bool { return strings.Contains(s.text(), "three") }, 2*time.Minute, time.Millisecond)
	p.Pause()
	n := s.n
	p.Frame("four\nfive\nsix", 20, 3)
	p.Paint()
	require.Equal(t, n, s.n, "nothing is written while another program has the terminal")
	p.Resume()
	require.Eventually(t, func() bool { return strings.Contains(s.text(), "six") }, 2*time.Minute, time.Millisecond)
	p.Mouse(false)
	p.Repaint()
	p.Stop()
	out := s.raw.String()
	require.True(t, strings.HasPrefix(out, enter+mouseOn))
	require.True(t, strings.HasSuffix(out, leave))
	require.Contains(t, out, mouseOff)
}
