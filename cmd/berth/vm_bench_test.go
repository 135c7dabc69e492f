//go:build vm && bench

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/libvirt/libvirttest"
	"berth/backend/machine/cloudinit"
	"berth/backend/machine/keys"
)

// TestBenchVMCreate measures create until the shell is ready beside the same guest started by hand: disk
// overlay, seed, qemu, and ssh tried until it answers. BERTH_BENCH_PAIRS sets how many pairs, 15 by default,
// BERTH_BENCH_GUEST which guest.
func TestBenchVMCreate(t *testing.T) {
	pairs := 15
	if n, err := strconv.Atoi(os.Getenv("BERTH_BENCH_PAIRS")); err == nil && n > 0 {
		pairs = n
	}
	guest := os.Getenv("BERTH_BENCH_GUEST")
	if guest == "" {
		guest = libvirttest.Fast
	}
	g := libvirttest.GetGuest(t, guest)
	w := newVMWorld(t, guest)
	// As many vCPUs as this computer has cores, as a workstation would: what runs beside each other in the
	// guest does so on both sides.
	w.sizes(fmt.Sprintf("[[size]]\nname = \"test\"\nvcpus = %d\nmemory = \"768MiB\"\ndisk = \"3GB\"\ndefault = true\n",
		runtime.NumCPU()))
	w.does("create", "warm") // the image is in the pool, the agent is built
	w.does("rm", "-y", "warm")
	exe := program(t)
	var with, without, own, ratios []float64
	for i := range pairs {
		name := fmt.Sprintf("bench-%d", i)
		began := time.Now()
		cmd := w.cmd(t.Context(), "create", name)
		cmd.Path = exe
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		cmd = w.cmd(t.Context(), "exec", name, "--", "true")
		cmd.Path = exe
		require.NoError(t, cmd.Run())
		a := time.Since(began).Seconds()
		own = append(own, ownSteps(t, w, name))
		w.does("rm", "-y", name)
		b := byHand(t, g)
		with, without, ratios = append(with, a), append(without, b), append(ratios, a/b)
	}
	t.Logf("create until a command has run, guest %s: %.2f s; by hand %.2f s; median of the ratios of %d pairs: %.2f (target 1.1); before qemu runs: %.0f ms (target 1 s)",
		guest, middle(with), middle(without), pairs, middle(ratios), 1000*middle(own))
}

func middle(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// ownSteps is how long, in seconds, Berth worked before the machine ran.
func ownSteps(t *testing.T, w *vmWorld, name string) float64 {
	var evs []api.Event
	require.NoError(t, json.Unmarshal([]byte(w.does("events", name, "--json", "-n", "200")), &evs))
	for _, e := range evs {
		if e.Message == "asking for the machine: done" {
			return e.Time.Sub(evs[0].Time).Seconds()
		}
	}
	t.Fatal("no event of the machine's making")
	return 0
}

// byHand starts the guest as a person would and returns how long it took until ssh answered.
func byHand(t *testing.T, g libvirttest.Guest) float64 {
	t.Helper()
	dir := t.TempDir()
	k, err := keys.Open(filepath.Join(dir, "key"))
	require.NoError(t, err)
	private, public, _, err := k.HostKey("op-by-hand")
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	require.NoError(t, l.Close())
	known := filepath.Join(dir, "known")
	require.NoError(t, os.WriteFile(known, []byte("[127.0.0.1]:"+port+" "+public+"\n"), 0o600))

	began := time.Now()
	disk := filepath.Join(dir, "disk.qcow2")
	out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-b", g.Disk, "-F", "qcow2", disk,
		"3G").CombinedOutput()
	require.NoError(t, err, string(out))
	seed, err := cloudinit.Seed(cloudinit.Config{InstanceID: "by-hand", Hostname: "by-hand", User: g.User,
		AuthorizedKeys: []string{k.Authorized()}, HostKey: private, HostKeyPublic: public})
	require.NoError(t, err)
	iso := filepath.Join(dir, "seed.iso")
	require.NoError(t, os.WriteFile(iso, seed, 0o600))
	qemu := exec.CommandContext(t.Context(), "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
		"-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max",
		"-smp", strconv.Itoa(runtime.NumCPU()), "-m", "768", "-kernel", g.Kernel, "-initrd", g.Initrd, "-append", g.Cmdline,
		"-serial", "file:"+filepath.Join(dir, "console"),
		"-drive", "file="+disk+",if=virtio,format=qcow2", "-drive", "file="+iso+",if=virtio,format=raw,readonly=on",
		"-netdev", "user,id=n0,hostfwd=tcp:127.0.0.1:"+port+"-:22", "-device", "virtio-net-pci,netdev=n0", "-device",
		"virtio-rng-pci")
	require.NoError(t, qemu.Start())
	defer func() { _ = qemu.Process.Kill(); _ = qemu.Wait() }()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		ssh := exec.Command("ssh", "-F", "/dev/null", "-i", k.Path(), "-p", port, "-o", "UserKnownHostsFile="+known, "-o",
			"StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-o", "ConnectTimeout=2",
			g.User+"@127.0.0.1", "true")
		if ssh.Run() == nil {
			return time.Since(began).Seconds()
		}
		require.True(t, time.Now().Before(deadline), "the guest does not answer")
	}
}
