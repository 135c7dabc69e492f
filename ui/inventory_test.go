package ui_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"berth/ui/uitest"
)

func inventoryOf(t *testing.T, name string) *uitest.Driver {
	t.Helper()
	d := uitest.Drive(uitest.Options{Width: 100, Height: 30, Look: uitest.Plain},
		uitest.WithProfiles(uitest.Small(uitest.Epoch), "notebook", "cuda=12.6", "pytorch")...)
	t.Cleanup(d.Close)
	d.To(name)
	d.Press("enter", "i")
	d.Settle()
	return d
}

func TestAnInventoryIsHeldAgainstItsProfiles(t *testing.T) {
	d := inventoryOf(t, "notebook")
	require.Contains(t, d.Screen(), "not as promised: 5")
	require.Contains(t, d.Screen(), "! 12.4.1")
	d.Press(".")
	require.NotContains(t, d.Screen(), "Docker")
	require.Contains(t, d.Screen(), "torch ")
	d.Press("esc")
	require.Contains(t, d.Screen(), "Docker")
	d.Press("/")
	d.Type("!docker")
	require.Contains(t, d.Screen(), "torch ")
	d.Press("esc", "/")
	d.Type("conda torch")
	d.Press("enter")
	require.NotContains(t, d.Screen(), "Docker")
	require.Contains(t, d.Screen(), "torchvision")
	d.Press("G", "y")
	d.Settle()
	require.Equal(t, []string{"torchvision 0.20.1"}, d.Copied)
	d.Press("esc", "c")
	d.Settle()
	require.Equal(t, "berth inventory notebook", d.Copied[1])
}

func TestTwoInventoriesSideBySide(t *testing.T) {
	d := inventoryOf(t, "notebook")
	require.NotContains(t, d.Screen(), "4.1.6")
	d.Press("v")
	d.Type("train-1")
	d.Press("enter")
	d.Settle()
	require.Contains(t, d.Screen(), "~ 4.1.6")
	d.Press("c")
	d.Settle()
	require.Equal(t, []string{"berth inventory notebook train-1"}, d.Copied)
	d.Press("v")
	d.Type("none")
	d.Press("enter")
	d.Settle()
	require.NotContains(t, d.Screen(), "4.1.6")
}

func TestAnInventoryThatCanNotBeRead(t *testing.T) {
	d := inventoryOf(t, "train-2")
	require.Contains(t, d.Screen(), "its agent can't be reached")
	require.Contains(t, d.Screen(), "berth start train-2")
	d.Press("j", "y", ".", "v")
	d.Type("notebook")
	d.Press("enter")
	d.Settle()
	require.NotContains(t, d.Screen(), "Docker", "what is known of one only is no difference")
	d.Press(".")
	require.Contains(t, d.Screen(), "12.4.1", "the other one is there")
	require.Contains(t, d.Screen(), "Docker")
	require.Contains(t, d.Screen(), "its agent can't be reached")
}

func TestAnInventoryOfNothing(t *testing.T) {
	d := inventoryOf(t, "notebook")
	d.Press("esc", "esc", ":")
	d.Type("inventory nosuch")
	d.Press("enter")
	d.Settle()
	require.Contains(t, d.Screen(), "there is no instance nosuch")
}
