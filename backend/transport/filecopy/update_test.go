package filecopy

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// update makes a target as a source is, and returns what it told of its changes.
func update(t testing.TB, src, dst string, dry bool) (e ended, changes []string) {
	tell := func(c Change, path string) {
		if c&FolderFlag != 0 {
			path += "/"
		}
		changes = append(changes, string(rune(c&^FolderFlag))+" "+path)
	}
	e = run(t, Sender{Source: src + "/.", Changed: tell, Delete: func(extra []Entry) ([]Entry, error) {
		for _, x := range extra {
			tell(Removed, x.Path)
		}
		return extra, nil
	}}, Receiver{Target: dst, Contents: true, Update: true, List: true, Dry: dry})
	return e, changes
}

// spoil changes a copy at random.
func spoil(t *rapid.T, root string) {
	var paths []string
	require.NoError(t, filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if path != root {
			paths = append(paths, path)
		}
		return err
	}))
	for i, path := range paths {
		fi, err := os.Lstat(path)
		if err != nil {
			continue // gone with its folder
		}
		open(root)
		switch rapid.IntRange(0, 6).Draw(t, "spoil") {
		case 0:
			require.NoError(t, os.RemoveAll(path))
		case 1:
			require.NoError(t, os.RemoveAll(path))
			require.NoError(t, os.WriteFile(path, []byte("in the way"), 0o600))
		case 2:
			require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(path), fmt.Sprint("extra", i)), nil, 0o600))
		case 3:
			require.NoError(t, os.MkdirAll(filepath.Join(filepath.Dir(path), fmt.Sprint("extra", i), "in"), 0o700))
		case 4:
			if fi.Mode().IsRegular() {
				require.NoError(t, os.Chmod(path, 0o644))
				require.NoError(t, os.WriteFile(path, []byte("other"), 0o644))
			}
		case 5:
			if fi.Mode().IsRegular() {
				require.NoError(t, os.Chmod(path, 0o640))
			}
		}
	}
}

// below is a description without the folder itself.
func below(all map[string]string) map[string]string {
	delete(all, ".")
	return all
}

// TestUpdatesMakeItTheSame spoils copies at random: a dry run tells exactly what then happens, and changes nothing.
func TestUpdatesMakeItTheSame(t *testing.T) {
	base := t.TempDir()
	defer open(base)
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		dir := fmt.Sprintf("%s/%d", base, n)
		require.NoError(r, os.MkdirAll(dir+"/src", 0o755))
		drawTree(r, dir+"/src", 1)
		if rapid.Bool().Draw(r, "was there") {
			run(t, Sender{Source: dir + "/src"}, Receiver{Target: dir + "/dst", Name: "src"}).ok(t)
			spoil(r, dir+"/dst")
		} else {
			require.NoError(r, os.Mkdir(dir+"/dst", 0o755))
		}
		before := described(r, dir+"/dst")
		dry, would := update(t, dir+"/src", dir+"/dst", true)
		dry.ok(t)
		require.Equal(r, before, described(r, dir+"/dst"))
		e, did := update(t, dir+"/src", dir+"/dst", false)
		e.ok(t)
		require.Equal(r, would, did)
		require.Equal(r, below(described(r, dir+"/src")), below(described(r, dir+"/dst")))
		again, nothing := update(t, dir+"/src", dir+"/dst", false)
		again.ok(t)
		require.Empty(r, nothing)
	})
}

// TestDryRunOfATargetThatIsNotThere makes nothing.
func TestDryRunOfATargetThatIsNotThere(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/src/sub/a", "a")
	e, would := update(t, dir+"/src", dir+"/dst", true)
	e.ok(t)
	require.Equal(t, []string{"+ sub/", "+ sub/a"}, would)
	require.NoDirExists(t, dir+"/dst")
}

// TestOnlyWhatHasChangedTravels counts the bytes on the line.
func TestOnlyWhatHasChangedTravels(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(dir+"/src", 0o755))
	random(t, dir+"/src/big", 8<<20)
	write(t, dir+"/src/small", "a")
	e, _ := update(t, dir+"/src", dir+"/dst", false)
	e.ok(t)
	write(t, dir+"/src/small", "bb")
	a, b := ends(t)
	c := &cut{Conn: a.Conn}
	c.left.Store(1 << 20)
	a.Conn = c
	done := make(chan error, 1)
	go func() {
		_, err := (&Receiver{Target: dir + "/dst", Contents: true, Update: true}).Receive(t.Context(), b)
		done <- err
	}()
	_, err := (&Sender{Source: dir + "/src/."}).Send(t.Context(), a)
	require.NoError(t, err)
	require.NoError(t, <-done)
	require.Less(t, 1<<20-c.left.Load(), int64(1000))
	require.Equal(t, "bb", read(t, dir+"/dst/small"))
}

// TestHostileDeletions: no link is followed to what is removed, and nothing is that was not asked about.
func TestHostileDeletions(t *testing.T) {
	remove := func(path string) frame { return frame{kind: kindDelete, what: Removed, name: path} }
	sent, done := frame{kind: kindSent}, frame{kind: kindDone}
	for name, frames := range map[string][]frame{
		"by a link":   {sent, remove("l/outside"), done},
		"up":          {sent, remove("../outside"), done},
		"absolute":    {sent, remove("/etc/passwd"), done},
		"empty":       {sent, remove(""), done},
		"not listed":  {remove("keep"), done},
		"listed once": {sent, sent, done},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir+"/outside", "old")
			write(t, dir+"/dst/keep", "old")
			require.NoError(t, os.Symlink("..", dir+"/dst/l"))
			var says []string
			err := send(t, Receiver{Target: dir + "/dst", Contents: true, Update: true, List: true,
				Common: Common{Problem: func(s string) { says = append(says, s) }}}, frames...)
			require.True(t, err != nil || len(says) > 0)
			require.Equal(t, "old", read(t, dir+"/outside"))
			require.Equal(t, "old", read(t, dir+"/dst/keep"))
		})
	}
}

// TestTimesOfCoarserFileSystems compare as far as they go.
func TestTimesOfCoarserFileSystems(t *testing.T) {
	there := meta{sec: 7, nsec: 123_456_789}
	for nsec, want := range map[uint32]bool{123_456_789: true, 123_456_700: true, 123_456_000: true, 123_000_000: true,
		0:           true,
		123_456_788: false, 1: false, 124_000_000: false} {
		require.Equal(t, want, sameTime(meta{sec: 7, nsec: nsec}, there), nsec)
	}
	require.False(t, sameTime(meta{sec: 8, nsec: there.nsec}, there))
}

// TestDevices tells file systems apart.
func TestDevices(t *testing.T) {
	dir := t.TempDir()
	one, err := Device(dir)
	require.NoError(t, err)
	again, err := Device(dir)
	require.NoError(t, err)
	require.Equal(t, one, again)
	if err := mountSmall(dir); err != nil {
		t.Skipf("needs root: to mount a small tmpfs: %v", err)
	}
	defer unmount(dir)
	other, err := Device(dir)
	require.NoError(t, err)
	require.NotEqual(t, one, other)
}
