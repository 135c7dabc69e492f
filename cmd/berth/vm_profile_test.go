//go:build vm

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/libvirt/libvirttest"
)

// TestVMProfileThatRestartsTheMachine applies a profile with a restart in the middle: the machine is
// restarted once, by its agent, and the steps after that are run.
func TestVMProfileThatRestartsTheMachine(t *testing.T) {
	libvirttest.Long(t)
	w := newVMWorld(t, libvirttest.Fast)
	b, err := os.ReadFile("../../backend/machine/profile/testdata/restart.toml")
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(w.home, "profiles"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(w.home, "profiles", "restart.toml"),
		append(b, "\n[[promises]]\ncomponent = \"nginx\"\n"...), 0o600))
	stop := make(chan struct{})
	go func() {
		last := ""
		for {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Second):
				c := w.patient("show", "vision", "--console").out
				l := c[max(0, len(c)-160):]
				if l != last {
					last = l
					t.Logf("%s console %d: %q", time.Now().Format("15:04:05"), len(c), l)
				}
			}
		}
	}()
	r := w.patient("create", "vision", "--profile", "restart")
	close(stop)
	require.Zero(t, r.code, r.err)
	in := w.show("vision")
	require.Equal(t, api.StateRunning, in.State)
	require.Equal(t, []string{"restart"}, in.Profiles)
	require.Equal(t, "restarted\n", w.does("exec", "vision", "--", "cat", "/var/lib/berth-restart/restarts"))
	boots := strings.Fields(w.does("exec", "vision", "--", "cat", "/var/lib/berth-restart/before",
		"/var/lib/berth-restart/after", "/proc/sys/kernel/random/boot_id"))
	require.Len(t, boots, 3)
	require.NotEqual(t, boots[0], boots[1])
	require.Equal(t, boots[1], boots[2])

	// A second time there is nothing to do.
	w.does("setup", "vision", "--profile", "restart")
	require.Equal(t, "restarted\n", w.does("exec", "vision", "--", "cat", "/var/lib/berth-restart/restarts"))

	inv := w.inventory("vision")
	require.NotEmpty(t, inv.System)
	require.Equal(t, []api.Drift{{Component: "nginx", Kind: "missing", Profile: "restart"}}, inv.Drift)
	w.clean()
}
