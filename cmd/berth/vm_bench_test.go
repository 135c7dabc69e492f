//go:build vm && bench

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/libvirt/libvirttest"
)

// TestBenchVMCreate measures create until a command has run in the machine's shell, with the program that `make build`
// makes, beside the same guest started by hand until its sshd says its name: an overlay and qemu, no seed. Both have
// one vCPU and no KVM. BERTH_BENCH_PAIRS sets how many pairs, 10 by default, BERTH_BENCH_GUEST which guest (both by
// default).
func TestBenchVMCreate(t *testing.T) {
	pairs := 10
	if n, err := strconv.Atoi(os.Getenv("BERTH_BENCH_PAIRS")); err == nil && n > 0 {
		pairs = n
	}
	guests := []string{libvirttest.Tiny, libvirttest.Fast}
	if g := os.Getenv("BERTH_BENCH_GUEST"); g != "" {
		guests = []string{g}
	}
	exe := program(t)
	for _, guest := range guests {
		t.Run(guest, func(t *testing.T) { benchCreate(t, exe, guest, pairs) })
	}
}

func benchCreate(t *testing.T, exe, guest string, pairs int) {
	g := libvirttest.GetGuest(t, guest)
	w := newVMWorld(t, guest)
	does := func(args ...string) {
		cmd := w.cmd(t.Context(), args...)
		cmd.Path = exe
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%v: %s", args, out)
	}
	does("create", "warm") // the image is in the pool, the agent is unpacked
	does("rm", "-y", "warm")
	var with, without, own, ratios []float64
	for i := range pairs {
		name := fmt.Sprintf("bench-%d", i)
		create := func() float64 {
			began := time.Now()
			does("create", name)
			does("exec", name, "--", "true")
			took := time.Since(began).Seconds()
			own = append(own, ownSteps(t, w, name))
			if testing.Verbose() && i == 0 {
				t.Log(w.does("events", name))
			}
			does("rm", "-y", name)
			return took
		}
		var a, b float64
		if i%2 == 0 {
			a = create()
			b = byHand(t, g)
		} else {
			b = byHand(t, g)
			a = create()
		}
		with, without, ratios = append(with, a), append(without, b), append(ratios, a/b)
	}
	t.Logf("create until a command has run, guest %s: %.2f s; by hand to the banner %.2f s; median of the ratios of %d pairs: %.2f (target 1.3); before qemu runs: %.0f ms (target 1 s)",
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

// byHand starts the guest as a person would and returns how long it took until its sshd answered.
func byHand(t *testing.T, g libvirttest.Guest) float64 {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())

	began := time.Now()
	disk := filepath.Join(dir, "disk.qcow2")
	out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-b", g.Disk, "-F", "qcow2", disk,
		"3G").CombinedOutput()
	require.NoError(t, err, string(out))
	qemu := exec.CommandContext(t.Context(), "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
		"-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max",
		"-smp", "1", "-m", "768", "-kernel", g.Kernel, "-initrd", g.Initrd, "-append", g.Cmdline,
		"-serial", "file:"+filepath.Join(dir, "console"),
		"-drive", "file="+disk+",if=virtio,format=qcow2",
		"-netdev", "user,id=n0,hostfwd=tcp:"+address+"-:22", "-device", "virtio-net-pci,netdev=n0", "-device",
		"virtio-rng-pci")
	require.NoError(t, qemu.Start())
	defer func() { _ = qemu.Process.Kill(); _ = qemu.Wait() }()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if saysSSH(address) {
			return time.Since(began).Seconds()
		}
		require.True(t, time.Now().Before(deadline), "the guest does not answer")
	}
}

// saysSSH reports whether an sshd says its name there within two seconds.
func saysSSH(address string) bool {
	c, err := net.DialTimeout("tcp", address, 2*time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	name := make([]byte, 4)
	_, err = io.ReadFull(c, name)
	return err == nil && string(name) == "SSH-"
}
