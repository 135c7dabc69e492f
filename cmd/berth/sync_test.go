package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/transport/filecopy"
	"berth/backend/transport/ssh/sshdtest"
)

// TestSyncOverSSH plays an afternoon with a folder, over a real sshd.
func TestSyncOverSSH(t *testing.T) {
	t.Parallel()
	w, s := remoteWorld(t, sshdtest.Options{})
	w.ok("adopt", "gpu1", "gpu1", "--host-key", fingerprint(s))
	dir := filepath.Join(t.TempDir(), "proj")
	put := func(path, text string) {
		path = filepath.Join(dir, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	there := func() string { return w.ok("exec", "gpu1", "-w", "proj", "--", "sh", "-c", "find . -type f | sort") }
	put("train.py", "1")
	put("sub/util.py", "2")
	put(".gitignore", "*.log\n")
	put("x.log", "3")
	r := w.run("sync", dir, "gpu1")
	require.Zero(t, r.code, r.err)
	require.Empty(t, r.out)
	require.Contains(t, r.err, "4 new, 0 changed, 0 removed")
	require.Equal(t, "./.gitignore\n./sub/util.py\n./train.py\n", there())

	put("train.py", "changed")
	require.NoError(t, os.Remove(dir+"/sub/util.py"))
	w.ok("exec", "gpu1", "-w", "proj", "--", "sh", "-c", "mkdir old keep; echo 1 >old/f; echo 2 >keep/out.log; echo 3 >keep/z")
	would := w.ok("sync", dir, "gpu1:proj", "--delete", "--dry-run")
	require.Equal(t, "~ train.py\n- sub/util.py\n- keep/z\n- old/f\n- old/\n", would)
	require.Contains(t, there(), "./old/f")
	require.Equal(t, would, w.ok("sync", dir, "gpu1:proj", "--delete", "--verbose"))
	require.Equal(t, "./.gitignore\n./keep/out.log\n./train.py\n", there(), "what is left out is not removed either")
	require.Empty(t, w.ok("sync", dir, "gpu1:proj", "--delete", "--verbose"))

	require.NoError(t, os.Rename(dir, dir+".was"))
	r = w.run("sync", dir, "gpu1", "--delete", "--force")
	require.Equal(t, 5, r.code)
	require.Contains(t, r.err, "is missing: 5 files and folders of gpu1:proj would be deleted, and nothing was")
	require.Equal(t, 1, w.run("sync", dir, "gpu1").code)
	require.NoError(t, os.Mkdir(dir, 0o755))
	for _, more := range [][]string{nil, {"--dry-run"}} {
		r = w.run(append([]string{"sync", dir, "gpu1", "--delete"}, more...)...)
		require.Equal(t, 5, r.code)
		require.Contains(t, r.err, "is empty: 5 files and folders of gpu1:proj would be deleted, and nothing was")
		require.Contains(t, r.err, "--force")
	}
	require.Equal(t, "./.gitignore\n./keep/out.log\n./train.py\n", there())
	w.ok("sync", dir, "gpu1", "--delete", "--force")
	require.Empty(t, there())

	require.Equal(t, 2, w.run("sync", dir, "/gpu1:x").code)
	require.Equal(t, 3, w.run("sync", dir, "nobody").code)
	require.Equal(t, 1, w.run("sync", dir+".was/train.py", "gpu1").code)
}

// TestNamesOfASyncAreLines: a name with a line end in it is no second line.
func TestNamesOfASyncAreLines(t *testing.T) {
	var b strings.Builder
	y := &syncing{verbose: true, m: &meter{w: &b}}
	tell := (&app{out: &b}).change(y)
	for _, name := range []string{"a\n- b", `"q"`, "tab\t", "plain name"} {
		tell(filecopy.Made, name)
	}
	require.Equal(t, "+ \"a\\n- b\"\n+ \"\\\"q\\\"\"\n+ \"tab\\t\"\n+ plain name\n", b.String())
}

// TestUnprotected keeps what is left out, and the folders that it is in.
func TestUnprotected(t *testing.T) {
	skip := func(path string, _ bool) bool { return strings.HasSuffix(path, ".log") }
	got := unprotected([]filecopy.Entry{{Path: "a/b/x.log"}, {Path: "a/b/y"}, {Path: "a/b", Folder: true}, {Path: "a/c"},
		{Path: "a", Folder: true}, {Path: "d/e"}, {Path: "d", Folder: true}}, skip)
	require.Equal(t, []filecopy.Entry{{Path: "a/b/y"}, {Path: "a/c"}, {Path: "d/e"}, {Path: "d", Folder: true}}, got)
}
