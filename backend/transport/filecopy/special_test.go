package filecopy

import (
	"net"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestSpecialTargetsStay: a copy to where a pipe or a socket is, as to a device, is refused and named; what is there
// stays.
func TestSpecialTargetsStay(t *testing.T) {
	for _, update := range []bool{false, true} {
		dir := t.TempDir()
		require.NoError(t, os.MkdirAll(dir+"/src/folder/in", 0o700))
		for _, name := range []string{"pipe", "socket", "whole"} {
			require.NoError(t, os.WriteFile(dir+"/src/"+name, []byte(name), 0o600))
		}
		require.NoError(t, os.Symlink("whole", dir+"/src/link"))
		require.NoError(t, os.Mkdir(dir+"/dst", 0o700))
		for _, name := range []string{"pipe", "folder", "link"} {
			require.NoError(t, unix.Mkfifo(dir+"/dst/"+name, 0o600))
		}
		l, err := net.Listen("unix", dir+"/dst/socket")
		require.NoError(t, err)
		defer l.Close()

		e := run(t, Sender{Source: dir + "/src/."}, Receiver{Target: dir + "/dst", Contents: true, Update: update})
		require.NoError(t, e.sendErr)
		require.Equal(t, 4, e.sent.Problems, e)
		for name, mode := range map[string]os.FileMode{"pipe": os.ModeNamedPipe, "folder": os.ModeNamedPipe,
			"link": os.ModeNamedPipe, "socket": os.ModeSocket} {
			fi, err := os.Lstat(dir + "/dst/" + name)
			require.NoError(t, err)
			require.Equal(t, mode, fi.Mode().Type(), name)
		}
		b, err := os.ReadFile(dir + "/dst/whole")
		require.NoError(t, err)
		require.Equal(t, "whole", string(b))

		e = run(t, Sender{Source: dir + "/src/whole"}, Receiver{Target: dir + "/dst/pipe"})
		require.Equal(t, 1, e.sent.Problems, e)
	}
	if fi, err := os.Stat("/dev/null"); err == nil && os.Geteuid() != 0 { // who may replace it does not try
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(dir+"/a", []byte("a"), 0o600))
		e := run(t, Sender{Source: dir + "/a"}, Receiver{Target: "/dev/null"})
		require.Equal(t, 1, e.sent.Problems, e)
		require.Equal(t, os.ModeDevice, fi.Mode().Type()&os.ModeDevice)
	}
}

// TestMoreThanItsSize is a file that says size 0, and has something in it: no empty copy of it is made.
func TestMoreThanItsSize(t *testing.T) {
	if _, err := os.Stat("/proc/version"); err != nil {
		t.Skip("needs /proc")
	}
	dir := t.TempDir()
	e := run(t, Sender{Source: "/proc/version"}, Receiver{Target: dir})
	require.NoError(t, e.sendErr)
	require.Equal(t, 1, e.sent.Problems)
	names, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, names)
}

// TestUnseenIsNotRemoved: an update removes nothing of which it is not known that the source has it not.
func TestUnseenIsNotRemoved(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(dir+"/src/sub", 0o700))
	require.NoError(t, unix.Mkfifo(dir+"/src/sub/x", 0o600))
	require.NoError(t, os.MkdirAll(dir+"/dst/sub/x/deep", 0o700))
	require.NoError(t, os.WriteFile(dir+"/dst/sub/x/deep/f", nil, 0o600))
	require.NoError(t, os.WriteFile(dir+"/dst/sub/y", nil, 0o600))
	e, changes := update(t, dir+"/src", dir+"/dst", false)
	require.NoError(t, e.sendErr)
	require.Equal(t, 1, e.sent.Problems)
	require.Equal(t, []string{"- sub/y"}, changes)
	require.FileExists(t, dir+"/dst/sub/x/deep/f")

	all := []Entry{{Path: "a/b/c"}, {Path: "a/b", Folder: true}, {Path: "a/bc"}, {Path: "a", Folder: true}, {Path: "d"}}
	for unseen, want := range map[string][]Entry{
		"":        {},                            // the source itself
		"a/b":     {{Path: "a/bc"}, {Path: "d"}}, // a folder that could not be read
		"a/b/c":   {{Path: "a/bc"}, {Path: "d"}},
		"a/b/c/x": {{Path: "a/bc"}, {Path: "d"}},
		"e":       all,
	} {
		g := &sending{unseen: []string{unseen}}
		require.Equal(t, want, g.seen(append([]Entry(nil), all...)), unseen)
	}
}
