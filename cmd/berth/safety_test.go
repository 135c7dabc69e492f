package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/ui/uitest"
)

// TestHelpSafetyIsWhatRmDoes holds each clause of the page against what is done: what must be typed in the dashboard,
// and what the verb says and asks for.
func TestHelpSafetyIsWhatRmDoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	page := strings.Join(strings.Fields(w.ok("help", "safety")), " ")
	dashboard := func(t *testing.T) *uitest.Driver {
		d := uitest.Drive(uitest.Options{Width: 120, Height: 40, Look: uitest.Plain}, uitest.Small(uitest.Epoch)...)
		t.Cleanup(d.Close)
		d.To("notebook")
		return d
	}
	for clause, holds := range map[string]func(t *testing.T){
		"Whatever ends processes asks first, and the answer is no unless you choose yes.": func(t *testing.T) {
			for _, k := range []string{"s", "r", "d"} {
				d := dashboard(t)
				d.Press(k)
				require.Contains(t, d.Screen(), "notebook?", k)
				d.Press("enter")
				require.Empty(t, d.WS.Log(), k)
			}
		},
		"is deleted in the dashboard only after its name was typed": func(t *testing.T) {
			d := dashboard(t)
			d.Press("d")
			require.Contains(t, d.Screen(), "Type notebook to go on")
			d.Type("y")
			d.Press("enter")
			require.Empty(t, d.WS.Log())
			d.Press("ctrl+u")
			d.Type("notebook")
			d.Press("enter")
			require.Equal(t, []string{"delete notebook"}, d.WS.Log())
		},
		"several, after their number was": func(t *testing.T) {
			d := dashboard(t)
			d.Press("g", " ", " ", "d")
			n := fmt.Sprint(len(d.M.Subjects()))
			require.Contains(t, d.Screen(), "Type "+n+" to go on")
			d.Type("y")
			d.Press("enter")
			require.Empty(t, d.WS.Log())
			d.Press("ctrl+u")
			d.Type(n)
			d.Press("enter")
			require.Len(t, d.WS.Log(), 2)
		},
		"`berth rm NAME`, for which you have typed the name, says what is lost and asks for `y`": func(t *testing.T) {
			for answer, left := range map[string]int{"\n": 1, "vision\n": 1, "n\n": 1, "y\n": 0} {
				if len(w.ls()) == 0 {
					w.ok("create", "vision")
				}
				c := w.inTerminal("rm", "vision")
				eventually(t, "it asks", func() bool { return strings.Contains(c.screen(), "Delete vision?") })
				require.Contains(t, c.screen(), "all its files and processes are lost for good")
				_, err := c.tty.WriteString(answer)
				require.NoError(t, err)
				<-c.done
				require.Len(t, w.ls(), left, "%q: %s", answer, c.screen())
			}
		},
		"without a terminal it refuses, unless `-y` stands there": func(t *testing.T) {
			if len(w.ls()) == 0 {
				w.ok("create", "vision")
			}
			require.Equal(t, 5, w.run("rm", "vision").code)
			require.Len(t, w.ls(), 1)
			w.ok("rm", "-y", "vision")
			require.Empty(t, w.ls())
		},
	} {
		require.Contains(t, page, clause, "the page says something else now: say here what holds it")
		t.Run(clause, holds)
	}
}
