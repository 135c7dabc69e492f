package setup

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/base/atomicfile"
)

// TestAFullDisk fills the file system under the agent's folder, by the step and before it.
func TestAFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: to mount a small file system")
	}
	dir := folder(t)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k,mode=0700"); err != nil {
		t.Skipf("mounting a small file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	e := open(t, options(dir))
	_, err := e.Put(plan1("a", api.SetupStep{Script: "cat /dev/zero >" + dir +
		"/ballast || :; echo lost || :; echo went on >>$OUT/log; exit 5"}, api.SetupStep{Script: ":"}))
	require.NoError(t, err)
	st := wait(t, e, "a", done)
	require.Contains(t, st.Error.Message, "ended with code 5")
	require.Contains(t, st.Error.Message, "the disk of "+filepath.Join(dir, "a")+" is full")
	require.Equal(t, []string{"went on"}, lines(t, dir, "log"))
	_, err = e.Put(plan1("b", api.SetupStep{Script: ":"}))
	require.ErrorContains(t, err, "no space left")
	require.NoDirExists(t, filepath.Join(dir, "b"))
	// The next agent finds the end of the step, although its status could not be written.
	e.Stop()
	e = open(t, options(dir))
	require.Contains(t, wait(t, e, "a", done).Error.Message, "ended with code 5")
	_, err = e.Resume("a")
	require.NoError(t, err)
	st = wait(t, e, "a", done)
	require.Contains(t, st.Error.Message, "the step s0 could not begin")
	require.Contains(t, st.Error.Message, "no space left")
	require.NoError(t, os.Remove(filepath.Join(dir, "ballast")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a", "01.sh"), nil, 0o600))
	_, err = e.Resume("a")
	require.NoError(t, err)
	st = wait(t, e, "a", done)
	require.Contains(t, st.Error.Message, "ended with code 5")
	var r record
	require.NoError(t, atomicfile.Read(filepath.Join(dir, "a", statusFile), &r))
}
