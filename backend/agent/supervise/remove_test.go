package supervise

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"berth/backend/base/atomicfile"
)

// instance lays an instance's folder with a marker and some files, and returns its path.
func instance(t *testing.T, data, id string) string {
	t.Helper()
	dir := filepath.Join(data, id)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "home", "deep", "er"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "home", "deep", "file"), []byte("x"), 0o400))
	mark(t, dir, id)
	return dir
}

func mark(t *testing.T, dir, id string) {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Stat(dir, &st))
	require.NoError(t, atomicfile.Write(filepath.Join(dir, MarkerName), Marker{ID: id, Dev: uint64(st.Dev),
		Inode: st.Ino}))
}

// precious is a folder with a file that nothing may touch.
func precious(t *testing.T) (dir, file string) {
	t.Helper()
	dir = t.TempDir()
	file = filepath.Join(dir, "precious")
	require.NoError(t, os.WriteFile(file, []byte("x"), 0o600))
	return dir, file
}

func TestRemoveTakesAllButFollowsNoSymlink(t *testing.T) {
	data := t.TempDir()
	dir := instance(t, data, "one")
	out, file := precious(t)
	require.NoError(t, os.Symlink(out, filepath.Join(dir, "home", "link")))
	require.NoError(t, os.Symlink(file, filepath.Join(dir, "home", "deep", "link")))
	locked := filepath.Join(dir, "home", "locked") // as package caches make them
	require.NoError(t, os.Mkdir(locked, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(locked, "f"), nil, 0o400))
	require.NoError(t, os.Chmod(locked, 0o500))
	for i := range 3000 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "home", "n"+string(rune('a'+i%26))+string(rune(0x4e00+i))), nil,
			0o600))
	}
	require.NoError(t, RemoveInstance(dir, "one"))
	require.NoDirExists(t, dir)
	require.FileExists(t, file)
	entries, err := os.ReadDir(data)
	require.NoError(t, err)
	require.Empty(t, entries)
	require.NoError(t, RemoveInstance(dir, "one"), "what is gone is fine")
}

func TestRemoveRefusesWhatIsNotTheInstance(t *testing.T) {
	t.Run("a symlink in its place", func(t *testing.T) {
		data := t.TempDir()
		dir := instance(t, data, "one")
		out, file := precious(t)
		require.NoError(t, os.Rename(dir, dir+".moved"))
		// Also one whose target has the marker.
		b, err := os.ReadFile(filepath.Join(dir+".moved", MarkerName))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(out, MarkerName), b, 0o600))
		require.NoError(t, os.Symlink(out, dir))
		require.ErrorIs(t, RemoveInstance(dir, "one"), ErrForeign)
		require.FileExists(t, file)
	})
	t.Run("another folder in its place", func(t *testing.T) {
		data := t.TempDir()
		dir := instance(t, data, "one")
		out, file := precious(t)
		b, err := os.ReadFile(filepath.Join(dir, MarkerName))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(out, MarkerName), b, 0o600))
		require.NoError(t, os.Rename(dir, dir+".moved"))
		require.NoError(t, os.Rename(out, dir))
		require.ErrorIs(t, RemoveInstance(dir, "one"), ErrForeign)
		require.FileExists(t, filepath.Join(dir, filepath.Base(file)))
	})
	t.Run("no marker, a foreign one, a broken one, a linked one", func(t *testing.T) {
		data := t.TempDir()
		dir := instance(t, data, "one")
		m := filepath.Join(dir, MarkerName)
		require.ErrorIs(t, RemoveInstance(dir, "two"), ErrForeign)
		require.NoError(t, os.Rename(m, m+".real"))
		require.ErrorIs(t, RemoveInstance(dir, "one"), ErrForeign)
		require.NoError(t, os.Symlink(m+".real", m))
		require.ErrorIs(t, RemoveInstance(dir, "one"), ErrForeign)
		require.NoError(t, os.Remove(m))
		require.NoError(t, os.WriteFile(m, []byte("{"), 0o600))
		require.ErrorIs(t, RemoveInstance(dir, "one"), ErrForeign)
		require.FileExists(t, filepath.Join(dir, "home", "deep", "file"))
	})
	t.Run("the user's home in it", func(t *testing.T) {
		data := t.TempDir()
		dir := instance(t, data, "one")
		link := filepath.Join(t.TempDir(), "myhome")
		require.NoError(t, os.Symlink(filepath.Join(dir, "home", "deep"), link))
		for _, h := range []string{dir, filepath.Join(dir, "home"), link} {
			t.Setenv("HOME", h)
			require.ErrorIs(t, RemoveInstance(dir, "one"), ErrForeign, h)
		}
		require.FileExists(t, filepath.Join(dir, "home", "deep", "file"))
	})
}

func TestRemoveFinishesWhatACrashLeft(t *testing.T) {
	data := t.TempDir()
	dir := instance(t, data, "one")
	require.NoError(t, os.Rename(dir, Deleting(data, "one")))
	require.NoError(t, os.RemoveAll(filepath.Join(Deleting(data, "one"), "home", "deep")))
	require.NoError(t, RemoveInstance(dir, "one"))
	require.NoDirExists(t, Deleting(data, "one"))
	// Killed between the marker and the folder itself.
	require.NoError(t, os.Mkdir(Deleting(data, "one"), 0o700))
	require.NoError(t, RemoveInstance(dir, "one"))
	require.NoDirExists(t, Deleting(data, "one"))
}

func FuzzMarker(f *testing.F) {
	f.Add([]byte(`{"id":"l-1","dev":1,"inode":2}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := parseMarker(b); err == nil && (m.ID == "" || m.Inode == 0) {
			t.Fatalf("accepted %+v", m)
		}
	})
}
