package code

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/queue"
)

// repository is a new one with a commit, and what runs git in it.
func repository(t *testing.T) (dir string, git func(args ...string) string) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skipf("needs git: %v", err)
	}
	dir = t.TempDir()
	home := t.TempDir()
	git = func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOME="+home, "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a",
			"GIT_COMMITTER_EMAIL=a@example.org", "GIT_CONFIG_NOSYSTEM=1")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "git %q: %s", args, out)
		return strings.TrimSpace(string(out))
	}
	git("init", "-q")
	write(t, dir, "train.py", "print(1)\n")
	git("add", ".")
	git("commit", "-q", "-m", "one")
	return dir, git
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700))
}

func look(t *testing.T, dir string) *queue.Code {
	t.Helper()
	env := func(context.Context) []string {
		return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GIT_DIR=/nowhere"}
	}
	c, err := Look(t.Context(), env, dir)
	require.NoError(t, err)
	return c
}

func TestLook(t *testing.T) {
	dir, git := repository(t)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "below", "it"), 0o700))
	first := look(t, filepath.Join(dir, "below", "it"))
	require.Equal(t, git("rev-parse", "HEAD"), first.Commit)
	require.False(t, *first.Dirty)
	write(t, dir, "untracked", "x")
	require.True(t, first.Same(look(t, dir)))

	write(t, dir, "train.py", "print(2)\n")
	second := look(t, dir)
	require.Equal(t, first.Commit, second.Commit)
	require.True(t, *second.Dirty)
	require.False(t, first.Same(second))
	require.True(t, second.Same(look(t, dir)))
	require.NoError(t, os.Chtimes(filepath.Join(dir, "train.py"), time.Time{}, time.Now().Add(time.Hour)))
	require.False(t, second.Same(look(t, dir)), "it was changed again")
	git("commit", "-q", "-a", "-m", "two")
	third := look(t, dir)
	require.NotEqual(t, first.Commit, third.Commit)
	require.False(t, *third.Dirty)
	git("worktree", "add", "-q", filepath.Join(dir, "tree"))
	require.Equal(t, third.Commit, look(t, filepath.Join(dir, "tree")).Commit)

	require.Nil(t, look(t, t.TempDir()))
	empty := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(empty, ".git"), 0o700))
	c, err := Look(t.Context(), func(context.Context) []string { return []string{"PATH=" + os.Getenv("PATH")} }, empty)
	require.Nil(t, c, "it is no repository")
	require.Error(t, err)
	c, err = Look(t.Context(), func(context.Context) []string { return []string{"PATH=/nowhere"} }, dir)
	require.NoError(t, err)
	require.Nil(t, c, "there is no git")
}

// Whatever program a repository's own configuration names, a look doesn't run it, and writes nothing.
func TestAHostileRepository(t *testing.T) {
	for name, set := range map[string]func(t *testing.T, dir, evil string, git func(...string) string){
		"fsmonitor": func(_ *testing.T, _, evil string, git func(...string) string) { git("config", "core.fsmonitor", evil) },
		"filter": func(t *testing.T, dir, evil string, git func(...string) string) {
			write(t, dir, ".git/info/attributes", "* filter=evil\n")
			git("config", "filter.evil.clean", evil)
		},
		"process": func(t *testing.T, dir, evil string, git func(...string) string) {
			write(t, dir, ".git/info/attributes", "* filter=a.b\n")
			git("config", "filter.a.b.process", evil)
		},
		"included": func(t *testing.T, dir, evil string, git func(...string) string) {
			write(t, dir, ".git/info/attributes", "* filter=evil\n")
			write(t, dir, "more", "[filter \"evil\"]\n\tclean = "+evil+"\n")
			git("config", "include.path", "../more")
		},
		"of the worktree": func(t *testing.T, dir, evil string, git func(...string) string) {
			write(t, dir, ".git/info/attributes", "* filter=evil\n")
			git("config", "extensions.worktreeConfig", "true")
			git("config", "--worktree", "filter.evil.clean", evil)
		},
		"hooks": func(t *testing.T, dir, evil string, _ func(...string) string) {
			for _, h := range []string{"post-index-change", "reference-transaction", "post-checkout"} {
				write(t, dir, ".git/hooks/"+h, "#!/bin/sh\n"+evil+"\n")
			}
		},
		"hooks elsewhere": func(t *testing.T, dir, evil string, git func(...string) string) {
			write(t, dir, "hooks/post-index-change", "#!/bin/sh\n"+evil+"\n")
			git("config", "core.hooksPath", filepath.Join(dir, "hooks"))
		},
		"alias and pager": func(_ *testing.T, _, evil string, git func(...string) string) {
			git("config", "alias.status", "!"+evil)
			git("config", "core.pager", evil)
			git("config", "pager.status", "true")
		},
		"what is missing is fetched": func(t *testing.T, dir, evil string, git func(...string) string) {
			git("config", "extensions.partialClone", "origin")
			git("config", "remote.origin.promisor", "true")
			git("config", "remote.origin.url", "ssh://nowhere.invalid/x")
			git("config", "core.sshCommand", evil)
			git("config", "core.repositoryFormatVersion", "1")
			tree := git("rev-parse", "HEAD^{tree}")
			require.NoError(t, os.Remove(filepath.Join(dir, ".git", "objects", tree[:2], tree[2:])))
		},
		"submodule": func(t *testing.T, dir, evil string, git func(...string) string) {
			git("init", "-q", "sub")
			write(t, dir, "sub/f", "x")
			git("-C", "sub", "add", ".")
			git("-C", "sub", "commit", "-q", "-m", "s")
			git("add", "sub")
			git("commit", "-q", "-m", "with sub")
			write(t, dir, "sub/.git/info/attributes", "* filter=evil\n")
			git("-C", "sub", "config", "filter.evil.clean", evil)
			write(t, dir, "sub/f", "y")
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, git := repository(t)
			ran := filepath.Join(t.TempDir(), "ran")
			evil := filepath.Join(t.TempDir(), "evil")
			write(t, "/", evil, "#!/bin/sh\necho \"$0 $*\" >>"+ran+"\ncat\n")
			set(t, dir, evil, git)
			id := git("-c", "core.fsmonitor=false", "rev-parse", "HEAD")
			_ = os.Remove(ran)
			write(t, dir, "train.py", "print(3)\n") // as long as before: git has to read it
			index, err := os.ReadFile(filepath.Join(dir, ".git", "index"))
			require.NoError(t, err)
			c, err := Look(t.Context(), func(context.Context) []string {
				return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
			}, dir)
			require.NoFileExists(t, ran)
			if err == nil && c != nil {
				require.Equal(t, id, c.Commit)
			}
			after, err := os.ReadFile(filepath.Join(dir, ".git", "index"))
			require.NoError(t, err)
			require.Equal(t, index, after)
		})
	}
}

// The filters that git-lfs writes into a repository are those of a program of the machine.
func TestUsualFilters(t *testing.T) {
	lfs := "local\x00filter.lfs.clean\ngit-lfs clean -- %f\x00local\x00filter.lfs.required\ntrue\x00"
	require.True(t, harmless([]byte(lfs+"global\x00filter.x.clean\nmine\x00")))
	require.False(t, harmless([]byte(lfs+"local\x00lfs.extension.x.clean\nevil\x00")))
	require.False(t, harmless([]byte("worktree\x00filter.lfs.clean\nevil\x00")))
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("# branch.oid 0123456789012345678901234567890123456789\x001 .M N... 100644 100644 100644 a b train.py\x00"))
	f.Add([]byte("u UU N... 1 2 3 4 a b c d\x00# branch.oid (initial)\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		harmless(b)
		if c := parse(b, "/nowhere"); c != nil {
			require.True(t, isCommit(c.Commit))
			require.Equal(t, *c.Dirty, c.Mark != "")
		}
	})
}
