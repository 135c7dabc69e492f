package main

import (
	"image"
	"image/color"
	"image/draw"
)

// lines draws the characters that the font lacks or draws with gaps: lines, corners, blocks, discs.
func (r *raster) lines(img *image.RGBA, b image.Rectangle, c rune, fg color.RGBA) bool {
	src := image.NewUniform(fg)
	cx, cy := (b.Min.X+b.Max.X)/2, (b.Min.Y+b.Max.Y)/2
	fill := func(x0, y0, x1, y1 int) {
		draw.Draw(img, image.Rect(x0, y0, x1, y1), src, image.Point{}, draw.Src)
	}
	h := func(x0, x1 int) { fill(x0, cy, x1, cy+1) }
	v := func(y0, y1 int) { fill(cx, y0, cx+1, y1) }
	switch c {
	case '─':
		h(b.Min.X, b.Max.X)
	case '│':
		v(b.Min.Y, b.Max.Y)
	case '╭', '┌':
		h(cx+1, b.Max.X)
		v(cy+1, b.Max.Y)
	case '╮', '┐':
		h(b.Min.X, cx)
		v(cy+1, b.Max.Y)
	case '╰', '└':
		h(cx+1, b.Max.X)
		v(b.Min.Y, cy)
	case '╯', '┘':
		h(b.Min.X, cx)
		v(b.Min.Y, cy)
	case '├':
		v(b.Min.Y, b.Max.Y)
		h(cx, b.Max.X)
	case '┤':
		v(b.Min.Y, b.Max.Y)
		h(b.Min.X, cx)
	case '▌':
		fill(b.Min.X, b.Min.Y, cx, b.Max.Y)
	case '●', '○', '◐', '◑':
		r.disc(img, cx, cy+1, c, fg)
	case '✓':
		r.stroke(img, fg, [][2]int{{b.Min.X + 1, cy + 1}, {cx - 1, cy + 4}, {b.Max.X - 1, cy - 4}})
	case '✗':
		r.stroke(img, fg, [][2]int{{b.Min.X + 1, cy - 3}, {b.Max.X - 2, cy + 5}})
		r.stroke(img, fg, [][2]int{{b.Max.X - 2, cy - 3}, {b.Min.X + 1, cy + 5}})
	default:
		return false
	}
	return true
}

// disc draws a full, empty or half circle, with soft edges.
func (r *raster) disc(img *image.RGBA, cx, cy int, c rune, fg color.RGBA) {
	const rad, sub = 4.0, 4
	for y := cy - 5; y <= cy+5; y++ {
		for x := cx - 5; x <= cx+5; x++ {
			hit := 0
			for i := range sub * sub {
				dx := float64(x-cx) + (float64(i%sub)+0.5)/sub - 0.5
				dy := float64(y-cy) + (float64(i/sub)+0.5)/sub - 0.5
				d := dx*dx + dy*dy
				in := d <= rad*rad
				if c == '○' || c == '◐' && dx > 0 || c == '◑' && dx < 0 {
					in = in && d >= (rad-1.2)*(rad-1.2)
				}
				if in {
					hit++
				}
			}
			blend(img, x, y, fg, hit, sub*sub)
		}
	}
}

func blend(img *image.RGBA, x, y int, fg color.RGBA, n, of int) {
	if n == 0 {
		return
	}
	o := img.RGBAAt(x, y)
	mix := func(a, b uint8) uint8 { return uint8((int(a)*n + int(b)*(of-n)) / of) }
	img.SetRGBA(x, y, color.RGBA{mix(fg.R, o.R), mix(fg.G, o.G), mix(fg.B, o.B), 255})
}

// stroke draws a line of two pixels through points.
func (r *raster) stroke(img *image.RGBA, fg color.RGBA, pts [][2]int) {
	for i := 1; i < len(pts); i++ {
		x0, y0, x1, y1 := pts[i-1][0], pts[i-1][1], pts[i][0], pts[i][1]
		n := max(abs(x1-x0), abs(y1-y0))
		for k := range n + 1 {
			x, y := x0+(x1-x0)*k/n, y0+(y1-y0)*k/n
			img.SetRGBA(x, y, fg)
			img.SetRGBA(x+1, y, fg)
		}
	}
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}
