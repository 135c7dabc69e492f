package main

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

// TestAJobsSecret: the value of the caller's variable is in the job's environment, and in no file but its own, nowhere
// once the job has ended.
func TestAJobsSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	const value = "hush-4711-hush"
	w.env = append(w.env, "TOKEN="+value)
	r := w.run("run", "vision", "--secret", "TOKEN="+value, "--", "true")
	require.Equal(t, 2, r.code, r.err)
	require.NotContains(t, r.err, value)
	r = w.run("run", "vision", "--secret", "UNSET", "--", "true")
	require.Equal(t, 6, r.code, r.err)
	require.Contains(t, r.err, "UNSET")

	id := strings.TrimSpace(w.run("run", "vision", "--secret", "TOKEN", "--hold", "--", "sh", "-c",
		`case $TOKEN in hush-4711-*) exit 7;; esac`).out)
	kept := func() []string {
		all, err := filepath.Glob(filepath.Join(w.home, "*", "*", "*", "*", "jobs", "secrets", "*"))
		require.NoError(t, err)
		more := having(t, w.home, base64.StdEncoding.EncodeToString([]byte(value)))
		require.Empty(t, having(t, w.home, value))
		require.Subset(t, more, all)
		return more
	}
	require.Len(t, kept(), 1)
	require.Contains(t, kept()[0], "/jobs/secrets/")
	fi, err := os.Stat(kept()[0])
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), fi.Mode())
	r = w.run("run", "vision", "--secret", "TOKEN", "--after", "99", "--", "true")
	require.Equal(t, 2, r.code, r.err)
	require.Len(t, kept(), 1, "a refused submit leaves none")
	require.NotContains(t, w.run("job", "show", "vision", id).out+w.run("job", "show", "vision", id, "--json").out, value)
	w.ok("job", "release", "vision", id)
	require.Equal(t, 7, w.run("job", "wait", "vision", id).code)
	eventually(t, "it is removed", func() bool { return len(kept()) == 0 })
	r = w.run("job", "retry", "vision", id)
	require.Equal(t, 1, r.code, r.err)
	require.Contains(t, r.err, "--secret")
	require.Equal(t, api.JobFailed, w.job("vision", id).State)
}

// TestAJobsCode: show has the commit of the folder, and says when it changed before the start.
func TestAJobsCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	dir := t.TempDir()
	script := "cd " + dir + " && export HOME=" + t.TempDir() + " GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a " +
		"GIT_COMMITTER_EMAIL=a@b && git init -q && echo 1 >f && git add f && git commit -q -m one && git rev-parse HEAD"
	r := w.run("exec", "vision", "--", "sh", "-c", "command -v git >/dev/null || exit 99; "+script)
	if r.code == 99 {
		t.Skip("needs git")
	}
	require.Zero(t, r.code, r.err)
	commit := strings.TrimSpace(r.out)
	id := strings.TrimSpace(w.run("run", "vision", "-w", dir, "--hold", "--", "false").out)
	eventually(t, "its code is known", func() bool { return w.job("vision", id).Code != nil })
	clean := false
	require.Equal(t, &api.JobCode{Commit: commit, Dirty: &clean}, w.job("vision", id).Code)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), []byte("2"), 0o600))
	w.ok("job", "release", "vision", id)
	noted := func() bool {
		require.Equal(t, 1, w.run("job", "wait", "vision", id).code)
		return w.job("vision", id).Code.AtStart != nil
	}
	for range 20 {
		if noted() {
			break
		}
		w.ok("job", "retry", "vision", id) // a machine that has too much to do did not look in time
	}
	require.True(t, noted())
	c := w.job("vision", id).Code
	require.True(t, *c.AtStart.Dirty)
	require.Equal(t, commit, c.AtStart.Commit)
	r = w.run("job", "show", "vision", id)
	require.Contains(t, r.out, "commit "+commit[:12]+", unchanged")
	require.Contains(t, r.out, "it changed before the start: commit "+commit[:12]+", with changes")
}
