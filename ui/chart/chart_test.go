package chart

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/muesli/termenv"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"berth/gpu"
	"berth/ui/draw"
	"berth/ui/theme"
)

var (
	plain = theme.New(theme.Options{Profile: termenv.Ascii, Dark: true})
	ascii = theme.New(theme.Options{Profile: termenv.Ascii, ASCII: true})
	start = time.Date(2026, 3, 14, 10, 0, 0, 0, time.UTC)
)

func percent(v float64) string { return fmt.Sprintf("%.0f%%", v) }

func drawn(t *theme.Theme, g *Graph, w, h int) []string {
	g.Lay(t, w, h)
	var out []string
	for i := range g.Rows() {
		var l draw.Line
		l.Reset(t, w, theme.Ground)
		g.Row(&l, i)
		out = append(out, strings.TrimRight(string(l.Bytes()), " "))
	}
	return out
}

// ramp is a graph of 15 minutes with a gap in the middle.
func ramp() *Graph {
	g := &Graph{Step: time.Second, From: start, To: start.Add(15 * time.Minute), Max: 100, Label: percent, Cursor: -1,
		Zone: time.UTC}
	for i := range 900 {
		if i >= 400 && i < 500 {
			continue
		}
		v := float64(i) / 9
		g.Points = append(g.Points, gpu.Point{At: start.Add(time.Duration(i) * time.Second), Mean: v, Max: min(100, v+30)})
	}
	return g
}

func TestGraph(t *testing.T) {
	require.Equal(t, []string{
		"100%┤                ⠠⠤⠒⠒⠉⠉⠉⠉⣉⣩⣭⣽⣿⣿⣿",
		"    │      ⢀⣀⡠⠤⠔⠒⠊⠁  ⢀⣀⣤⣤⣶⣶⣿⣿⣿⣿⣿⣿⣿⣿⣿",
		"    │⡠⠤⠔⠒⠊⠉⠁ ⢀⣀⣤⣤⣶⡆  ⢸⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿",
		"  0%┤⣀⣀⣠⣤⣴⣶⣾⣿⣿⣿⣿⣿⣿⡇  ⢸⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿⣿",
		"    └─────────┬──────────┬──────────",
		"              10:05      10:10",
	}, drawn(plain, ramp(), 36, 6))
	for _, th := range []*theme.Theme{plain, ascii} {
		rows := drawn(th, ramp(), 60, 12)
		require.Len(t, rows, 12)
		require.Contains(t, rows[0], "100%")
		require.Contains(t, rows[9], "0%")
		gap := 5 + 55*450/900 // the middle of the gap
		for _, r := range rows[:10] {
			c := []rune(r)
			require.True(t, gap >= len(c) || c[gap] == ' ', "a gap stays a gap: %q", r)
		}
	}
}

func TestTheCursorReadsValues(t *testing.T) {
	g := ramp()
	g.Lay(plain, 65, 12)
	require.Equal(t, 60, g.Cells())
	r := g.Read(0)
	require.True(t, r.OK)
	require.InDelta(t, 0.8, r.Mean, 0.1)
	require.InDelta(t, 31.6, r.Max, 0.1)
	require.False(t, g.Read(29).OK, "what was not measured has no value")
	require.True(t, g.Read(58).OK)
	require.False(t, g.Read(60).OK)
	require.False(t, g.Read(-1).OK)
	g.Cursor = 29
	require.Contains(t, strings.Join(drawn(plain, g, 65, 12), "\n"), "│")
}

// A measured zero is seen; what was not measured is not.
func TestZeroIsNotNothing(t *testing.T) {
	for _, th := range []*theme.Theme{plain, ascii} {
		g := &Graph{Step: time.Minute, From: start, To: start.Add(time.Hour), Max: 100, Cursor: -1,
			Points: []gpu.Point{{At: start.Add(30 * time.Minute)}}}
		g.Lay(th, 62, 3)
		var l draw.Line
		l.Reset(th, 62, theme.Ground)
		g.Row(&l, 2)
		s := []rune(string(l.Bytes()))
		seen := 0
		for _, r := range s[1:] {
			if r != ' ' {
				seen++
			}
		}
		require.Contains(t, []int{1, 2}, seen, "%q", string(s))
	}
}

func TestAxes(t *testing.T) {
	for _, c := range []struct {
		v      float64
		binary bool
		want   float64
	}{{0, false, 1}, {87, false, 100}, {301, false, 400}, {0.07, false, 0.08}, {1000, false, 1000},
		{3 << 30, true, 4 << 30}, {900 << 20, true, 1 << 30}, {1 << 20, true, 1 << 20}} {
		require.InEpsilon(t, c.want, nice(c.v, c.binary), 1e-9, "%v", c.v)
	}
	g := ramp()
	g.From, g.To, g.Step = start.Add(-30*24*time.Hour), start, time.Minute
	require.Regexp(t, `Feb \d+ +`, drawn(plain, g, 80, 10)[9])
	g.From, g.To = start.Add(-6*time.Hour), start
	require.Contains(t, drawn(plain, g, 80, 10)[9], "08:00")
}

func TestBars(t *testing.T) {
	bar := func(th *theme.Theme, w int, p ...Part) string {
		var l draw.Line
		l.Reset(th, 100, theme.Ground)
		Bar(&l, th, w, p...)
		return string(l.Bytes())
	}
	require.Equal(t, "━━━━━─────", bar(plain, 10, Part{Share: 0.5}))
	require.Equal(t, "╸─────────", bar(plain, 10, Part{Share: 0.001}))
	require.Equal(t, "━━━╍╍╍────", bar(plain, 10, Part{Share: 0.3}, Part{Share: 0.3, Light: true}))
	require.Equal(t, "##########", bar(ascii, 10, Part{Share: 7}))
	require.Equal(t, "#---------", bar(ascii, 10, Part{Share: 0.01}))
	require.Equal(t, "──────────", bar(plain, 10, Part{Share: math.NaN()}, Part{Share: -1}))
	require.Equal(t, "▁▁▄█?", Level(plain, 0)+Level(plain, 0.1)+Level(plain, 0.5)+Level(plain, 1.2)+Level(plain,
		math.NaN()))
	require.Equal(t, "__-#?", Level(ascii, 0)+Level(ascii, 0.1)+Level(ascii, 0.5)+Level(ascii, 1)+Level(ascii, math.NaN()))
}

// However the points lie, each row has the width it was given, and what is read is what was measured.
func TestAnyGraphFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(rapid.Float64Range(0, 1e15), rapid.Just(math.NaN()), rapid.Just(math.Inf(1)), rapid.Float64())
		g := &Graph{From: start, To: start.Add(time.Duration(rapid.Int64Range(0, int64(40*24*time.Hour)).Draw(t, "span"))),
			Step: time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "step")),
			Max:  rapid.Float64Range(0, 100).Draw(t, "top"), Cursor: rapid.IntRange(-5, 200).Draw(t, "cursor"), Label: percent,
			Bytes: rapid.Bool().Draw(t, "bytes")}
		for range rapid.IntRange(0, 50).Draw(t, "n") {
			g.Points = append(g.Points, gpu.Point{At: start.Add(time.Duration(rapid.Int64Range(-int64(time.Hour),
				int64(41*24*time.Hour)).Draw(t, "at"))), Mean: value.Draw(t, "mean"), Max: value.Draw(t, "max")})
		}
		w, h := rapid.IntRange(0, 210).Draw(t, "w"), rapid.IntRange(0, 60).Draw(t, "h")
		th := plain
		if rapid.Bool().Draw(t, "ascii") {
			th = ascii
		}
		rows := drawn(th, g, w, h)
		require.LessOrEqual(t, len(rows), max(h, 0))
		for _, r := range rows {
			require.LessOrEqual(t, ansi.StringWidth(r), w)
		}
		for c := range g.Cells() {
			if r := g.Read(c); r.OK {
				require.False(t, math.IsNaN(r.Mean) || math.IsInf(r.Mean, 0))
			}
		}
	})
}

// BenchmarkGraph is a graph of 900 points, laid out and drawn.
func BenchmarkGraph(b *testing.B) {
	for _, z := range [][2]int{{76, 14}, {120, 20}, {196, 50}} {
		b.Run(fmt.Sprintf("%dx%d", z[0], z[1]), func(b *testing.B) {
			th := theme.New(theme.Options{Profile: termenv.TrueColor, Dark: true})
			g := ramp()
			g.Style = func(v float64) theme.Style { return Heat(th, v) }
			var p draw.Page
			b.ReportAllocs()
			for b.Loop() {
				p.Reset(th, z[0], z[1])
				g.Lay(th, z[0], z[1])
				for i := range g.Rows() {
					g.Row(p.Line(theme.Ground), i)
				}
				_ = p.Lines()
			}
		})
	}
}

// TestFilling: how full a disk is has one look wherever it stands.
func TestFilling(t *testing.T) {
	th := theme.New(theme.Options{Profile: termenv.TrueColor})
	f := func(v float64) *float64 { return &v }
	for _, c := range []struct {
		percent, fullIn *float64
		want            theme.Style
	}{{f(84), nil, th.Good}, {f(85), nil, th.Busy}, {f(95), nil, th.Bad}, {f(10), f(5 * 3600), th.Bad},
		{f(10), f(23 * 3600), th.Busy}, {f(10), f(25 * 3600), th.Good}, {nil, nil, th.Good}} {
		require.Equal(t, c.want, Filling(th, c.percent, c.fullIn, th.Good))
	}
}
