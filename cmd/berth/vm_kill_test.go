//go:build vm

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/libvirt"
	"berth/backend/libvirt/libvirttest"
	"berth/backend/service/workspace"
)

// beside makes a further home on the same libvirtd, for one subtest.
func (w *vmWorld) beside(t *testing.T) *vmWorld {
	t.Helper()
	n := &vmWorld{world: newWorld(t), virt: w.virt}
	require.NoError(t, os.MkdirAll(n.home, 0o700))
	for _, f := range []string{"images.toml", "sizes.toml", "config.toml"} {
		b, err := os.ReadFile(filepath.Join(w.home, f))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(n.home, f), b, 0o600))
	}
	return n
}

// struck runs berth with a fault at point and checks that it struck and that the call succeeded all the same.
func (w *vmWorld) struck(point string, args ...string) {
	w.t.Helper()
	w.run("daemon", "stop")
	mark := filepath.Join(w.t.TempDir(), "struck")
	w.env = []string{"BERTH_TEST_FAULT=" + point + " " + mark}
	r := w.patient(args...)
	w.env = nil
	require.Zero(w.t, r.code, "%s with a kill at %s: %s", strings.Join(args, " "), point, r.err)
	eventuallyLong(w.t, "the point is reached", func() bool { // one after the end may be reached after the answer
		_, err := os.Stat(mark)
		return err == nil
	})
}

// TestVMDaemonKilled kills the daemon while a real machine is made and deleted: at four points, in the long form
// (BERTH_CHAOS) at each one, those inside the backend's calls included. The workspace's tests and libvirt's own go
// through all of theirs.
func TestVMDaemonKilled(t *testing.T) {
	t.Parallel()
	base := newVMWorld(t, libvirttest.Tiny, libvirttest.Fast)
	points := []string{"libvirt.create.defined", "libvirt.create.started", "libvirt.delete.undefined",
		"hostkey.hostkey.changed"}
	if os.Getenv("BERTH_CHAOS") != "" {
		points = libvirt.FaultPoints()
		for _, p := range append(workspace.FaultPoints(), workspace.MachineFaultPoints()...) {
			if strings.HasPrefix(p, "create.") || strings.HasPrefix(p, "delete.") ||
				strings.HasPrefix(p, "hostkey.hostkey.") {
				points = append(points, p)
			}
		}
	}
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			w := base.beside(t)
			if !strings.Contains(point, "delete") {
				image := libvirttest.Tiny
				if strings.HasPrefix(point, "hostkey.") {
					image = libvirttest.Fast // tiny has nothing to make a key with
				}
				w.struck(point, "create", "vision", "--image", image)
			} else {
				w.does("create", "vision", "--no-wait")
				eventuallyLong(t, "the machine is there", func() bool { return w.show("vision").ProviderID != "" })
				w.struck(point, "rm", "-y", "vision")
			}
			// A point after the end may strike once the client has its answer.
			eventuallyLong(t, "the next daemon is at rest", func() bool {
				ins := w.ls()
				return len(ins) == 0 || ins[0].Operation == nil
			})
			if !strings.Contains(point, "delete") {
				eventuallyLong(t, "it runs", func() bool { return w.show("vision").State == api.StateRunning })
				doms, _, err := w.virt.Connect().ConnectListAllDomains(1, 0)
				require.NoError(t, err)
				require.Len(t, doms, 1, "it was made once")
				w.does("exec", "vision", "--", "true")
				w.does("rm", "-y", "vision")
			}
			require.Empty(t, w.ls())
			w.nothingLeft()
		})
	}
}

// TestVMDaemonKilledOnDisks kills the daemon at each point of what is done with the disk of a stopped
// machine.
func TestVMDaemonKilledOnDisks(t *testing.T) {
	libvirttest.Long(t)
	t.Parallel()
	w := newVMWorld(t, libvirttest.Tiny)
	w.does("create", "vision")
	w.does("stop", "vision", "--force")
	w.does("snapshot", "vision", "start")
	for i, point := range workspace.MachineFaultPoints() {
		kind, _, _ := strings.Cut(point, ".")
		name := fmt.Sprintf("made-%d", i)
		args := map[string][]string{"snapshot": {"snapshot", "vision", name}, "restore": {"snapshot", "restore", "vision",
			"start", "-y"}, "image": {"image", "build", name, "--from", "vision"}}[kind]
		if args == nil {
			continue // driven by TestVMDaemonKilled
		}
		t.Run(point, func(t *testing.T) {
			w.t = t
			w.struck(point, args...)
			eventuallyLong(t, "the next daemon is at rest", func() bool { return w.show("vision").Operation == nil })
			require.Equal(t, api.StateStopped, w.show("vision").State)
			switch kind {
			case "snapshot":
				require.Equal(t, 1, strings.Count(w.does("snapshot", "ls", "vision"), name))
				w.does("snapshot", "rm", "vision", name, "-y")
			case "image":
				require.Contains(t, w.does("images"), name)
				w.does("image", "rm", name, "-y")
			}
		})
	}
	w.t = t
	w.clean()
}

// TestVMStartKilled kills libvirtd, and the daemon, in the middle of a start: the machine runs, and the start has
// succeeded.
func TestVMStartKilled(t *testing.T) {
	t.Parallel()
	w := newVMWorld(t, libvirttest.Tiny)
	w.does("create", "vision")
	const ms = time.Millisecond
	moments := []time.Duration{150 * ms, 300 * ms}
	if text := os.Getenv("BERTH_TEST_CUTS"); text != "" {
		n, err := strconv.Atoi(text)
		require.NoError(t, err, "BERTH_TEST_CUTS is a number")
		moments = nil
		for i := range n {
			moments = append(moments, 50*ms+time.Duration(i)*1450*ms/time.Duration(n))
		}
	}
	for _, after := range moments {
		for name, kill := range map[string]func(){
			"libvirtd": func() { w.virt.Kill(); w.virt.Launch() },
			"daemon":   func() { require.NoError(t, syscall.Kill(w.pid(), syscall.SIGKILL)) },
		} {
			w.does("stop", "vision", "--force")
			done := make(chan result, 1)
			go func() { done <- w.patient("start", "vision") }()
			time.Sleep(after)
			kill()
			r := <-done
			require.Zero(t, r.code, "the %s killed %s after the start was asked for: %s", name, after, r.err)
			require.Equal(t, api.StateRunning, w.show("vision").State)
			w.does("exec", "vision", "--", "true")
		}
	}
	w.clean()
}

// TestVMPlanHolds edits the files of images and sizes while no daemon runs, in the middle of a create.
func TestVMPlanHolds(t *testing.T) {
	libvirttest.Long(t)
	t.Parallel()
	base := newVMWorld(t, libvirttest.Tiny)
	for _, point := range []string{"create.prepare.before", "create.prepare.after"} {
		w := base.beside(t)
		w.run("daemon", "stop")
		mark := filepath.Join(t.TempDir(), "struck")
		w.env = []string{"BERTH_TEST_FAULT=" + point + " " + mark}
		w.run("create", "vision", "--no-wait") // its daemon may have ended before the answer
		w.env = nil
		eventuallyLong(t, "the point is reached", func() bool { _, err := os.Stat(mark); return err == nil })
		require.NoError(t, os.Remove(filepath.Join(w.home, "images.toml")))
		w.sizes("[[size]]\nname = \"other\"\nvcpus = 1\nmemory = \"512MiB\"\n")
		eventuallyLong(t, "it runs", func() bool {
			ins := w.ls()
			require.False(t, len(ins) == 1 && ins[0].State == api.StateCreateFailed, "it has failed: %v", ins)
			return len(ins) == 1 && ins[0].State == api.StateRunning
		})
		in := w.show("vision")
		require.Equal(t, []any{libvirttest.Tiny, "test", int64(768 << 20)}, []any{in.Image, in.Size, in.MemoryBytes})
		w.does("rm", "-y", "vision")
		w.nothingLeft()
	}
}

// TestVMClientKilled kills clients while a machine is made and deleted: both go on.
func TestVMClientKilled(t *testing.T) {
	libvirttest.Long(t)
	t.Parallel()
	w := newVMWorld(t, libvirttest.Fast)
	kill := func(args ...string) {
		cmd := w.cmd(context.Background(), args...)
		require.NoError(t, cmd.Start())
		time.Sleep(300 * time.Millisecond)
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	}
	w.ok("ls") // the daemon runs: what is killed is only a client
	kill("create", "vision")
	eventuallyLong(t, "it is made all the same", func() bool {
		ins := w.ls()
		return len(ins) == 1 && ins[0].State == api.StateRunning
	})
	kill("rm", "-y", "vision")
	eventuallyLong(t, "it is deleted all the same", func() bool { return len(w.ls()) == 0 })
	w.nothingLeft()
}
