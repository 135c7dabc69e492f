package theme

import (
	"testing"

	"github.com/charmbracelet/x/ansi"
	"github.com/muesli/termenv"
	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

func TestDetect(t *testing.T) {
	for _, c := range []struct {
		env   map[string]string
		theme string
		want  Options
	}{
		{map[string]string{"TERM": "xterm-256color", "LANG": "en_GB.UTF-8"}, "", Options{Profile: termenv.ANSI256,
			Dark: true}},
		{map[string]string{"TERM": "xterm", "COLORTERM": "truecolor", "LC_ALL": "C.utf8"}, "auto",
			Options{Profile: termenv.TrueColor, Dark: true}},
		{map[string]string{"TERM": "xterm", "LANG": "C"}, "light", Options{Profile: termenv.ANSI, ASCII: true}},
		{map[string]string{"TERM": "dumb", "LANG": "C.UTF-8"}, "", Options{Profile: termenv.Ascii, Dark: true}},
		{map[string]string{"TERM": "linux", "NO_COLOR": "1", "LANG": "C.UTF-8"}, "", Options{Profile: termenv.ANSI,
			Dark: true, NoColor: true}},
		{map[string]string{"TERM": "rxvt", "COLORFGBG": "0;default;15", "LANG": "C.UTF-8"}, "",
			Options{Profile: termenv.ANSI}},
		{map[string]string{"TERM": "xterm", "LANG": "C.UTF-8"}, "none", Options{Profile: termenv.ANSI, Dark: true,
			NoColor: true}},
	} {
		require.Equal(t, c.want, Detect(func(k string) string { return c.env[k] }, c.theme, false), "%v", c.env)
	}
}

// Every glyph is as wide as it is counted, and no state is told by colour alone.
func TestGlyphs(t *testing.T) {
	for _, g := range []*Glyphs{&unicodeGlyphs, &asciiGlyphs} {
		seen := map[string]bool{}
		for _, s := range api.States {
			require.Equal(t, 1, ansi.StringWidth(g.StateGlyph(s)), s)
			seen[g.StateGlyph(s)] = true
		}
		require.GreaterOrEqual(t, len(seen), 5)
	}
	for _, s := range []string{asciiGlyphs.H, asciiGlyphs.Ellipsis, asciiGlyphs.Dot, asciiGlyphs.Arrow, asciiGlyphs.On} {
		require.Less(t, s[0], byte(0x7f))
	}
}

func TestStylesOfEachProfile(t *testing.T) {
	require.Empty(t, New(Options{Profile: termenv.Ascii}).Bad.On(Ground))
	require.Contains(t, New(Options{Profile: termenv.TrueColor, Dark: true}).Bad.On(Ground), "38;2;")
	require.Contains(t, New(Options{Profile: termenv.ANSI256}).Bad.On(Sel), "48;5;")
	require.Equal(t, "\x1b[7m", New(Options{Profile: termenv.ANSI}).Text.On(Sel))
	require.Equal(t, "\x1b[1m", New(Options{Profile: termenv.TrueColor, NoColor: true}).Bold.On(Ground))
}
