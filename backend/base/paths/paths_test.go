package paths

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOneHomeHasOneSetOfSockets(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	require.NoError(t, os.Mkdir(root, 0o700))
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(root, link))
	a, err := At(root)
	require.NoError(t, err)
	b, err := At(link)
	require.NoError(t, err)
	require.Equal(t, a.Run, b.Run, "two names of one home are one daemon")
	long, err := At(filepath.Join(root, strings.Repeat("long/", 60)))
	require.NoError(t, err)
	require.Len(t, long.DaemonSocket(), len(a.DaemonSocket()), "a socket's path does not grow with the home's")
	require.Less(t, len(long.DaemonSocket()), 100)
	require.Contains(t, a.State, MachineID(), "hosts that share a home have a state each")
}

func TestFindWantsAHome(t *testing.T) {
	t.Setenv("BERTH_HOME", "")
	t.Setenv("HOME", "relative")
	_, err := Find()
	require.ErrorContains(t, err, "does not know where to keep its state")
}

func TestPrivateDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	require.NoError(t, PrivateDir(dir))
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, PrivateDir(dir))
	fi, err := os.Stat(dir)
	require.NoError(t, err)
	require.EqualValues(t, 0o700, fi.Mode().Perm(), "one that is open is closed")

	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(dir, link))
	require.ErrorContains(t, PrivateDir(link), "not a folder of this user", "somebody may have put the symlink there")

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.Error(t, PrivateDir(file))
}

func TestPrivateDirOfAnother(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: to make a folder of another user")
	}
	dir := filepath.Join(t.TempDir(), "theirs")
	require.NoError(t, os.Mkdir(dir, 0o777))
	require.NoError(t, os.Chown(dir, 65534, 65534))
	require.ErrorContains(t, PrivateDir(dir), "somebody else made it")
}

// TestStateLeavesNetworkFileSystems tells which file systems are a network's, in place of statfs.
func TestStateLeavesNetworkFileSystems(t *testing.T) {
	tmp := t.TempDir()
	nfs, one, two := filepath.Join(tmp, "nfs"), filepath.Join(tmp, "one"), filepath.Join(tmp, "two")
	remote := func(dirs ...string) func(string) string {
		return func(p string) string {
			for _, d := range dirs {
				if strings.HasPrefix(p, d) {
					return "NFS"
				}
			}
			return ""
		}
	}
	path, why, err := localState(two, remote(nfs), one)
	require.NoError(t, err)
	require.Equal(t, two, path)
	require.Empty(t, why)
	require.NoDirExists(t, one)

	path, why, err = localState(filepath.Join(nfs, "x"), remote(nfs), one, two)
	require.NoError(t, err)
	require.Equal(t, one, filepath.Dir(path))
	require.Contains(t, why, "is on NFS")
	other, _, err := localState(filepath.Join(nfs, "y"), remote(nfs), one, two)
	require.NoError(t, err)
	require.NotEqual(t, path, other, "two homes keep two stores")

	path, _, err = localState(filepath.Join(nfs, "x"), remote(nfs, one), one, two)
	require.NoError(t, err)
	require.Equal(t, two, filepath.Dir(path), "the first is remote as well")

	require.NoError(t, os.RemoveAll(two))
	require.NoError(t, os.WriteFile(two, nil, 0o600))
	_, _, err = localState(filepath.Join(nfs, "x"), remote(nfs, one), one, two)
	require.ErrorContains(t, err, "set BERTH_HOME")
}

func TestNetworkFSOfWhatDoesNotExistYet(t *testing.T) {
	dir := t.TempDir()
	require.Equal(t, NetworkFS(dir), NetworkFS(filepath.Join(dir, "not", "yet")))
}
