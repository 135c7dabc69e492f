//go:build vm

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/base/paths"
	"berth/backend/libvirt/libvirttest"
)

// vmWorld is a home whose backend is a libvirtd of its own, with emulated machines.
type vmWorld struct {
	*world
	virt  *libvirttest.Daemon
	agent string // limits.agent; "": what the slowest machine needs
}

// emulated has room for the worlds whose machines run at the same time: a machine without KVM takes a processor for as
// long as it boots, and more of them than processors only wait for each other longer than operations do.
var emulated = make(chan struct{}, 2*runtime.GOMAXPROCS(0))

// newVMWorld makes one whose images are the named guests, the first being the default.
func newVMWorld(t *testing.T, guests ...string) *vmWorld {
	t.Helper()
	images := make([]libvirttest.Guest, len(guests))
	for i, g := range guests {
		images[i] = libvirttest.GetGuest(t, g)
	}
	emulated <- struct{}{}
	t.Cleanup(func() { <-emulated })
	w := &vmWorld{virt: libvirttest.Start(t)}
	w.world = newWorld(t) // ended before the libvirtd
	t.Cleanup(func() {    // before the world ends
		if t.Failed() && paths.Exists(w.home) {
			t.Logf("what happened:\n%s\nthe daemon's log:\n%s", w.run("events").out, w.run("daemon", "logs").out)
		}
	})
	require.NoError(t, os.MkdirAll(w.home, 0o700))
	libvirttest.WriteCatalogue(t, w.home, images...)
	w.configure("")
	w.sizes(`[[size]]
name = "test"
vcpus = 1
memory = "768MiB"
disk = "3GB"
default = true

[[size]]
name = "large"
vcpus = 1
memory = "1280MiB"
disk = "5GB"
`)
	return w
}

// sizes replaces the home's sizes.
func (w *vmWorld) sizes(text string) {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile(filepath.Join(w.home, "sizes.toml"), []byte(text), 0o600))
}

// configure writes the home's configuration, with more at its end.
func (w *vmWorld) configure(more string) {
	w.t.Helper()
	text := fmt.Sprintf(`[defaults]
backend = "libvirt"
[backend.libvirt]
uri = %q
pool_path = %q
network = "user"
accel = "emulate"
[limits]
agent = %q
gentle = "40s"
%s
`, w.virt.URI, w.virt.Pool, cmp.Or(w.agent, "12m"), more)
	require.NoError(w.t, os.WriteFile(filepath.Join(w.home, "config.toml"), []byte(text), 0o600))
}

// patient runs berth with the time that emulated machines take.
func (w *vmWorld) patient(args ...string) result {
	w.t.Helper()
	return w.runWithin(14*time.Minute, args...)
}

// does runs berth patiently and wants success.
func (w *vmWorld) does(args ...string) string {
	w.t.Helper()
	r := w.patient(args...)
	require.Zero(w.t, r.code, "berth %s: %s", strings.Join(args, " "), r.err)
	return r.out
}

// clean deletes every instance and checks that nothing is left of them, neither by doctor nor by libvirt.
func (w *vmWorld) clean() {
	w.t.Helper()
	for _, in := range w.ls() {
		w.does("rm", "-y", in.Name)
	}
	w.nothingLeft()
}

// sealed waits until the host key that was handed in is in use no longer, and checks that no seed holds it.
func (w *vmWorld) sealed(name string) {
	w.t.Helper()
	eventuallyLong(w.t, "its host key is renewed", func() bool {
		return w.show(name).Operation == nil && strings.Contains(w.does("events", name), "renewing its host key: done")
	})
	require.NotContains(w.t, w.does("events", name), "keeps the host key")
	seeds, err := filepath.Glob(filepath.Join(w.virt.Pool, "*seed*"))
	require.NoError(w.t, err)
	require.NotEmpty(w.t, seeds)
	for _, s := range seeds {
		b, err := os.ReadFile(s)
		require.NoError(w.t, err)
		require.Contains(w.t, string(b), "#cloud-config")
		require.NotContains(w.t, string(b), "PRIVATE KEY")
	}
}

// nothingLeft checks that neither doctor nor libvirt has anything of an instance.
func (w *vmWorld) nothingLeft() {
	w.t.Helper()
	require.NotContains(w.t, w.does("doctor"), "leftover")
	l := w.virt.Connect()
	doms, _, err := l.ConnectListAllDomains(1, 0)
	require.NoError(w.t, err)
	require.Empty(w.t, doms)
	files, err := os.ReadDir(w.virt.Pool)
	require.NoError(w.t, err)
	for _, f := range files {
		require.NotContains(w.t, f.Name(), ".op-", "a volume of an instance is left in the pool")
	}
}

// inventory returns what is installed on an instance.
func (w *vmWorld) inventory(name string) api.Inventory {
	w.t.Helper()
	var inv api.Inventory
	require.NoError(w.t, json.Unmarshal([]byte(w.does("inventory", name, "--json")), &inv))
	return inv
}

// eventuallyLong polls until f holds, for as long as an emulated machine may take.
func eventuallyLong(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(9 * time.Minute)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
