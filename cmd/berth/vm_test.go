//go:build vm

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/process/processtest"
	"berth/backend/api"
	"berth/backend/libvirt/libvirttest"
	"berth/backend/transport/ssh/sshdtest"
	"berth/gpu"
)

// TestVMRoad goes the whole road of a machine with one that is really made: create with a set-up script
// and a start script, use, stop, start, restart, delete.
func TestVMRoad(t *testing.T) {
	t.Parallel()
	w := newVMWorld(t, libvirttest.Fast)
	script := filepath.Join(t.TempDir(), "setup.sh")
	require.NoError(t, os.WriteFile(script, []byte("echo set up by $(id -un) >~/setup\n"), 0o600))
	start := filepath.Join(t.TempDir(), "start.sh")
	require.NoError(t, os.WriteFile(start, []byte("echo started >>~/starts\n"), 0o600))

	require.Contains(t, w.does("sizes"), "test")
	require.Contains(t, w.does("images"), "fast")
	r := w.patient("create", "vision", "--setup", script, "--on-start", start, "--tag", "team=nlp")
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.err, "vision is running")

	in := w.show("vision")
	require.Equal(t, api.StateRunning, in.State)
	require.Equal(t, "libvirt", in.Backend)
	require.Equal(t, "test", in.Size)
	require.Equal(t, "nlp", in.Tags["team"])
	require.NotZero(t, in.Port)
	require.NotEmpty(t, in.User)
	require.Equal(t, "ready", in.Agent.State)
	require.False(t, in.SSHEnabled)
	require.Equal(t, "set up by "+in.User+"\n", w.does("exec", "vision", "--", "cat", "setup"))
	require.Equal(t, "0\n", w.does("exec", "vision", "--", "sudo", "-n", "id", "-u"), "the user gets root by sudo")
	require.Equal(t, "vision\n", w.does("exec", "vision", "--", "uname", "-n"))
	require.NotEmpty(t, w.does("show", "vision", "--console"))
	require.NotContains(t, w.does("exec", "vision", "--", "cat", ".ssh/authorized_keys"), "root@",
		"nobody else's key is let in")

	require.Contains(t, w.does("exec", "vision", "--", "readlink", "/var/lib/berth/agent.sock"), "agent.sock",
		"the agent came with the seed")
	w.sealed("vision")
	var figures gpu.Sample
	require.NoError(t, json.Unmarshal([]byte(w.does("top", "vision", "--once", "--json")), &figures))
	require.NotNil(t, figures.CPU)
	require.Contains(t, figures.GPUError, "no NVIDIA driver")
	require.Contains(t, w.does("metrics"), `berth_up{Hostname="vision",berth_instance="vision"} 1`)

	w.does("stop", "vision")
	require.Equal(t, api.StateStopped, w.show("vision").State)
	w.does("start", "vision")
	boot := w.does("exec", "vision", "--", "cat", "/proc/sys/kernel/random/boot_id")
	w.does("restart", "vision")
	require.NotEqual(t, boot, w.does("exec", "vision", "--", "cat", "/proc/sys/kernel/random/boot_id"))
	require.Equal(t, 3, strings.Count(w.does("exec", "vision", "--", "cat", "starts"), "started"),
		"the start script runs at each start")
	require.Equal(t, "set up by "+in.User+"\n", w.does("exec", "vision", "--", "cat", "setup"),
		"the disk stays, and the set-up script runs once")

	// It boots while nobody asks it to.
	boot = w.does("exec", "vision", "--", "cat", "/proc/sys/kernel/random/boot_id")
	w.does("exec", "vision", "--", "sudo", "-n", "sh", "-c", "sync; (sleep 1; busybox reboot -f) >/dev/null 2>&1 &")
	eventuallyLong(t, "it has booted and run the start script", func() bool {
		r := w.patient("exec", "vision", "--", "sh", "-c", "cat /proc/sys/kernel/random/boot_id; cat starts")
		return r.code == 0 && !strings.HasPrefix(r.out, boot) && strings.Count(r.out, "started") == 4
	})

	// Powered off and on behind our back.
	w.does("exec", "vision", "--", "sudo", "-n", "sh", "-c", "sync; (sleep 1; busybox poweroff -f) >/dev/null 2>&1 &")
	eventuallyLong(t, "it is seen to have stopped", func() bool { return w.show("vision").State == api.StateStopped })
	w.does("start", "vision")
	w.does("exec", "vision", "--", "true")
	w.clean()
}

// TestVMSnapshotCloneImage takes a machine back, copies it, and makes an image of it.
func TestVMSnapshotCloneImage(t *testing.T) {
	t.Parallel()
	w := newVMWorld(t, libvirttest.Fast)
	w.does("create", "first")
	w.does("exec", "first", "--", "sh", "-c", "echo one >state; sync")
	w.does("stop", "first")
	w.does("snapshot", "first", "before")
	require.Contains(t, w.does("snapshot", "ls", "first"), "before")
	require.Equal(t, 1, w.patient("snapshot", "first", "before").code)
	w.does("start", "first")
	w.does("exec", "first", "--", "sh", "-c", "echo two >state; sync")
	require.Equal(t, 5, w.patient("clone", "first", "second").code, "a running machine is not copied")
	require.Equal(t, 5, w.patient("snapshot", "restore", "first", "before").code, "it asks")
	w.does("stop", "first")
	w.does("snapshot", "restore", "first", "before", "-y")
	w.does("clone", "first", "second")
	require.Equal(t, "one\n", w.does("exec", "second", "--", "cat", "state"))
	require.Equal(t, "second\n", w.does("exec", "second", "--", "uname", "-n"))
	eventuallyLong(t, "a clone comes back after a reboot with its own agent alone", func() bool {
		// There is no line yet in the first seconds.
		return w.patient("exec", "second", "--", "sh", "-c", "crontab -l | grep -c ^@reboot").out == "1\n"
	})
	w.does("start", "first")
	require.Equal(t, "one\n", w.does("exec", "first", "--", "cat", "state"))
	keys := func(name string) string {
		return w.does("exec", name, "--", "sudo", "-n", "cat", "/etc/ssh/ssh_host_ed25519_key.pub")
	}
	require.NotEqual(t, keys("first"), keys("second"), "a clone has keys of its own")
	w.does("snapshot", "rm", "first", "before", "-y")
	w.does("rm", "-y", "second")

	// With its memory: what ran goes on, and the clock with what time it is.
	w.does("exec", "first", "--", "sh", "-c", "nohup sleep 1000 >/dev/null 2>&1 & echo $! >pid; sync")
	w.does("snapshot", "first", "awake")
	time.Sleep(5 * time.Second)
	w.does("exec", "first", "--", "sh", "-c", "kill $(cat pid); echo three >state")
	w.does("snapshot", "restore", "first", "awake", "-y")
	require.Equal(t, "one\n", w.does("exec", "first", "--", "sh", "-c", "kill -0 $(cat pid) && cat state"))
	asked := time.Now()
	clock, err := strconv.ParseInt(strings.TrimSpace(w.does("exec", "first", "--", "date", "+%s")), 10, 64)
	require.NoError(t, err)
	require.WithinRange(t, time.Unix(clock, 0), asked.Add(-3*time.Second), time.Now().Add(3*time.Second))
	w.does("snapshot", "rm", "first", "awake", "-y")

	w.does("image", "build", "mine", "--from", "first", "--description", "with state")
	require.Equal(t, api.StateRunning, w.show("first").State, "it is started again")
	require.Contains(t, w.does("images"), "with state")
	w.does("create", "third", "--image", "mine")
	require.Equal(t, "one\n", w.does("exec", "third", "--", "cat", "state"))
	require.NotEqual(t, keys("first"), keys("third"))
	r := w.patient("image", "rm", "mine", "-y")
	require.NotZero(t, r.code, "an image that a disk is laid over stays")
	require.Contains(t, r.err, "third")
	w.does("rm", "-y", "third")
	w.does("image", "rm", "mine", "-y")
	w.clean()
}

// TestVMProfile applies a profile, whose step fails, is mended and resumed, and compares what it promises
// with what is there.
func TestVMProfile(t *testing.T) {
	t.Parallel()
	w := newVMWorld(t, libvirttest.Fast)
	dir := filepath.Join(w.home, "profiles")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "two-steps.toml"), []byte(`name = "two-steps"
title = "Two steps"
description = "One that restarts the machine, and one that fails until it is mended."

[[steps]]
name = "kernel"
title = "A new kernel"
root = true
reboot = true
check = "test -e /var/tmp/kernel"
script = "echo new >/var/tmp/kernel; sync"

[[steps]]
name = "tool"
title = "A tool"
root = true
check = "test -e /usr/local/bin/tool"
script = "test -e /var/tmp/mended || { echo 'no route to the registry example.org'; exit 4; }; echo >/usr/local/bin/tool"

[[promises]]
component = "nginx"
`), 0o600))
	lint := w.patient("profile", "lint")
	require.Zero(t, lint.code, lint.out+lint.err)
	require.Contains(t, w.does("profile", "ls"), "two-steps")
	r := w.patient("create", "vision", "--profile", "two-steps")
	require.Equal(t, 1, r.code, r.err)
	require.Contains(t, r.err, "A tool")
	require.Contains(t, r.err, "no route to the registry example.org")
	require.Contains(t, r.err, "berth setup vision --resume")
	in := w.show("vision")
	require.Equal(t, api.StateSetupFailed, in.State)
	w.sealed("vision")
	w.does("exec", "vision", "--", "sudo", "-n", "touch", "/var/tmp/mended")
	w.does("setup", "vision", "--resume")
	require.Equal(t, api.StateRunning, w.show("vision").State)
	w.does("exec", "vision", "--", "test", "-e", "/usr/local/bin/tool")

	w.does("setup", "vision", "--profile", "two-steps") // nothing to do
	require.Equal(t, []string{"two-steps"}, w.show("vision").Profiles)
	inv := w.inventory("vision")
	require.Contains(t, inv.System, "Debian")
	drift, err := json.Marshal(inv.Drift)
	require.NoError(t, err)
	require.Contains(t, string(drift), "nginx", "promised, and not there")
	w.clean()
}

// TestVMOnAnotherHost makes a machine on a libvirtd that is reached over SSH only, as is the machine.
func TestVMOnAnotherHost(t *testing.T) {
	libvirttest.Long(t)
	t.Parallel()
	w := newVMWorld(t, libvirttest.Tiny)
	s := sshdtest.Start(t, sshdtest.Options{})
	conf := filepath.Join(w.home, "config.toml")
	b, err := os.ReadFile(conf)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(conf, []byte(strings.Replace(string(b), "qemu:///session", "qemu+ssh://box/session",
		1)), 0o600))
	known := filepath.Join(t.TempDir(), "known_hosts")
	w.env = []string{"BERTH_SSH_CONFIG=" + sshdtest.Config(t, s.Stanza("box", known, "StrictHostKeyChecking accept-new"))}
	w.does("create", "vision")
	require.Equal(t, "hi\n", w.does("exec", "vision", "--", "echo", "hi"))
	require.NotEmpty(t, w.does("show", "vision", "--console"))
	require.Contains(t, w.does("doctor"), "libvirt")
	// The host goes away, and comes back.
	s.Kill()
	eventuallyLong(t, "it is unknown", func() bool {
		return strings.Contains(w.patient("show", "vision", "--refresh").out, "unknown")
	})
	s.Restart()
	eventuallyLong(t, "it is running again", func() bool {
		return strings.Contains(w.patient("show", "vision", "--refresh").out, "running")
	})
	require.Equal(t, "hi\n", w.does("exec", "vision", "--", "echo", "hi"))
	w.clean()
}

// TestVMCloudInit goes the road of a usual cloud image, with systemd and the real cloud-init, and restarts the
// machine while nobody is there: systemd brings the agent back.
func TestVMCloudInit(t *testing.T) {
	libvirttest.Long(t)
	t.Parallel()
	w := newVMWorld(t, libvirttest.Cloud)
	r := w.patient("create", "vision", "--size", "large")
	require.Zero(t, r.code, r.err)
	in := w.show("vision")
	require.Equal(t, "vision\n", w.does("exec", "vision", "--", "hostname"))
	require.Equal(t, "0\n", w.does("exec", "vision", "--", "sudo", "-n", "id", "-u"))
	require.Contains(t, w.does("exec", "vision", "--", "sudo", "-n", "passwd", "-S", in.User), " L ",
		"no password opens it")
	eventuallyLong(t, "the agent comes back after a reboot", func() bool {
		w.patient("exec", "vision", "--", "true") // a line that was lost on a busy computer is made again
		return strings.Contains(w.show("vision").Agent.AfterReboot, "systemd")
	})
	require.Contains(t, w.does("exec", "vision", "--", "sudo", "-n", "cloud-init", "schema", "--system"), "Valid",
		"cloud-init has nothing to remark")
	require.Contains(t, w.inventory("vision").System, "Debian")
	before := w.does("exec", "vision", "--", "cat", "/proc/sys/kernel/random/boot_id")
	w.does("restart", "vision")
	require.NotEqual(t, before, w.does("exec", "vision", "--", "cat", "/proc/sys/kernel/random/boot_id"))
	w.comesBack("vision")
	id := w.does("exec", "vision", "--", "cat", "/etc/machine-id")
	w.does("stop", "vision")
	w.does("clone", "vision", "second")
	require.NotEqual(t, id, w.does("exec", "second", "--", "cat", "/etc/machine-id"), "a copy has an identity of its own")
	require.Len(t, strings.Fields(w.does("exec", "second", "--", "pgrep", "-f", "agent.* run")), 1, "and one agent")
	w.clean()
}

// TestVMControlGroups runs the tests of jobs' limits on a machine that has control groups of version 2, as root: where
// CI itself runs there may be those of version 1 only.
func TestVMControlGroups(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, args := range [][]string{{"test", "-c", "-vet=off", "-o", "run.test", "berth/backend/agent/job/run"},
		{"build", "-o", "shim", "berth/cmd/berth-shim"}} {
		build := exec.Command("go", args...)
		build.Args[slices.Index(build.Args, "-o")+1] = filepath.Join(dir, args[slices.Index(args, "-o")+1])
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := build.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	w := newVMWorld(t, libvirttest.Fast)
	w.does("create", "vision")
	require.Contains(t, w.does("exec", "vision", "--", "cat", "/proc/self/cgroup"), "0::/", "of version 2")
	w.does("cp", filepath.Join(dir, "run.test"), "vision:run.test")
	w.does("cp", filepath.Join(dir, "shim"), "vision:shim")
	said := w.does("exec", "vision", "--", "sudo", "-n", "sh", "-c", processtest.Given+`=$PWD/shim ./run.test -test.v "$@"`,
		"sh", "-test.run", "^(TestMemoryIsLimited|TestMemoryIsUsedUpWithoutAnAgent|TestProcessorsAreLimited)$")
	require.Contains(t, said, "--- PASS: TestMemoryIsLimited")
	require.Contains(t, said, "--- PASS: TestMemoryIsUsedUpWithoutAnAgent")
	require.Contains(t, said, "--- PASS: TestProcessorsAreLimited")
	w.clean()
}
