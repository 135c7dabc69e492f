package ui_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"berth/ui/uitest"
)

// able makes the fleet's notebook and archive, which is stopped, instances that can be cloned and made images of.
func able(t *testing.T) *uitest.Driver {
	list := uitest.Small(uitest.Epoch)
	for i := range list {
		if n := list[i].Name; n == "notebook" || n == "archive" {
			list[i].Capabilities.Clone, list[i].Capabilities.Build = true, true
		}
		if list[i].Name == "scratch" {
			list[i].Capabilities.Why = map[string]string{"clone": "an instance on this computer has no disk of its own"}
		}
	}
	return drive(t, list...)
}

func TestCloningAndImages(t *testing.T) {
	d := able(t)
	d.To("archive")
	d.Press("A")
	d.Type("clone")
	d.Press("enter")
	require.Contains(t, d.Screen(), "Clone archive")
	d.Type("train-1")
	d.Press("enter")
	require.Contains(t, d.Screen(), "there is an instance train-1 already")
	for range 7 {
		d.Press("backspace")
	}
	d.Type("copy-1")
	d.Press("enter")
	require.Contains(t, d.WS.Log(), "create copy-1  ")
	require.Equal(t, "archive", d.WS.Asked().From)

	d = able(t)
	d.To("notebook")
	d.Press(":")
	d.Type("image notebook")
	d.Press("enter")
	require.Contains(t, d.Screen(), "It is stopped meanwhile")
	d.Type("torch")
	d.Press("enter")
	require.Contains(t, d.WS.Log(), "image build torch notebook")
}

// What can never be is said before what can be put right.
func TestTheImpossibleIsSaidFirst(t *testing.T) {
	d := able(t)
	d.Press(":")
	d.Type("clone scratch") // it runs, and is on this computer
	d.Press("enter")
	require.Contains(t, d.Screen(), "an instance on this computer has no disk of its own")
	d.Press(":")
	d.Type("clone notebook")
	d.Press("enter")
	require.Contains(t, d.Screen(), "notebook is running: its disk can be copied whole only while it is stopped")
	d.To("scratch")
	d.Press("A")
	require.Contains(t, d.Screen(), "✗ an instance on this computer has no disk of its own")
	require.Empty(t, d.WS.Log())
}
