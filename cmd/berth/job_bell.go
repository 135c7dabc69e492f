package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/ui/jobword"
)

// bellAfter is how long somebody has waited who has looked away since.
const bellAfter = 10 * time.Second

// ring tells whoever has waited for a job, on their terminal, that it is done: by the bell, and as a notice of the
// desktop where the terminal has such. Nobody is told who did not wait long.
func (a *app) ring(name string, j *api.Job, since time.Time) {
	if time.Since(since) < bellAfter || !terminal(a.err) {
		return
	}
	fmt.Fprint(a.err, bell(name, j, os.Getenv))
}

// both are what the names of terminals begin with that know the notices of iTerm2 (OSC 9) and those of rxvt and VTE
// (OSC 777): they get one.
var both = []string{"foot", "wezterm", "ghostty", "xterm-ghostty", "xterm-kitty", "kitty"}

// bell is what rings on a terminal; "": it can't, or is not to.
func bell(name string, j *api.Job, getenv func(string) string) string {
	term := getenv("TERM")
	if term == "" || term == "dumb" {
		return ""
	}
	safe := func(s string) string { // a ';' begins another field
		return strings.ReplaceAll(plaintext.Short(s, 200), ";", ",")
	}
	title := safe(fmt.Sprintf("%s on %s", j.Name, name))
	text := safe(fmt.Sprintf("job %s: %s", jobword.ID(j), jobword.Outcome(j)))
	out := "\a\x1b]9;berth: " + title + ", " + text + "\a"
	program := strings.ToLower(getenv("TERM_PROGRAM"))
	knows := func(s string) bool { return strings.HasPrefix(term, s) || strings.HasPrefix(program, s) }
	if slices.ContainsFunc(both, knows) {
		return out
	}
	return out + "\x1b]777;notify;" + title + ";" + text + "\a"
}
