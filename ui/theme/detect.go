package theme

import (
	"strings"

	"github.com/muesli/termenv"
)

// Detect tells from the environment what a terminal can show. The background is taken as dark until
// the terminal has said otherwise. theme is the configured one: "auto", "dark", "light" or "none".
func Detect(getenv func(string) string, theme string, ascii bool) Options {
	o := Options{Profile: termenv.ANSI, Dark: theme != "light", ASCII: ascii || !utf8Locale(getenv)}
	term := getenv("TERM")
	switch ct := strings.ToLower(getenv("COLORTERM")); {
	case term == "dumb" || term == "":
		o.Profile = termenv.Ascii
	case ct == "truecolor" || ct == "24bit" || strings.HasSuffix(term, "-direct"):
		o.Profile = termenv.TrueColor
	case strings.Contains(term, "256color") || term == "xterm-kitty" || term == "alacritty" || term == "foot" ||
		term == "xterm-ghostty":
		o.Profile = termenv.ANSI256
	}
	o.NoColor = theme == "none" || getenv("NO_COLOR") != ""
	if theme == "auto" || theme == "" {
		// COLORFGBG is "foreground;background" of the 16 colours, where a terminal sets it.
		if _, bg, ok := strings.Cut(getenv("COLORFGBG"), ";"); ok {
			if i := strings.LastIndexByte(bg, ';'); i >= 0 {
				bg = bg[i+1:]
			}
			o.Dark = bg != "7" && bg != "15"
		}
	}
	return o
}

// utf8Locale reports whether the locale is a UTF-8 one.
func utf8Locale(getenv func(string) string) bool {
	for _, k := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := getenv(k); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}
