//go:build vm

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/libvirt/libvirttest"
)

// TestTwoHomesOnOneLibvirtd lets two homes work with one libvirtd: before they join neither sees the other's machine,
// then both see both, a pause behind them is told, and what one deletes is gone for the other. The machines have an
// empty disk: no agent ever answers there.
func TestTwoHomesOnOneLibvirtd(t *testing.T) {
	virt := libvirttest.Start(t)
	disk := filepath.Join(t.TempDir(), "empty.qcow2")
	out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", disk, "64M").CombinedOutput()
	require.NoError(t, err, string(out))
	home := func(instance string) *vmWorld {
		w := &vmWorld{virt: virt, agent: "10m"}
		w.world = newWorld(t)
		require.NoError(t, os.MkdirAll(w.home, 0o700))
		libvirttest.WriteCatalogue(t, w.home, libvirttest.Guest{Name: "empty", Disk: disk, User: "berth", Arch: "amd64"})
		w.configure("")
		w.sizes("[[size]]\nname = \"t\"\nvcpus = 1\nmemory = \"128MiB\"\ndisk = \"64MiB\"\ndefault = true\n")
		w.does("create", instance, "--no-wait")
		return w
	}
	a, b := home("from-a"), home("from-b")
	names := func(w *vmWorld) (out []string) {
		for _, in := range w.ls() {
			out = append(out, in.Name)
		}
		return out
	}
	has := func(w *vmWorld, want ...string) func() bool {
		return func() bool { return strings.Join(names(w), " ") == strings.Join(want, " ") }
	}
	machines := func() int {
		doms, _, err := virt.Connect().ConnectListAllDomains(1, 0)
		require.NoError(t, err)
		return len(doms)
	}
	eventuallyLong(t, "two machines", func() bool { return machines() == 2 })
	require.Equal(t, []string{"from-a"}, names(a))
	require.Equal(t, []string{"from-b"}, names(b))
	said := a.does("doctor")
	require.Contains(t, said, "was made by another home")
	require.NotContains(t, said, "--remove")

	b.does("workspace", "join", strings.TrimSpace(a.does("workspace", "show")))
	eventuallyLong(t, "b sees both", has(b, "from-a", "from-b"))
	eventuallyLong(t, "a sees both", has(a, "from-a", "from-b"))
	for _, w := range []*vmWorld{a, b} {
		said := w.does("doctor")
		require.NotContains(t, said, "another home, and is")
		require.NotContains(t, said, "--remove")
	}
	require.Contains(t, b.does("show", "from-a"), "Another home of this workspace made it")

	l := virt.Connect()
	dom, err := l.DomainLookupByName("berth-from-a")
	require.NoError(t, err)
	require.NoError(t, l.DomainSuspend(dom))
	eventually(t, "b is told of the pause", func() bool {
		in := b.show("from-a")
		return in.State == api.StateUnusable && strings.Contains(in.StateReason, "paused")
	})
	b.does("rm", "-y", "from-a")
	require.Equal(t, []string{"from-b"}, names(b))
	require.Equal(t, 1, machines())
}
