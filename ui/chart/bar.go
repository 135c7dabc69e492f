package chart

import (
	"math"

	"berth/ui/draw"
	"berth/ui/theme"
)

var (
	levels      = []string{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"}
	asciiLevels = []string{"_", ".", ":", "-", "=", "+", "*", "#"}
)

// Level is one cell that is the higher the larger a share is; v is from 0 to 1, NaN is not known.
func Level(t *theme.Theme, v float64) string {
	if math.IsNaN(v) {
		return "?"
	}
	i := int(math.Ceil(v*8)) - 1
	i = max(0, min(i, 7))
	if t.ASCII {
		return asciiLevels[i]
	}
	return levels[i]
}

// Part is a part of a bar: a share of its length with a look. Light parts are drawn in another shape.
type Part struct {
	Share float64
	Style theme.Style
	Light bool
}

// Bar writes a bar of w cells: its parts one after another, and a thin line to the end.
func Bar(l *draw.Line, t *theme.Theme, w int, parts ...Part) {
	w = min(w, l.Room())
	if w <= 0 {
		return
	}
	full, half, light, rest := "━", "╸", "╍", "─"
	if t.ASCII {
		full, half, light, rest = "#", "", "=", "-"
	}
	at, sum := 0, 0.0
	for _, p := range parts {
		if math.IsNaN(p.Share) || p.Share <= 0 {
			continue
		}
		sum = min(1, sum+p.Share)
		end := sum * float64(w)
		n := int(end)
		g := full
		if p.Light {
			g = light
			n = int(math.Round(end))
		}
		for ; at < n; at++ {
			l.Glyph(p.Style, g)
		}
		// What is there at all is seen; a half cell ends the bar where there is one.
		if at < w && !p.Light {
			switch f := end - float64(n); {
			case f >= 0.75, f > 0 && at == 0 && half == "":
				l.Glyph(p.Style, full)
				at++
			case half != "" && (f >= 0.25 || f > 0 && at == 0):
				l.Glyph(p.Style, half)
				at++
			}
		}
	}
	l.Repeat(t.Border, rest, w-at)
}

// Share is part of whole; NaN where one is not known or there is no whole.
func Share[T int64 | float64](part, whole *T) float64 {
	if part == nil || whole == nil || *whole <= 0 {
		return math.NaN()
	}
	return float64(*part) / float64(*whole)
}

// Percent is a share of a percentage; NaN where it is not known.
func Percent(v *float64) float64 {
	if v == nil {
		return math.NaN()
	}
	return *v / 100
}

// Spark writes values as one cell each, the last ones where there is not room for all; NaN is blank.
func Spark(l *draw.Line, t *theme.Theme, st theme.Style, vals []float64, top float64, w int) {
	w = min(w, l.Room())
	if len(vals) > w {
		vals = vals[len(vals)-w:]
	}
	l.Space(w - len(vals))
	for _, v := range vals {
		if math.IsNaN(v) || top <= 0 {
			l.Space(1)
			continue
		}
		l.Glyph(st, Level(t, v/top))
	}
}
