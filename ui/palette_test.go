package ui_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/assets"
	"berth/ui/screen"
	"berth/ui/uitest"
)

// TestThePaletteKnowsWhatItUnderstands: of a line that enter would carry out it never says that nothing fits.
func TestThePaletteKnowsWhatItUnderstands(t *testing.T) {
	for line, want := range map[string]string{
		"filter gpu !stopped":   "filter gpu !stopped",
		"filter ":               "show only what matches",
		"quit ":                 "leave; what runs goes on running",
		"create gpu-9":          "create gpu-9",
		"wall idle":             "wall idle",
		"stop train-1 note":     "stop train-1 notebook",
		"halt train-1 notebook": "stop train-1 notebook",
		"inventory train-1 ":    "inventory train-1 scratch",
		"sort -pr":              "sort -price",
		"stop train-1 nobody":   "stop knows nothing called nobody; enter tries it all the same",
		"frobnicate":            "there is no command frobnicate",
		"quit now":              "nothing follows quit",
		"clone train-1":         "clone train-1",
		"adopt local":           "adopt local",
	} {
		d := drive(t, uitest.Small(uitest.Epoch)...)
		d.Press(":")
		d.Type(line)
		require.Contains(t, d.Screen(), want, line)
	}
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.Press(":")
	d.Type("stop train-1 notebook")
	d.Press("enter")
	require.Contains(t, d.Screen(), "Stop 2 instances?")
	d.Press("esc", ":")
	d.Type("filter train")
	d.Press("enter")
	require.Contains(t, d.Screen(), "filter train")
	require.NotContains(t, d.Screen(), "archive ")
}

// TestExamplesOfThePage: the palette understands each line that the help page about it shows.
func TestExamplesOfThePage(t *testing.T) {
	page, ok := assets.HelpPage("commands")
	require.True(t, ok)
	seen := 0
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, "    :") {
			continue
		}
		for _, example := range regexp.MustCompile(` {2,}`).Split(strings.TrimSpace(line), -1) {
			d := drive(t, uitest.Small(uitest.Epoch)...)
			d.Press(":")
			d.Type(strings.TrimPrefix(example, ":"))
			verb, _, _ := strings.Cut(strings.TrimPrefix(example, ":"), " ")
			require.Contains(t, d.Screen(), verb, example)
			require.NotContains(t, d.Screen(), "there is no command", example)
			require.NotContains(t, d.Screen(), "nothing follows", example)
			seen++
		}
	}
	require.Greater(t, seen, 5)
}

// TestThePaletteTakesTheWordsOfTheCommandLine: what is typed as for a shell does the same, and what the dashboard does
// not do is given to copy.
func TestThePaletteTakesTheWordsOfTheCommandLine(t *testing.T) {
	list := uitest.Small(uitest.Epoch)
	for i := range list {
		list[i].Owner, list[i].AssignedTo = "ada", "ada"
		list[i].Capabilities.Build, list[i].Capabilities.Clone, list[i].Capabilities.Snapshots = true, true, true
	}
	o := uitest.Options{Width: 100, Height: 30, Look: uitest.Plain}
	o.Config.Commands = []screen.Command{{Path: "image build", Desc: "Make"}, {Path: "image rm", Desc: "Remove an image"},
		{Path: "snapshot ls", Desc: "List"}, {Path: "sizes", Desc: "What sizes can be had"}}
	for line, want := range map[string]string{
		"image build notebook":               "name of the image",
		"image notebook":                     "name of the image",
		"image build best-1 --from notebook": "Could not make an image of notebook", // the backend of the test makes none
		"clone archive archive-2":            "berth clone archive archive-2",
		"clone archive":                      "name of the new instance",
		"clone notebook new-1":               "its disk can be copied whole only while it is stopped",
		"snapshot ls notebook":               "› snapshots",
		"image rm old 'one'":                 "copied the command line: berth image rm old 'one'",
		"siz":                                "copied the command line: berth sizes",
		"stop notebook --force":              "--force is an option of the command line",
		"ls":                                 "fleet",
	} {
		d := uitest.Drive(o, list...)
		d.Press(":")
		require.NotContains(t, d.Screen(), "sizes", "what is only done from a shell does not fill the list")
		d.Type(line)
		for _, lie := range []string{"there is no command", "knows nothing called", "nothing follows"} {
			if !strings.Contains(line, "--force") {
				require.NotContains(t, d.Screen(), lie, line)
			}
		}
		d.Press("enter")
		require.Contains(t, d.Screen(), want, line)
		d.Close()
	}
	d := uitest.Drive(o, list...)
	t.Cleanup(d.Close)
	d.Press(":")
	d.Type("image b")
	require.Contains(t, d.Screen(), "image build")
	d.Press("backspace")
	require.Contains(t, d.Screen(), "image rm")
	require.Contains(t, d.Screen(), "image build notebook")
}

// TestEventsOfWhatIsGone: they are still shown, with a word that it is there no more.
func TestEventsOfWhatIsGone(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.To("train-1")
	d.Press("e")
	require.NotContains(t, d.Screen(), "is gone")
	d.Press("esc")
	d.To("train-1")
	d.Press("d")
	d.Type("train-1")
	d.Press("enter")
	d.WS.Finish("op-1")
	d.Settle()
	require.Nil(t, d.E.Store.ByName("train-1"))
	d.Press(":")
	d.Type("events train-1")
	d.Press("enter")
	require.Contains(t, d.Screen(), "train-1 is gone; this is what is kept of it")
	require.Contains(t, d.Screen(), "delete: ")
	d.Press("esc", ":")
	d.Type("events train-9")
	d.Press("enter")
	require.NotContains(t, d.Screen(), "is gone", "there was none")
}
