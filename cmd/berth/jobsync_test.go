package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/transport/ssh/sshdtest"
)

// TestJobsRunInACopyOfAFolder: --sync takes a folder at the submit, over a real sshd. Edits after that, other jobs and
// retries don't mix, only what has changed travels, and results come home.
func TestJobsRunInACopyOfAFolder(t *testing.T) {
	t.Parallel()
	w, s := remoteWorld(t, sshdtest.Options{})
	w.ok("adopt", "gpu1", "gpu1", "--host-key", fingerprint(s))
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o755))
	}
	put("train.sh", "#!/bin/sh\ncat version lib/part; pwd >where; echo result >out; ls")
	put("version", "one\n")
	put("lib/part", "part\n")
	put("data/large", strings.Repeat("x", 3<<20))
	put("secret.key", "no")
	put(".gitignore", "data/\n")
	put(".berthignore", "*.key\n")

	r := w.run("run", "gpu1", "--sync", dir, "--sync-limit", "1MB", "--hold", "--", "./train.sh")
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.err, "6 new, 0 changed, 0 removed")
	first := strings.TrimSpace(r.out)
	put("version", "two\n")
	require.NoError(t, os.Remove(filepath.Join(dir, "lib/part")))
	put("lib/other", "")
	r = w.run("run", "gpu1", "--sync", dir, "--", "sh", "-c", "cat version; ls lib; ls out")
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.err, "1 new, ")
	require.Contains(t, r.err, ", 1 removed")
	second := strings.TrimSpace(r.out)
	w.run("job", "wait", "gpu1", second)
	require.Contains(t, w.ok("job", "logs", "gpu1", second), "two\nother\nls: ")

	w.ok("job", "release", "gpu1", first)
	require.Zero(t, w.run("job", "wait", "gpu1", first).code)
	require.Equal(t, "one\npart\nlib\nout\ntrain.sh\nversion\nwhere\n", w.ok("job", "logs", "gpu1", first))
	home := t.TempDir()
	w.ok("cp", "gpu1/"+first+":out", "gpu1/"+first+":where", home)
	b, err := os.ReadFile(filepath.Join(home, "out"))
	require.NoError(t, err)
	require.Equal(t, "result\n", string(b))
	where, err := os.ReadFile(filepath.Join(home, "where"))
	require.NoError(t, err)
	require.Equal(t, w.job("gpu1", first).Workdir+"\n", string(where))

	below := strings.TrimSpace(w.ok("run", "gpu1", "--sync", dir, "--workdir", "lib", "--", "ls"))
	require.Zero(t, w.run("job", "wait", "gpu1", below).code)
	require.Equal(t, "other\n", w.ok("job", "logs", "gpu1", below))

	// Submitted once more it has a copy of its own of the folder as it is by then.
	jobs := w.client().Agent("gpu1").Jobs()
	q, err := jobs.Request(t.Context(), first)
	require.NoError(t, err)
	require.NotEmpty(t, q.CopyOf)
	q.UUID, q.Argv = uuid.NewString(), []string{"sh", "-c", "cat out version; echo third >out"}
	third, err := jobs.Submit(t.Context(), q)
	require.NoError(t, err)
	require.Zero(t, w.run("job", "wait", "gpu1", *third.ID).code)
	require.Equal(t, "result\none\n", w.ok("job", "logs", "gpu1", *third.ID))
	require.NotEqual(t, w.job("gpu1", first).Workdir, third.Workdir)
	b, err = os.ReadFile(filepath.Join(w.job("gpu1", first).Workdir, "out"))
	require.NoError(t, err)
	require.Equal(t, "result\n", string(b))

	w.ok("job", "rm", "gpu1", first)
	require.DirExists(t, third.Workdir)
	q.UUID = uuid.NewString()
	_, err = jobs.Submit(t.Context(), q)
	require.ErrorIs(t, err, &api.Error{Code: api.CodeNotFound}, "what it is to be a copy of is gone")
	q.UUID, q.CopyOf = third.UUID, third.UUID
	again, err := jobs.Submit(t.Context(), q)
	require.NoError(t, err)
	require.Equal(t, third.ID, again.ID)
	w.ok("job", "rm", "gpu1", *third.ID)
	_, err = jobs.Submit(t.Context(), q)
	require.ErrorIs(t, err, &api.Error{Code: api.CodeGone}, "it does not run twice, though it is forgotten")
	require.NoDirExists(t, strings.TrimSpace(string(where)))
	require.DirExists(t, w.job("gpu1", second).Workdir)

	r = w.run("run", "gpu1", "--sync", dir, "--workdir", "/tmp", "--", "true")
	require.NotContains(t, r.err, "the job has a copy", "it is refused before the folder is sent")
	for want, args := range map[int][]string{
		5: {"--sync", dir, "--sync-limit", "10B"},
		2: {"--sync", dir, "--workdir", "/tmp"},
	} {
		r := w.run(append(append([]string{"run", "gpu1"}, args...), "--", "true")...)
		require.Equal(t, want, r.code, r.err)
	}
	require.Equal(t, 2, w.run("run", "gpu1", "--sync", dir+"/none", "--", "true").code)
	page, err := w.client().Agent("gpu1").Jobs().List(t.Context(), api.JobQuery{})
	require.NoError(t, err)
	require.Len(t, page.Jobs, 2, "the second, and the one below it")
}

// TestAFolderForAStoppedInstance is kept as it was at the submit, until the instance runs: the daemon may be killed
// meanwhile. --start starts the instance, and sends the folder then.
func TestAFolderForAStoppedInstance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	w.ok("stop", "vision")
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	put("f", "there\n")
	put("key", "no\n")
	put(".berthignore", "key\n")
	r := w.run("run", "vision", "--sync", dir, "--", "sh", "-c", "cat f; ls")
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.err, "a copy of "+dir+" waits here with the job")
	require.Contains(t, r.err, "waits for vision to start")
	kept := strings.TrimSpace(r.out)
	put("f", "changed\n")
	r = w.run("run", "vision", "--sync", dir, "--sync-limit", "3B", "--", "true")
	require.Equal(t, 5, r.code, r.err)
	w.env = append(w.env, "TOKEN=x")
	r = w.run("run", "vision", "--sync", dir, "--secret", "TOKEN", "--", "true")
	require.Equal(t, 2, r.code, r.err)
	require.Contains(t, r.err, "secrets can't wait")
	require.NoError(t, syscall.Kill(w.pid(), syscall.SIGKILL))
	w.ok("start", "vision")
	require.Zero(t, w.run("job", "wait", "vision", kept).code)
	require.Equal(t, "there\nf\n", w.ok("job", "logs", "vision", kept))
	left, err := os.ReadDir(filepath.Join(w.at().State, "outbox"))
	require.NoError(t, err)
	require.Empty(t, left)

	w.ok("stop", "vision")
	id := strings.TrimSpace(w.ok("run", "vision", "--sync", dir, "--start", "--", "cat", "f"))
	require.Zero(t, w.run("job", "wait", "vision", id).code)
	require.Equal(t, api.JobSucceeded, w.job("vision", id).State)
	require.Equal(t, "changed\n", w.ok("job", "logs", "vision", id))
}
