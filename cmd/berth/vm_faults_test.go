//go:build vm

package main

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/pelletier/go-toml/v2"
	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/libvirt/libvirttest"
)

// addImage adds an image to the catalogue: a guest with another kernel command line.
func (w *vmWorld) addImage(name, from string, change func(entry map[string]any)) {
	w.t.Helper()
	path := filepath.Join(w.home, "images.toml")
	b, err := os.ReadFile(path)
	require.NoError(w.t, err)
	var doc struct {
		Image []map[string]any `toml:"image"`
	}
	require.NoError(w.t, toml.Unmarshal(b, &doc))
	for _, e := range doc.Image {
		if e["name"] == from {
			c := map[string]any{}
			for k, v := range e {
				c[k] = v
			}
			c["name"], c["default"] = name, false
			change(c)
			doc.Image = append(doc.Image, c)
			break
		}
	}
	b, err = toml.Marshal(doc)
	require.NoError(w.t, err)
	require.NoError(w.t, os.WriteFile(path, b, 0o600))
}

// TestVMThatDoesNotComeUp makes machines that panic, that hang while they start, that never get an address
// and that have no SSH: each ends in an error that shows the console, within its step's limit, and can be
// deleted.
func TestVMThatDoesNotComeUp(t *testing.T) {
	t.Parallel()
	w := newVMWorld(t, libvirttest.Tiny)
	w.agent = "45s" // on a busy computer the guest has said something by then
	w.configure("")
	for _, fault := range []string{"panic", "hang", "nonet", "nossh"} {
		w.addImage(fault, libvirttest.Tiny, func(e map[string]any) {
			e["cmdline"] = e["cmdline"].(string) + " berth.test=" + fault
		})
		r := w.patient("create", "vision", "--image", fault)
		require.NotZero(t, r.code, fault)
		require.Contains(t, r.err, "console", fault)
		if fault == "panic" {
			require.Contains(t, r.err, "anic", "the console's last lines tell")
		}
		require.NotEqual(t, api.StateRunning, w.show("vision").State, fault)
		require.NotEmpty(t, w.does("show", "vision", "--console"), fault)
		w.does("rm", "-y", "vision")
	}
	w.nothingLeft()
}

// TestVMImagesThatAreNotWhatTheySay refuses an image whose checksum is another, and one that is no image.
func TestVMImagesThatAreNotWhatTheySay(t *testing.T) {
	t.Parallel()
	w := newVMWorld(t, libvirttest.Fast)
	w.addImage("wrong", libvirttest.Fast, func(e map[string]any) { e["sha256"] = strings.Repeat("0", 64) })
	w.addImage("gone", libvirttest.Fast, func(e map[string]any) { e["path"] = "/no/such/disk.qcow2" })
	for image, says := range map[string]string{"wrong": strings.Repeat("0", 64), "gone": "/no/such/disk.qcow2"} {
		r := w.patient("create", "vision", "--image", image)
		require.NotZero(t, r.code)
		require.Contains(t, r.err, says)
		w.does("rm", "-y", "vision")
	}
	w.nothingLeft()
}

// TestVMSetupThatFails runs set-up scripts that fail, hang, restart the machine and fill its disk.
func TestVMSetupThatFails(t *testing.T) {
	libvirttest.Long(t)
	t.Parallel()
	w := newVMWorld(t, libvirttest.Fast)
	w.does("create", "vision")
	for name, c := range map[string]struct{ script, says string }{
		"fails":   {"echo looking; echo not there >&2; exit 7", "7"},
		"fills":   {"sudo -n fallocate -l $(df --output=avail -B1 / | tail -1) /fill || :; sudo -n dd if=/dev/zero of=/fill2 bs=1M 2>/dev/null; sync; exit 9", "full"},
		"reboots": {"sudo -n sh -c 'sync; echo b >/proc/sysrq-trigger'; sleep 600", "cut off"},
	} {
		script := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(script, []byte(c.script), 0o600))
		r := w.patient("setup", "vision", "--setup", script)
		require.Equal(t, 1, r.code, "%s: %s", name, r.err)
		require.Contains(t, r.err, c.says, name)
		require.Equal(t, api.StateSetupFailed, w.show("vision").State)
		w.does("exec", "vision", "--", "sudo", "-n", "rm", "-f", "/fill", "/fill2")
	}
	ok := filepath.Join(t.TempDir(), "ok")
	require.NoError(t, os.WriteFile(ok, []byte("true"), 0o600))
	w.does("setup", "vision", "--setup", ok)
	require.Equal(t, api.StateRunning, w.show("vision").State)
	w.clean()
}

// TestVMProviderComesAndGoes restarts libvirtd while a machine is made, lets it go away and come back, and
// changes machines behind Berth's back.
func TestVMProviderComesAndGoes(t *testing.T) {
	t.Parallel()
	w := newVMWorld(t, libvirttest.Fast)
	done := make(chan result, 1)
	go func() { done <- w.patient("create", "vision") }()
	eventuallyLong(t, "the machine is made", func() bool {
		ins := w.ls()
		return len(ins) == 1 && ins[0].ProviderID != ""
	})
	w.virt.Kill()
	time.Sleep(time.Second)
	w.virt.Restart()
	r := <-done
	require.Zero(t, r.code, r.err)

	w.virt.Kill()
	eventuallyLong(t, "it is unknown while nobody can be asked", func() bool {
		return strings.Contains(w.patient("show", "vision", "--refresh").out, "unknown")
	})
	require.Equal(t, "hi\n", w.does("exec", "vision", "--", "echo", "hi"), "the machine itself goes on")
	w.virt.Restart()
	eventuallyLong(t, "it is running again", func() bool {
		return strings.Contains(w.does("show", "vision", "--refresh"), "running")
	})

	l := w.virt.Connect()
	doms, _, err := l.ConnectListAllDomains(1, 0)
	require.NoError(t, err)
	require.Len(t, doms, 1)
	require.NoError(t, l.DomainDestroyFlags(doms[0], golibvirt.DomainDestroyDefault))
	_, err = l.DomainRename(doms[0], golibvirt.OptString{"renamed"}, 0)
	require.NoError(t, err)
	eventuallyLong(t, "it is found under its new name", func() bool { return w.show("vision").State == api.StateStopped })
	w.does("start", "vision")
	w.does("exec", "vision", "--", "true")
	doms, _, err = l.ConnectListAllDomains(1, 0)
	require.NoError(t, err)
	require.NoError(t, l.DomainDestroyFlags(doms[0], golibvirt.DomainDestroyDefault))
	require.NoError(t, l.DomainUndefineFlags(doms[0],
		golibvirt.DomainUndefineNvram|golibvirt.DomainUndefineSnapshotsMetadata))
	eventuallyLong(t, "it is seen to be gone", func() bool {
		w.does("show", "vision", "--refresh") // nobody watches
		return w.show("vision").State == api.StateUnusable
	})
	w.does("rm", "-y", "vision")
	w.nothingLeft()
}

// TestVMRebootWithNobodyThere restarts a machine while no daemon runs: its agent comes back by itself.
func TestVMRebootWithNobodyThere(t *testing.T) {
	libvirttest.Long(t)
	t.Parallel()
	w := newVMWorld(t, libvirttest.Fast)
	w.does("create", "vision")
	eventuallyLong(t, "the agent says that it comes back",
		func() bool { return strings.Contains(w.show("vision").Agent.AfterReboot, "starts the agent at boot") })
	w.comesBack("vision")
	w.clean()
}

// comesBack restarts a machine from within while no daemon runs, and checks that its agent has come back by
// itself.
func (w *vmWorld) comesBack(name string) {
	w.t.Helper()
	port := w.show(name).Port
	w.does("exec", name, "--", "sudo", "-n", "sh", "-c", "(sleep 2; sync; echo b >/proc/sysrq-trigger) >/dev/null 2>&1 &")
	w.does("daemon", "stop")
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	time.Sleep(5 * time.Second) // it goes down
	eventuallyLong(w.t, "sshd is back", func() bool {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return false
		}
		defer c.Close()
		_ = c.SetReadDeadline(time.Now().Add(2 * time.Second)) // it can't fail on an open connection
		word := make([]byte, 4)
		_, err = io.ReadFull(c, word)
		return err == nil && string(word) == "SSH-"
	})
	time.Sleep(15 * time.Second)
	// The agent that answers has run for longer than anybody of ours has been there.
	asked := time.Now()
	out := w.does("exec", name, "--", "sh", "-c",
		"ps -eo etimes,args | sed -n 's/^ *\\([0-9]*\\) .*[a]gent.* run.*/\\1/p'")
	seconds, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(out, "\n", 2)[0]))
	require.NoError(w.t, err, "no agent runs: %q", out)
	require.Greater(w.t, float64(seconds), time.Since(asked).Seconds()+1, "the agent came back by itself")
}

// TestVMTwoMakeTheSameName lets two clients, as two dashboards do, make an instance of one name at once.
func TestVMTwoMakeTheSameName(t *testing.T) {
	t.Parallel()
	w := newVMWorld(t, libvirttest.Tiny)
	codes := make([]int, 2)
	var wg sync.WaitGroup
	for i := range codes {
		wg.Go(func() { codes[i] = w.patient("create", "vision", "--no-wait").code })
	}
	wg.Wait()
	require.ElementsMatch(t, []int{0, 1}, codes, "one of them wins")
	require.Len(t, w.ls(), 1)
	w.clean()
}
