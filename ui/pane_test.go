package ui_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/ui/uitest"
)

func TestTheInstanceUnderTheCursorIsShownWhereThereIsRoom(t *testing.T) {
	for _, z := range [][2]int{{96, 30}, {120, 40}, {200, 60}} {
		d := uitest.Drive(uitest.Options{Width: z[0], Height: z[1], Look: uitest.Plain}, uitest.Small(uitest.Epoch)...)
		d.To("train-2")
		require.Contains(t, d.Screen(), "waiting for the machine  9s")
		d.Pass(time.Second)
		require.Contains(t, d.Screen(), "waiting for the machine  10s")
		d.To("big-one")
		require.NotContains(t, d.Screen(), "waiting for the machine  ")
		require.Contains(t, d.Screen(), "InsufficientInstanceCapacity")
		d.To("gpu-lab")
		require.Contains(t, d.Screen(), "Not possible here")
		d.Press("/")
		d.Type("no such")
		require.NotContains(t, d.Screen(), "Not possible here")
	}
	// Of keys that are held, the list goes first; p hides it.
	d := uitest.Drive(uitest.Options{Width: 120, Height: 40, Look: uitest.Plain}, uitest.Small(uitest.Epoch)...)
	d.To("notebook")
	d.Press("k", "k", "k")
	require.Contains(t, d.Screen(), "gpu-lab.example.org", "the first key shows it at once")
	d.Pass(time.Second)
	require.NotContains(t, d.Screen(), "gpu-lab.example.org")
	require.Contains(t, d.Screen(), "grace")
	d.Press("p")
	require.NotContains(t, d.Screen(), "Machine")
	// It takes no line from the rows, and no column from a narrow screen.
	d = uitest.Drive(uitest.Options{Width: 120, Height: 40, Look: uitest.Plain}, uitest.Many(uitest.Epoch, 30)...)
	require.NotContains(t, d.Screen(), "Machine")
	d = uitest.Drive(uitest.Options{Width: 80, Height: 40, Look: uitest.Plain}, uitest.Small(uitest.Epoch)...)
	require.NotContains(t, d.Screen(), "Machine")
}
