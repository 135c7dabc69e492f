package ignore

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAsGitHasIt compares with git itself, where there is one.
func TestAsGitHasIt(t *testing.T) {
	dir := t.TempDir()
	put := func(path, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, path), []byte(text), 0o644))
	}
	put(".gitignore", "# a comment\n*.log\n!keep.log\ndata/\n/top\nsub/deep/*.x\n**/cache\n\\#odd\n\\!bang\ntrail \nx[!a]\r\na\\*b\n\n")
	put("sub/.gitignore", "!*.log\n/only\n")
	paths := []string{"a", "a.log", "keep.log", "data/x", "sub/data/y", "top", "sub/top", "sub/deep/f.x", "sub/deep/in/f.x",
		"cache/f", "sub/cache/g", "#odd", "!bang", "trail", "xa", "xb", "a*b", "aXb", "sub/b.log", "sub/only", "only",
		"sub/deep/only", "data.txt", "sub/deep/c.log"}
	for _, p := range paths {
		if p != "data/x" {
			put(p, "")
		}
	}
	put("data/x", "")
	r := New(dir)
	var left []string
	for _, p := range paths {
		if r.Skip(p, false) {
			left = append(left, p)
		}
	}
	require.NoError(t, r.Err())
	require.Contains(t, left, "a.log")
	require.NotContains(t, left, "sub/b.log")
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git to compare with")
	}
	require.NoError(t, exec.Command("git", "init", "-q", dir).Run())
	cmd := exec.Command("git", "check-ignore", "--no-index", "-z", "--stdin")
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(strings.Join(paths, "\x00") + "\x00")
	out, err := cmd.Output()
	require.NoError(t, err)
	want := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	slices.Sort(want)
	slices.Sort(left)
	require.Equal(t, want, left)
}

// TestBerthignoreCountsMore than what git is told.
func TestBerthignoreCountsMore(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/.gitignore", []byte("data/\n"), 0o644))
	require.NoError(t, os.WriteFile(dir+"/.berthignore", []byte("!data/\n*.tmp\n"), 0o644))
	r := New(dir)
	require.False(t, r.Skip("data/x", false))
	require.True(t, r.Skip("data/x.tmp", false))
	require.True(t, r.Skip("x.tmp/in", false))
}

// TestUnreadableRules are told: what they name would not be left out.
func TestUnreadableRules(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(dir+"/.gitignore", 0o755))
	r := New(dir)
	r.Skip("x", false)
	require.Error(t, r.Err())
}

// FuzzRules parses anything and matches with it.
func FuzzRules(f *testing.F) {
	f.Add("*.log\n!x/\n[!a-]**/\\", "a/b.log")
	f.Fuzz(func(t *testing.T, text, path string) {
		p, err := parse(strings.NewReader(text), nil)
		if err != nil || path == "" {
			return
		}
		r := &Rules{root: "/no/such", of: map[string][]pattern{"": p}}
		r.Skip(path, true)
	})
}
