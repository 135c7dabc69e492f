package ui_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/ui/uitest"
)

// adopting opens the form that takes a machine in, where ssh knows these hosts.
func adopting(t *testing.T, hosts ...string) *uitest.Driver {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.E.SSHHosts = func() []string { return hosts }
	d.Press("a")
	return d
}

func TestAdoptOffersTheHostsOfSSH(t *testing.T) {
	d := adopting(t, "lab-1", "lab-2", "web", "vision.berth")
	require.Contains(t, d.Screen(), "enter lists the hosts of ~/.ssh/config")
	d.Press("enter")
	for _, h := range []string{"lab-1", "lab-2", "web"} {
		require.Contains(t, d.Screen(), h)
	}
	require.NotContains(t, d.Screen(), "vision.berth", "it is an instance already")
	d.Press("down", "enter")
	require.Contains(t, d.Screen(), "$ berth adopt lab-2 lab-2", "its name is derived")
	d.Press("enter")
	require.Contains(t, d.WS.Log(), "adopt lab-2 lab-2 false")

	// What is typed is completed, a user before it is kept.
	d = adopting(t, "lab-1", "lab-2", "web")
	d.Type("ada@l")
	require.Contains(t, d.Screen(), "in ~/.ssh/config: lab-1, lab-2 (tab completes)")
	d.Press("tab")
	d.Type("2")
	require.Contains(t, d.Screen(), "berth adopt lab-2 ada@lab-2")
	require.NotContains(t, d.Screen(), "tab completes")
	d.Press("tab", "tab")
	require.Contains(t, d.Row(), "host key", "what is complete is left as it is")

	// Without any it is as before.
	d = adopting(t)
	d.Press("enter")
	require.Contains(t, d.Screen(), "which machine? as you would name it to ssh")
}

// On the choice of this computer, enter adopts it.
func TestEnterOnThisComputerAdoptsIt(t *testing.T) {
	d := adopting(t, "lab-1")
	d.Press("up", "right")
	require.Contains(t, d.Row(), "this computer")
	d.Press("enter")
	require.Contains(t, d.WS.Log(), "adopt this-computer  true")

	d = adopting(t, "lab-1")
	d.Press("up", "enter") // another machine: which?
	require.Contains(t, d.Screen(), "Adopt which host of ~/.ssh/config?")
	d = adopting(t)
	d.Press("up", "enter")
	require.Contains(t, d.Row(), "target")
	require.Empty(t, d.WS.Log())
	d.Press("up")
	require.True(t, d.Click("another machine"))
	require.Contains(t, d.Screen(), "this computer", "a click goes to the other")
}

// TestABackendThatDoesNotAnswerSaysSo asks for the sizes of one that is off: nothing looks for ever, the reason and
// what to do about it are said once.
func TestABackendThatDoesNotAnswerSaysSo(t *testing.T) {
	for _, z := range [][2]int{{80, 24}, {120, 40}} {
		o := uitest.Options{Width: z[0], Height: z[1], Look: uitest.Plain}
		o.Config.Defaults.Backend = "libvirt"
		list := uitest.Small(uitest.Epoch)
		list[1].Backend = "libvirt"
		d := uitest.Drive(o, list...)
		off := api.Errorf(api.CodeUnreachable, "connecting to qemu:///system: no such file").
			WithHint("start libvirtd: sudo systemctl start libvirtd")
		d.WS.OffersErr = func(b string) error {
			if b == "libvirt" {
				return off
			}
			return nil
		}
		d.Press("n")
		s := d.Screen()
		require.Contains(t, s, "‹ libvirt ›")
		require.NotContains(t, s, "looking")
		require.Equal(t, 1, strings.Count(s, "connecting to qemu:///system: no such file"), s)
		require.Contains(t, s, "start libvirtd: sudo systemctl start libvirtd")
		require.Equal(t, 2, strings.Count(s, "not known: libvirt does not tell"))
		d.Press("tab", "right") // another backend
		require.NotContains(t, d.Screen(), "qemu:///system")
		require.NotContains(t, d.Screen(), "not known")
		d.WS.OffersErr = nil
		d.Press("left")
		require.NotContains(t, d.Screen(), "qemu:///system", "it is asked again")
		d.Close()
	}
}

// A creation that fails is said once on the screen.
func TestAFailedCreationIsSaidOnce(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.WS.Fail = func(string, string) error { return api.Errorf(api.CodeQuota, "no quota is left") }
	d.Press("n", "enter")
	require.Equal(t, 1, strings.Count(d.Screen(), "no quota is left"))
}

// What an operation failed of is said once on a screen, also where the state has it for its reason.
func TestAFailureIsSaidOnce(t *testing.T) {
	for _, z := range [][2]int{{80, 24}, {120, 40}, {200, 60}} {
		d := uitest.Drive(uitest.Options{Width: z[0], Height: z[1], Look: uitest.Plain})
		d.Press("n", "enter")
		d.WS.FailOp("op-1", api.Errorf(api.CodeConflict, "CUDA 12.6 has no packages for trixie").WithHint("take bookworm"))
		d.Settle()
		s := d.Screen()
		require.Equal(t, 1, strings.Count(s, "CUDA 12.6 has no packages for trixie"), s)
		require.Contains(t, s, "take bookworm")
		d.Press("esc")
		require.LessOrEqual(t, strings.Count(d.Screen(), "CUDA 12.6 has no packages"), 1)
		d.Close()
	}
}
