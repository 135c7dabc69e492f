//go:build e2e

package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheScreenComesBackWhateverAShellDidToIt leaves shells that have left the terminal in the middle of a string, with
// another character set, or with margins, and looks at the dashboard and at the page that is drawn again.
func TestTheScreenComesBackWhateverAShellDidToIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "box")
	s := w.open(80, 24)
	s.sees("box", "running")
	for _, junk := range []string{
		`\033Pcut off`, `\033Pcut \007 off`, `\033]0;cut off`, `\033_cut off`, `\033^cut off`, `\033Xcut off`, `\033Pcut \033`,
		`\033(0\033)0\016`, `\033[3;5r\033[?6h\033[4h\033[?7l`, `\033[?1049h\033[?25l`,
	} {
		s.press("t")
		s.gone("fleet")
		s.typed(`printf '\033c` + junk + "'; touch junk")
		s.press("Enter")
		eventually(t, "it was shown", func() bool { return w.run("exec", "box", "--", "rm", "junk").code == 0 })
		s.press("C-]", "d")
		s.sees("Berth › fleet", "box", "● running")
	}
	s.quit()
}

// TestAttachingAtAnotherHeight has a program with margins of its screen, as editors have, which draws anew when it is
// resized, and attaches to it from a higher terminal.
func TestAttachingAtAnotherHeight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "box")
	s := w.open(80, 24)
	s.sees("box", "running")
	s.press("t")
	s.shell()
	program := `draw() { n=$(stty size | cut -d" " -f1); printf "\033[?1049h\033[H\033[2J"; ` +
		`for i in $(seq 1 $n); do [ $i = 1 ] || printf "\r\n"; printf "row-%s-of-%s" $i $n; done; ` +
		`printf "\033[1;%sr" $((n-1)); }; trap draw WINCH; draw; while :; do sleep 0.1; done`
	s.typed("sh -c '" + program + "'")
	s.press("Enter")
	s.sees("row-1-of-24", "row-24-of-24")
	s.press("C-]", "d")
	s.sees("fleet", "running")
	s.size(80, 40)
	s.press("t")
	s.sees("row-1-of-40", "row-40-of-40")
	text := s.text()
	require.Equal(t, 40, strings.Count(text, "row-"), text)
	require.True(t, strings.HasPrefix(text, "row-1-of-40\nrow-2-of-40\n"), text)
	s.press("C-]", "d")
	s.sees("fleet", "running")
	s.quit()
}
