package ui_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/muesli/termenv"
	"github.com/stretchr/testify/require"

	"berth/ui/theme"
	"berth/ui/uitest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	time.Local = time.UTC // events are shown in local time
	os.Exit(m.Run())
}

var update = flag.Bool("update", false, "write the golden files anew")

var goldenSizes = [][2]int{{80, 24}, {120, 40}, {200, 60}, {40, 10}}

// TestGolden compares every screen at every size with the picture of it that was looked at.
func TestGolden(t *testing.T) {
	for _, sc := range uitest.Scenes() {
		t.Run(sc.Name, func(t *testing.T) {
			var b strings.Builder
			for _, z := range goldenSizes {
				cryptotest.SetGlobalRandom(t, 1) // the ids of what is made
				d := sc.Open(uitest.Options{Width: z[0], Height: z[1], Look: uitest.Plain})
				fits(t, d.M.View(), z[0], z[1])
				fmt.Fprintf(&b, "=== %dx%d\n", z[0], z[1])
				for _, l := range d.Lines() {
					b.WriteString(strings.TrimRight(l, " ") + "\n")
				}
				d.Close()
			}
			path := filepath.Join("testdata", sc.Name+".golden")
			if *update {
				require.NoError(t, os.MkdirAll("testdata", 0o755))
				require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o644))
				return
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err, "go test ./ui -update writes it")
			require.Equal(t, string(want), b.String())
		})
	}
}

// fits checks that a frame is exactly as high as the screen and no line is wider.
func fits(t *testing.T, frame string, w, h int) {
	t.Helper()
	lines := strings.Split(frame, "\n")
	require.Len(t, lines, h)
	for _, l := range lines {
		require.LessOrEqual(t, ansi.StringWidth(l), w, "%q", l)
	}
}

// looks are kinds of terminals.
var looks = map[string]theme.Options{
	"true":    {Profile: termenv.TrueColor, Dark: true},
	"light":   {Profile: termenv.TrueColor},
	"256":     {Profile: termenv.ANSI256, Dark: true},
	"16":      {Profile: termenv.ANSI, Dark: true},
	"nocolor": {Profile: termenv.TrueColor, NoColor: true},
	"dumb":    {Profile: termenv.Ascii},
	"ascii":   {Profile: termenv.ANSI256, ASCII: true},
}

// TestLooks draws every screen on every kind of terminal: the text is the same, and no terminal gets
// what it can't show.
func TestLooks(t *testing.T) {
	for name, look := range looks {
		for _, sc := range uitest.Scenes() {
			d := sc.Open(uitest.Options{Width: 80, Height: 24, Look: look})
			frame := d.M.View()
			d.Close()
			fits(t, frame, 80, 24)
			if look.NoColor {
				for _, bad := range []string{"\x1b[3", "\x1b[4;3", "\x1b[38", "\x1b[48", ";38;", ";48;", ";3", ";9"} {
					require.NotContains(t, frame, bad, "%s: %s", name, sc.Name)
				}
			}
			if look.Profile == termenv.Ascii {
				require.NotContains(t, frame, "\x1b", sc.Name)
			}
			if look.ASCII {
				for _, r := range ansi.Strip(frame) {
					require.Less(t, r, rune(0x7f), "%s: %q", sc.Name, r)
				}
			}
			if look.Profile == termenv.ANSI || look.Profile == termenv.ANSI256 {
				require.NotContains(t, frame, "8;2;", "%s: true colour on %s", sc.Name, name)
			}
		}
	}
}

// TestSizes draws every screen at odd sizes, and through changes of size in the middle of anything.
func TestSizes(t *testing.T) {
	sizes := [][2]int{{1, 1}, {2, 2}, {1, 50}, {500, 1}, {3, 3}, {500, 200}, {10, 4}, {20, 5}, {39, 9}, {80, 6},
		{80, 24}, {0, 0}}
	for _, sc := range uitest.Scenes() {
		d := sc.Open(uitest.Options{Width: 80, Height: 24, Look: truecolor})
		for _, z := range sizes {
			d.Resize(z[0], z[1])
			if z[0] > 0 {
				fits(t, d.M.View(), z[0], z[1])
			}
			d.Press("j", "k", "down", "tab", "pgdown")
		}
		d.Close()
	}
}
