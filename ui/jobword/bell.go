package jobword

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/backend/api"
	"berth/backend/base/plaintext"
)

// BellAfter is how long a job must have taken for its end to ring: nobody has looked away before.
const BellAfter = 10 * time.Second

// both are what the names of terminals begin with that know the notices of iTerm2 (OSC 9) and those of rxvt and VTE
// (OSC 777): they get one.
var both = []string{"foot", "wezterm", "ghostty", "xterm-ghostty", "xterm-kitty", "kitty"}

// Bell is what tells somebody on a terminal that a job of an instance has ended, by the bell and as a notice of the
// desktop; "": the terminal can't. more is how many others have ended.
func Bell(instance string, j *api.Job, more int, getenv func(string) string) string {
	term := getenv("TERM")
	if term == "" || term == "dumb" {
		return ""
	}
	safe := func(s string) string { // a ';' begins another field
		return strings.ReplaceAll(plaintext.Short(s, 200), ";", ",")
	}
	title := safe(fmt.Sprintf("%s on %s", j.Name, instance))
	text := fmt.Sprintf("job %s: %s", ID(j), Outcome(j))
	if more > 0 {
		text = fmt.Sprintf("%d more, and job %s: %s", more, ID(j), Outcome(j))
	}
	text = safe(text)
	out := "\a\x1b]9;berth: " + title + ", " + text + "\a"
	program := strings.ToLower(getenv("TERM_PROGRAM"))
	knows := func(s string) bool { return strings.HasPrefix(term, s) || strings.HasPrefix(program, s) }
	if slices.ContainsFunc(both, knows) {
		return out
	}
	return out + "\x1b]777;notify;" + title + ";" + text + "\a"
}
