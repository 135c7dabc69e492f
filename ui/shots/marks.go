package main

import (
	"image"
	"image/color"
	"image/draw"
)

// marks draws what charts are made of: braille dots, blocks that grow from below, heavy lines, triangles.
func (r *raster) marks(img *image.RGBA, b image.Rectangle, c rune, fg color.RGBA) bool {
	src := image.NewUniform(fg)
	cx, cy := (b.Min.X+b.Max.X)/2, (b.Min.Y+b.Max.Y)/2
	fill := func(x0, y0, x1, y1 int) {
		draw.Draw(img, image.Rect(x0, y0, x1, y1), src, image.Point{}, draw.Src)
	}
	switch {
	case c >= 0x2800 && c <= 0x28ff:
		r.braille(img, b, c-0x2800, fg)
		return true
	case c >= '▁' && c <= '█':
		h := b.Dy() * int(c-'▁'+1) / 8
		fill(b.Min.X, b.Max.Y-max(1, h), b.Max.X-1, b.Max.Y)
		return true
	}
	switch c {
	case '━':
		fill(b.Min.X, cy-1, b.Max.X, cy+2)
	case '╸':
		fill(b.Min.X, cy-1, cx+1, cy+2)
	case '╍':
		fill(b.Min.X+1, cy-1, cx-1, cy+2)
		fill(cx+1, cy-1, b.Max.X-1, cy+2)
	case '┬':
		fill(b.Min.X, cy, b.Max.X, cy+1)
		fill(cx, cy, cx+1, b.Max.Y)
	case '▲', '△':
		h := b.Max.X - b.Min.X - 1
		for y := range h {
			half := y / 2
			x0, x1 := cx-half, cx+half+1
			if c == '▲' || y >= h-1 {
				fill(x0, cy-h/2+y, x1, cy-h/2+y+1)
				continue
			}
			fill(x0, cy-h/2+y, x0+1, cy-h/2+y+1)
			fill(x1-1, cy-h/2+y, x1, cy-h/2+y+1)
		}
	default:
		return false
	}
	return true
}

// dotBits are the places of the eight dots of a braille cell: column and row.
var dotBits = [8][2]int{{0, 0}, {0, 1}, {0, 2}, {1, 0}, {1, 1}, {1, 2}, {0, 3}, {1, 3}}

func (r *raster) braille(img *image.RGBA, b image.Rectangle, bits rune, fg color.RGBA) {
	for i, d := range dotBits {
		if bits&(1<<i) == 0 {
			continue
		}
		x := b.Min.X + b.Dx()*(2*d[0]+1)/4
		y := b.Min.Y + b.Dy()*(2*d[1]+1)/8
		draw.Draw(img, image.Rect(x-1, y-1, x+2, y+2), image.NewUniform(fg), image.Point{}, draw.Src)
	}
}
