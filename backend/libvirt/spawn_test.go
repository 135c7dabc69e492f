package libvirt

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/base/paths"
)

// TestSpawn asks for qemu:///session where no daemon runs: one is started. A root daemon would be the
// system's, so root runs the test again as nobody.
func TestSpawn(t *testing.T) {
	if os.Getenv("BERTH_TEST_SPAWN") != "" {
		spawned(t)
		return
	}
	if _, err := lookProgram("libvirtd"); err != nil {
		t.Skip("libvirtd is not installed")
	}
	dir, err := os.MkdirTemp("/tmp", "bsp-") // short, for its socket
	require.NoError(t, err)
	t.Cleanup(func() {
		if b, err := os.ReadFile(filepath.Join(dir, "libvirt", "libvirtd.pid")); err == nil {
			pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
			require.NoError(t, err)
			require.Greater(t, pid, 1)
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		}
		require.Eventually(t, func() bool { return os.RemoveAll(dir) == nil }, 2*time.Minute, 50*time.Millisecond)
	})
	self, err := os.Executable()
	require.NoError(t, err)
	b, err := os.ReadFile(self)
	require.NoError(t, err)
	program := filepath.Join(dir, "test")
	require.NoError(t, os.WriteFile(program, b, 0o755))
	require.NoError(t, os.Chmod(dir, 0o755))
	cmd := exec.Command(program, "-test.run", "^TestSpawn$", "-test.v")
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "BERTH_TEST_SPAWN=1", "HOME=" + dir, "TMPDIR=" + dir,
		"XDG_RUNTIME_DIR=" + dir,
		"XDG_CONFIG_HOME=" + dir + "/c", "XDG_CACHE_HOME=" + dir + "/k", "XDG_DATA_HOME=" + dir + "/d"}
	if os.Getuid() == 0 {
		require.NoError(t, os.Chown(dir, 65534, 65534))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "--- PASS: TestSpawn")
}

func spawned(t *testing.T) {
	dir := t.TempDir()
	b, err := New(backend.Env{Home: paths.Home{Config: dir, State: dir},
		Settings: map[string]string{"uri": "qemu:///session", "accel": "emulate"}})
	require.NoError(t, err)
	list, err := b.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, list)
	p, err := b.openPool(t.Context(), true)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(os.Getenv("XDG_DATA_HOME"), "libvirt", "images", "berth"), p.path)
	require.DirExists(t, p.path)
	n, err := b.network(t.Context(), "", true)
	require.NoError(t, err)
	require.Equal(t, netUser, n.kind)
}
