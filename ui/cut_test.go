package ui_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/ui/uitest"
)

// text is what is on the screen without frames and line ends.
func text(d *uitest.Driver) string {
	s := strings.NewReplacer("│", " ", "\n", " ", "▌", " ", "↓", " ", "↑", " ").Replace(d.Screen())
	return strings.Join(strings.Fields(s), " ")
}

// TestTheCommandLineOfAFormIsWhole: what would be run is shown to its end, however long, and covers no field.
func TestTheCommandLineOfAFormIsWhole(t *testing.T) {
	for _, z := range [][2]int{{80, 24}, {120, 40}, {200, 60}} {
		d := uitest.Drive(uitest.Options{Width: z[0], Height: z[1], Look: uitest.Plain}, uitest.Small(uitest.Epoch)...)
		d.Press("n")
		d.Type(nameA)
		d.Press("tab", "right", "tab", "tab", "tab", "tab", "tab")
		d.Type("pytorch,a-profile-of-the-institute,another-profile-of-the-institute")
		d.Press("tab")
		d.Type("/home/ada/scripts of the institute/set-up-of-every-machine.sh")
		d.Press("tab", "right")
		d.Press("ctrl+y")
		require.Len(t, d.Copied, 1)
		c := d.Copied[0]
		d.Press("shift+tab") // what was said of it goes
		require.Greater(t, len(c), 3*80)
		require.Contains(t, strings.ReplaceAll(text(d), " ", ""), strings.ReplaceAll("$ "+c, " ", ""), "at %v", z)
		require.Contains(t, d.Screen(), "( Create )", "at %v", z)
		d.Close()
	}
}

// TestTheConsoleIsWhole: a line that is longer than the screen is wide goes on below.
func TestTheConsoleIsWhole(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.WS.Text = "first\n" + strings.Repeat("a long line of a kernel ", 20) + "its end\nlast\n"
	d.To("notebook")
	d.Press("C")
	require.Contains(t, strings.ReplaceAll(text(d), " ", ""), strings.ReplaceAll(d.WS.Text, " ", "")[6:240])
	require.Contains(t, d.Screen(), "its end")
	require.NotContains(t, d.Screen(), "…")
}

// TestAReasonIsWhole: why an action is not possible is said to its end, in the menu of actions and where its key was
// pressed.
func TestAReasonIsWhole(t *testing.T) {
	const why = "the host was set up by somebody else, who lets nobody copy its disks before the administrator of the " +
		"institute has agreed, which takes a day or two: ask at the desk"
	for _, z := range [][2]int{{80, 24}, {120, 40}, {60, 20}} {
		list := uitest.Small(uitest.Epoch)
		list[1].Capabilities.Restart = false
		list[1].Capabilities.Why = map[string]string{"clone": why, "restart": why}
		d := uitest.Drive(uitest.Options{Width: z[0], Height: z[1], Look: uitest.Plain}, list...)
		d.To("notebook")
		d.Press("r")
		require.Contains(t, text(d), why, "at %v", z)
		d.Press("A")
		d.Type("clone")
		var words []string // of the menu's second column only
		for _, l := range d.Lines() {
			if _, in, ok := strings.Cut(l, "│"); ok && !strings.Contains(in, "/ clone") {
				in, _, _ = strings.Cut(in, "│")
				words = append(words, strings.Fields(strings.TrimPrefix(strings.TrimLeft(in, " ▌"), "clone"))...)
			}
		}
		require.Contains(t, strings.Join(words, " "), why, "at %v", z)
		d.Close()
	}
}

// TestALongMenuScrollsByWholeItems walks down a menu whose items take several lines each: the one under the cursor is
// in sight as a whole, and a click on any of its lines takes it.
func TestALongMenuScrollsByWholeItems(t *testing.T) {
	list := uitest.Small(uitest.Epoch)
	why := strings.Repeat("not before the administrator has agreed ", 4)
	list[1].Capabilities.Why = map[string]string{}
	for _, what := range []string{"start", "stop", "restart", "snapshots", "clone", "build", "console", "delete"} {
		list[1].Capabilities.Why[what] = what + ": " + why + "to " + what
	}
	list[1].Capabilities.Stop, list[1].Capabilities.Restart, list[1].Capabilities.Console = false, false, false
	list[1].Capabilities.Delete = false
	d := drive(t, list...)
	d.To("notebook")
	d.Press("A")
	for _, what := range []string{"stop", "restart", "snapshots", "clone", "build", "console", "delete"} {
		d.Press("down")
		require.Contains(t, text(d), what+": ", what)
		require.Contains(t, text(d), "to "+what, what)
	}
	require.True(t, d.Click("to delete"))
	require.Contains(t, text(d), "delete: "+why+"to delete", "said in the status line")
}

// TestTheMenuSaysWhatIsDeleted: an environment on this computer has a folder and no disk.
func TestTheMenuSaysWhatIsDeleted(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	for name, want := range map[string]string{"scratch": "with its folder; asks first", "notebook": "with its disk; asks first",
		"gpu-lab": "the machine itself stays as it is"} {
		d.To(name)
		d.Press("A")
		require.Contains(t, d.Screen(), want, name)
		d.Press("esc")
	}
}

// TestACutBoxHasAMark: a question that is higher than the screen says that something of it is missing.
func TestACutBoxHasAMark(t *testing.T) {
	d := uitest.Drive(uitest.Options{Width: 40, Height: 10, Look: uitest.Plain}, uitest.Small(uitest.Epoch)...)
	t.Cleanup(d.Close)
	d.To("notebook")
	d.Press("s")
	require.Contains(t, d.Screen(), "│ … ")
	d.Resize(120, 40)
	require.NotContains(t, d.Screen(), "│ … ")
}

// TestAFormThatScrollsSaysSo has a mark where fields are hidden.
func TestAFormThatScrollsSaysSo(t *testing.T) {
	d := uitest.Drive(uitest.Options{Width: 80, Height: 10, Look: uitest.Plain}, uitest.Small(uitest.Epoch)...)
	t.Cleanup(d.Close)
	d.Press("n")
	require.Contains(t, d.Screen(), "↓")
	require.NotContains(t, d.Screen(), "↑")
	d.Press("shift+tab")
	require.Contains(t, d.Screen(), "↑")
	require.NotContains(t, d.Screen(), "↓")
	d.Resize(120, 40)
	require.NotContains(t, d.Screen(), "↑")
}
