package filecopy

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// described is all that a copy keeps, by path.
func described(t require.TestingT, root string) map[string]string {
	out := map[string]string{}
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		m := metaOf(&st)
		what := fmt.Sprintf("%o %o %d.%09d", st.Mode&unix.S_IFMT, m.mode, m.sec, m.nsec)
		switch {
		case isLink(&st):
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			what += " -> " + target
		case isFile(&st):
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			what += fmt.Sprintf(" %x", newSumOf(b))
		}
		out[rel] = what
		return nil
	})
	require.NoError(t, err)
	return out
}

func newSumOf(b []byte) sum256 {
	s := newSummer()
	s.add(b)
	return s.sum()
}

// drawTree makes a random folder: odd names, links to anywhere, all permissions, times to the nanosecond, holes.
func drawTree(t *rapid.T, dir string, depth int) {
	names := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) string {
		b := rapid.SliceOfN(rapid.ByteRange(1, 255), 1, 12).Draw(t, "name")
		return string(bytes.ReplaceAll(b, []byte("/"), []byte("\n")))
	}), 0, 5, rapid.ID[string]).Draw(t, "names")
	for _, name := range names {
		if name == "." || name == ".." {
			continue
		}
		path := dir + "/" + name // Join would clean it
		when := time.Unix(rapid.Int64Range(-1e9, 4e9).Draw(t, "sec"), rapid.Int64Range(0, 999_999_999).Draw(t, "nsec"))
		mode := os.FileMode(rapid.IntRange(0, 0o777).Draw(t, "mode"))
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			require.NoError(t, os.Symlink(rapid.StringMatching(`[^\x00]{1,20}`).Draw(t, "target"), path))
			ts := unix.NsecToTimespec(when.UnixNano())
			require.NoError(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
			continue
		case 1:
			if depth < 4 {
				require.NoError(t, os.Mkdir(path, 0o700))
				drawTree(t, path, depth+1)
				mode |= 0o500 // its owner reads it
				break
			}
			fallthrough
		default:
			drawFile(t, path)
			mode |= 0o400
		}
		require.NoError(t, os.Chmod(path, mode))
		require.NoError(t, os.Chtimes(path, when, when))
	}
}

// drawFile makes a file of pieces of data and holes.
func drawFile(t *rapid.T, path string) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	defer f.Close()
	var at int64
	for range rapid.IntRange(0, 4).Draw(t, "pieces") {
		n := rapid.Int64Range(0, 3<<18).Draw(t, "bytes")
		if rapid.Bool().Draw(t, "hole") {
			at += n
			continue
		}
		n = min(n, 1<<17)
		_, err := f.WriteAt(bytes.Repeat([]byte{byte(rapid.IntRange(0, 255).Draw(t, "byte"))}, int(n)), at)
		require.NoError(t, err)
		at += n
	}
	require.NoError(t, f.Truncate(at))
}

// open makes all folders of a tree removable again.
func open(root string) {
	_ = filepath.WalkDir(root, func(path string, d os.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return nil
	})
}

// TestTreesArriveAsTheyAre copies random folders to where nothing is, and once more over the copy.
func TestTreesArriveAsTheyAre(t *testing.T) {
	base := t.TempDir()
	defer open(base)
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		dir := fmt.Sprintf("%s/%d", base, n)
		require.NoError(r, os.MkdirAll(dir+"/src", 0o755))
		drawTree(r, dir+"/src", 0)
		want := described(r, dir+"/src")
		run(t, Sender{Source: dir + "/src"}, Receiver{Target: dir + "/dst", Name: "src"}).ok(t)
		require.Equal(r, want, described(r, dir+"/dst"))
		again := run(t, Sender{Source: dir + "/src/."}, Receiver{Target: dir + "/dst", Contents: true, Update: true})
		again.ok(t)
		require.Equal(r, want, described(r, dir+"/dst"))
	})
}

// TestHolesStay copies a file that is larger than what is on the disk of it.
func TestHolesStay(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(dir + "/src")
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("in the middle"), 5<<30)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(1<<40))
	require.NoError(t, f.Close())
	began := time.Now()
	run(t, Sender{Source: dir + "/src"}, Receiver{Target: dir + "/dst"}).ok(t)
	var st unix.Stat_t
	require.NoError(t, unix.Stat(dir+"/dst", &st))
	require.EqualValues(t, 1<<40, st.Size)
	require.Less(t, st.Blocks*512, int64(1<<20))
	g, err := os.Open(dir + "/dst")
	require.NoError(t, err)
	defer g.Close()
	b := make([]byte, 13)
	_, err = g.ReadAt(b, 5<<30)
	require.NoError(t, err)
	require.Equal(t, "in the middle", string(b))
	require.Less(t, time.Since(began), time.Minute)
}

// TestSpecialFilesAreNamed: they are left out, and all else is copied.
func TestSpecialFilesAreNamed(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/src/a", "a")
	write(t, dir+"/src/z", "z")
	require.NoError(t, unix.Mkfifo(dir+"/src/pipe", 0o600))
	e := run(t, Sender{Source: dir + "/src"}, Receiver{Target: dir + "/dst", Common: Common{Peer: "vision"}})
	require.NoError(t, e.sendErr)
	require.NoError(t, e.receiveErr)
	require.Equal(t, []string{dir + "/src/pipe is a named pipe: it is not copied"}, e.sendSays)
	require.Equal(t, []string{"vision: " + e.sendSays[0]}, e.receiveSay)
	require.Equal(t, 1, e.sent.Problems)
	require.Equal(t, 1, e.received.Problems)
	require.Equal(t, "az", read(t, dir+"/dst/a")+read(t, dir+"/dst/z"))
}

// TestWhatIsInTheWay: a folder where a file comes, a file where a folder comes, and a link that leads elsewhere.
func TestWhatIsInTheWay(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/src/file", "new")
	write(t, dir+"/src/sub/in", "new")
	write(t, dir+"/src/tree/in", "new")
	write(t, dir+"/src/good", "new")
	write(t, dir+"/dst/file/keep", "old")
	write(t, dir+"/dst/sub", "old")
	write(t, dir+"/elsewhere/in", "old")
	require.NoError(t, os.Symlink(dir+"/elsewhere", dir+"/dst/tree"))
	e := run(t, Sender{Source: dir + "/src/."}, Receiver{Target: dir + "/dst", Contents: true})
	require.NoError(t, e.receiveErr)
	require.Equal(t, "old", read(t, dir+"/elsewhere/in"), "no link is followed")
	require.Equal(t, "old", read(t, dir+"/dst/file/keep"))
	require.Equal(t, "old", read(t, dir+"/dst/sub"))
	require.Equal(t, "new", read(t, dir+"/dst/good"))
	require.Equal(t, 3, e.received.Problems)
	require.Equal(t, 3, e.sent.Problems)
	says := strings.Join(e.receiveSay, "\n")
	for _, what := range []string{"/dst/file is there, and is a folder", "/dst/sub is there, and is a file",
		"/dst/tree is there, and is a link"} {
		require.Contains(t, says, dir+what)
	}
}

// TestIntoItself copies a folder into one below it.
func TestIntoItself(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/src/a", "a")
	require.NoError(t, os.Mkdir(dir+"/src/into", 0o755))
	e := run(t, Sender{Source: dir + "/src"}, Receiver{Target: dir + "/src/into", Name: "src"})
	require.NoError(t, e.sendErr)
	require.Equal(t, []string{dir + "/src/into is not copied into itself"}, e.sendSays)
	require.Equal(t, "a", read(t, dir+"/src/into/src/a"))
}
