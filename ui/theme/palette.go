package theme

import "github.com/charmbracelet/lipgloss"

// color is one colour in three depths: true colour, 256 and 16.
type color struct{ full, c256, c16 string }

func (c color) lip() lipgloss.TerminalColor {
	return lipgloss.CompleteColor{TrueColor: c.full, ANSI256: c.c256, ANSI: c.c16}
}

type palette struct {
	accent, good, busy, bad, odd, dim, border, sel, bar, field, onAccent color
}

// The palettes: green, amber and red differ in brightness too, so that they stay apart for eyes that
// see red and green alike; each state has its own glyph and word besides.
var (
	darkPalette = palette{
		accent:   color{"#7cc7e8", "117", "14"},
		good:     color{"#8fd6a0", "115", "10"},
		busy:     color{"#f0c674", "222", "11"},
		bad:      color{"#ff8a80", "210", "9"},
		odd:      color{"#c8a6f0", "183", "13"},
		dim:      color{"#8b95a1", "246", ""},
		border:   color{"#4b5663", "240", ""},
		sel:      color{"#26394a", "237", ""},
		bar:      color{"#1c242d", "235", ""},
		field:    color{"#2a323c", "236", ""},
		onAccent: color{"#10161c", "233", "0"},
	}
	lightPalette = palette{
		accent:   color{"#0b6496", "24", "4"},
		good:     color{"#1f7a3d", "28", "2"},
		busy:     color{"#8a5a00", "94", "3"},
		bad:      color{"#b3261e", "124", "1"},
		odd:      color{"#6b3fa0", "91", "5"},
		dim:      color{"#5d6772", "241", ""},
		border:   color{"#b3bcc6", "250", ""},
		sel:      color{"#d3e6f3", "153", ""},
		bar:      color{"#e9eef3", "254", ""},
		field:    color{"#e3e8ee", "253", ""},
		onAccent: color{"#ffffff", "231", "15"},
	}
)

func paletteOf(dark bool) palette {
	if dark {
		return darkPalette
	}
	return lightPalette
}
