package main

import (
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"strconv"
	"strings"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gomono"
	"golang.org/x/image/font/gofont/gomonobold"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// raster draws frames as a terminal would.
type raster struct {
	regular, bold font.Face
	cw, ch, base  int
	fg, bg        color.RGBA
	dark          bool
}

func newRaster(dark bool) (*raster, error) {
	r := &raster{cw: 9, ch: 19, base: 14, dark: dark, fg: rgb(0xd4dae0), bg: rgb(0x12171c)}
	if !dark {
		r.fg, r.bg = rgb(0x1d2329), rgb(0xfcfcfa)
	}
	for _, f := range []struct {
		ttf []byte
		to  *font.Face
	}{{gomono.TTF, &r.regular}, {gomonobold.TTF, &r.bold}} {
		parsed, err := opentype.Parse(f.ttf)
		if err != nil {
			return nil, err
		}
		if *f.to, err = opentype.NewFace(parsed, &opentype.FaceOptions{Size: 15, DPI: 72,
			Hinting: font.HintingFull}); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func rgb(v uint32) color.RGBA { return color.RGBA{uint8(v >> 16), uint8(v >> 8), uint8(v), 255} }

// pen is the style in force.
type pen struct {
	fg, bg                       color.RGBA
	bold, faint, reverse, underl bool
}

// save draws a frame of w by h cells into a PNG file.
func (r *raster) save(path, frame string, w, h int) error {
	const margin = 8
	img := image.NewRGBA(image.Rect(0, 0, w*r.cw+2*margin, h*r.ch+2*margin))
	draw.Draw(img, img.Bounds(), image.NewUniform(r.bg), image.Point{}, draw.Src)
	for y, line := range strings.Split(frame, "\n") {
		x := 0
		p := pen{fg: r.fg, bg: r.bg}
		for line != "" {
			if strings.HasPrefix(line, "\x1b[") {
				if i := strings.IndexByte(line, 'm'); i > 0 {
					r.sgr(&p, line[2:i])
					line = line[i+1:]
					continue
				}
			}
			g, width := ansi.FirstGraphemeCluster(line, ansi.GraphemeWidth)
			line = line[len(g):]
			r.cell(img, margin+x*r.cw, margin+y*r.ch, width, g, p)
			x += width
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := png.Encode(f, img); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// basic are the 16 colours of a usual terminal.
var basic = [16]uint32{0x1b1f24, 0xc4473d, 0x4f9a5b, 0xb08a2e, 0x3f7fc0, 0x9a63b8, 0x3a9aa5, 0xc5ccd3, 0x6b747d,
	0xf07a70, 0x86d495, 0xf0c465, 0x7ab4ee, 0xcfa0ea, 0x72d0dc, 0xf5f7f9}

func indexed(n int) color.RGBA {
	switch {
	case n < 16:
		return rgb(basic[n])
	case n < 232:
		n -= 16
		v := func(k int) uint8 {
			if k == 0 {
				return 0
			}
			return uint8(55 + 40*k)
		}
		return color.RGBA{v(n / 36), v(n / 6 % 6), v(n % 6), 255}
	}
	g := uint8(8 + 10*(n-232))
	return color.RGBA{g, g, g, 255}
}

func (r *raster) sgr(p *pen, s string) {
	f := strings.Split(s, ";")
	num := func(i int) int {
		if i >= len(f) {
			return 0
		}
		n, _ := strconv.Atoi(f[i])
		return n
	}
	for i := 0; i < len(f); i++ {
		switch n := num(i); {
		case n == 0:
			*p = pen{fg: r.fg, bg: r.bg}
		case n == 1:
			p.bold = true
		case n == 2:
			p.faint = true
		case n == 4:
			p.underl = true
		case n == 7:
			p.reverse = true
		case n == 38 || n == 48:
			var c color.RGBA
			if num(i+1) == 5 {
				c = indexed(num(i + 2))
				i += 2
			} else {
				c = color.RGBA{uint8(num(i + 2)), uint8(num(i + 3)), uint8(num(i + 4)), 255}
				i += 4
			}
			if n == 38 {
				p.fg = c
			} else {
				p.bg = c
			}
		case n >= 30 && n <= 37:
			p.fg = indexed(n - 30)
		case n >= 90 && n <= 97:
			p.fg = indexed(n - 82)
		case n >= 40 && n <= 47:
			p.bg = indexed(n - 40)
		case n >= 100 && n <= 107:
			p.bg = indexed(n - 92)
		}
	}
}

func (r *raster) cell(img *image.RGBA, x, y, w int, s string, p pen) {
	fg, bg := p.fg, p.bg
	if p.reverse {
		fg, bg = bg, fg
	}
	if p.faint {
		mix := func(a, b uint8) uint8 { return uint8((int(a)*6 + int(b)*4) / 10) }
		fg = color.RGBA{mix(fg.R, bg.R), mix(fg.G, bg.G), mix(fg.B, bg.B), 255}
	}
	box := image.Rect(x, y, x+w*r.cw, y+r.ch)
	draw.Draw(img, box, image.NewUniform(bg), image.Point{}, draw.Src)
	if p.underl {
		draw.Draw(img, image.Rect(x, y+r.ch-3, x+w*r.cw, y+r.ch-2), image.NewUniform(fg), image.Point{}, draw.Src)
	}
	if s == " " {
		return
	}
	c, _ := firstRune(s)
	if r.lines(img, box, c, fg) || r.marks(img, box, c, fg) {
		return
	}
	face := r.regular
	if p.bold {
		face = r.bold
	}
	d := font.Drawer{Dst: img, Src: image.NewUniform(fg), Face: face, Dot: fixed.P(x, y+r.base)}
	d.DrawString(s)
}

func firstRune(s string) (rune, bool) {
	for _, c := range s {
		return c, true
	}
	return 0, false
}
