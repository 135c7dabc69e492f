package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"berth/ui/uitest"
)

// TestThePaletteKnowsEveryCommand: of no command that the command line has does the dashboard say that there is none.
func TestThePaletteKnowsEveryCommand(t *testing.T) {
	all := commands(newApp().root())
	paths := map[string]bool{}
	for _, c := range all {
		paths[c.Path] = true
	}
	for _, must := range []string{"image build", "snapshot ls", "config show", "rm", "set", "profile lint"} {
		require.True(t, paths[must], must)
	}
	require.False(t, paths["agent"], "it is hidden")
	o := uitest.Options{Width: 120, Height: 40, Look: uitest.Plain}
	o.Config.Commands = all
	d := uitest.Drive(o, uitest.Small(uitest.Epoch)...)
	t.Cleanup(d.Close)
	for _, c := range all {
		for _, line := range []string{c.Path, c.Path + " notebook"} {
			if line == "help notebook" || line == "adopt notebook" { // these take no instance
				continue
			}
			d.Press(":")
			d.Type(line)
			for _, lie := range []string{"there is no command", "knows nothing called", "nothing follows"} {
				require.NotContains(t, d.Screen(), lie, line)
			}
			d.Press("esc")
		}
	}
	d.Press(":")
	d.Type("frobnicate notebook")
	require.Contains(t, d.Screen(), "there is no command frobnicate", "it can fail")
}
