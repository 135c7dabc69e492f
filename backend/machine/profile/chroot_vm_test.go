//go:build vm

package profile

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"berth/backend/agent/inventory"
	"berth/backend/api"
	"berth/backend/machine/software"
)

// TestProfilesInAFreshDebian applies profiles to a Debian made for it, really: every step runs, its check
// then says that there is nothing to do, and the inventory finds what was promised.
func TestProfilesInAFreshDebian(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: to make and enter a Debian")
	}
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		t.Skip("needs mmdebstrap")
	}
	root := filepath.Join(t.TempDir(), "debian")
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "mmdebstrap", "--mode=root", "--variant=minbase", "--include=ca-certificates",
		"bookworm", root).CombinedOutput()
	if err != nil {
		t.Skipf("no Debian can be made here: %v: %s", err, last(out))
	}
	for _, m := range []struct{ kind, at string }{{"proc", "proc"}, {"tmpfs", "tmp"}} {
		at := filepath.Join(root, m.at)
		require.NoError(t, unix.Mount(m.kind, at, m.kind, 0, ""))
		t.Cleanup(func() { require.NoError(t, unix.Unmount(at, unix.MNT_DETACH)) })
	}
	// No service is started in it.
	require.NoError(t, os.WriteFile(filepath.Join(root, "usr/sbin/policy-rc.d"), []byte("#!/bin/sh\nexit 101\n"), 0o755))
	for _, f := range []string{"/etc/resolv.conf", "/etc/hosts"} {
		if b, err := os.ReadFile(f); err == nil {
			require.NoError(t, os.WriteFile(filepath.Join(root, f), b, 0o644))
		}
	}
	names := []string{"base", "mpi", "protobuf", "nginx", "rclone"}
	if v := os.Getenv("BERTH_TEST_PROFILES"); v != "" { // others, by hand
		names = strings.Split(v, ",")
	}
	c, err := Load().Compose(names, Facts{Arch: "amd64", Release: "debian-12"})
	require.NoError(t, err)
	run := func(st api.SetupStep, text string) ([]byte, error) {
		script := filepath.Join(root, "root", "step.sh")
		require.NoError(t, os.WriteFile(script, []byte(c.Prelude+"\n"+text), 0o600))
		cmd := exec.CommandContext(ctx, "chroot", root, "sh", "-e", "/root/step.sh")
		cmd.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
			"BERTH_USER=root", "BERTH_USER_HOME=/root", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"}, st.Env...)
		return cmd.CombinedOutput()
	}
	done := 0
	for _, st := range c.Steps {
		if _, err := run(st, st.Check); err == nil {
			t.Logf("%s: nothing to do", st.Name) // what came before has done it
			continue
		}
		done++
		begin := time.Now()
		out, err := run(st, st.Script)
		require.NoError(t, err, "%s: %s", st.Name, out)
		t.Logf("%s: %.1f s", st.Name, time.Since(begin).Seconds())
		out, err = run(st, st.Check)
		require.NoError(t, err, "%s: after its script its check does not pass: %s", st.Name, out)
		out, err = run(st, st.Script)
		require.NoError(t, err, "%s: a second time: %s", st.Name, out)
	}
	require.Positive(t, done)
	inv := inventory.NewReader(inventory.Host{Root: root, Home: "/root", Run: func(ctx context.Context, path string,
		args ...string) ([]byte, error) {
		return exec.CommandContext(ctx, "chroot", append([]string{root, path[len(root):]}, args...)...).CombinedOutput()
	}}).Read(ctx)
	require.Empty(t, inv.Errors)
	require.Empty(t, software.Compare(&inv, c.Promises), "%+v", inv.Components)
	for _, comp := range inv.Components {
		t.Logf("%s %s", comp.Name, comp.Version)
	}

	// What can't be reached is named, and nothing of it stays.
	st := api.SetupStep{}
	out, err = run(st, "repository berth-test 'deb [trusted=yes] http://127.0.0.1:9/debian bookworm main'")
	require.Error(t, err)
	require.Contains(t, string(out), "127.0.0.1:9")
	require.NoFileExists(t, filepath.Join(root, "etc/apt/sources.list.d/berth-test.list"))
	out, err = run(st, "need_url http://127.0.0.1:9/x")
	require.Error(t, err)
	require.Contains(t, string(out), "can't reach http://127.0.0.1:9/x")
	out, err = run(st, "echo hello >/root/file; fetch file:///root/file 0000000000000000000000000000000000000000000000000000000000000000 /root/got")
	require.Error(t, err)
	require.Contains(t, string(out), "has the checksum")
	require.NoFileExists(t, filepath.Join(root, "root/got"))
	out, err = run(st, "key file:///usr/share/keyrings/debian-archive-keyring.gpg 0000000000000000000000000000000000000000 /root/k")
	require.Error(t, err)
	require.Contains(t, string(out), "holds no key with the fingerprint")
	out, err = run(st, "key file:///usr/share/keyrings/debian-archive-keyring.gpg "+debianKey(t)+" /root/k && key_is /root/k "+debianKey(t))
	require.NoError(t, err, "%s", out)
}

// debianKey is the fingerprint of Debian's archive key for bookworm, as the Debian project publishes it.
func debianKey(*testing.T) string { return "B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8" }

func last(b []byte) string { return string(b[max(0, len(b)-300):]) }
