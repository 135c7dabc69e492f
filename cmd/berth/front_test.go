//go:build e2e

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/service/daemon/connect"
)

// frontBuild builds the program as releases have it: a short one that carries the whole one. It returns both.
func frontBuild(t *testing.T) (front, entire string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	dir := t.TempDir()
	entire, front = filepath.Join(dir, "whole"), filepath.Join(dir, "berth")
	goBuild(t, root, newVersion, "", entire, "./cmd/berth")
	packed, sum := filepath.Join(dir, "packed"), filepath.Join(dir, "sum")
	pack(t, root, entire, packed, sum)
	// In the tree these files are those of `make build`.
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(root, "assets/whole/berth.zst"): packed, filepath.Join(root, "assets/whole/berth.sum"): sum}})
	require.NoError(t, err)
	replaced := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(replaced, overlay, 0o600))
	t.Setenv("GOFLAGS", "-overlay="+replaced)
	goBuild(t, root, newVersion, "front", front, "./cmd/berth")
	require.NoError(t, os.Unsetenv("GOFLAGS"))
	return front, entire
}

// TestFront uses the program as releases have it: its own verbs and those of the whole program are one program's.
func TestFront(t *testing.T) {
	front, entire := frontBuild(t)
	b, err := os.ReadFile(entire)
	require.NoError(t, err)
	sum := sha256.Sum256(b)

	w := newWorld(t)
	w.exe = front
	w.user = t.TempDir()
	help := w.ok("--help")
	require.Contains(t, help, "adopt")
	require.NotEmpty(t, w.ok("help", "jobs"))
	require.Equal(t, 2, w.run("no-such-verb").code)
	require.NoFileExists(t, w.home, "who only reads the help has nothing left behind")
	left, err := os.ReadDir(w.user)
	require.NoError(t, err)
	require.Empty(t, left)

	// A home whose state can't be made.
	w.home = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(w.home, "state"), nil, 0o600))
	require.Equal(t, help, w.ok("--help"))
	for _, args := range [][]string{{"create", "box", "--backend", "local"}, {"ls"}} {
		r := w.run(args...)
		require.Equal(t, 1, r.code, r.err)
		require.Contains(t, r.err, "can't write its state")
	}
	w.home = filepath.Join(t.TempDir(), "home")

	// The first call of all is a short verb: it starts the daemon from the program that is unpacked for that.
	require.Contains(t, w.run("ls").err, "No instances")
	path := filepath.Join(w.at().Bin(), hex.EncodeToString(sum[:]), "berth")
	require.FileExists(t, path)
	note, ok := connect.ReadNote(w.at())
	require.True(t, ok)
	require.Equal(t, path, note.Program)
	w.ok("create", "box", "--backend", "local")
	require.Equal(t, "in\n", w.ok("exec", "box", "--", "echo", "in"))
	require.Equal(t, 7, w.run("exec", "box", "--", "sh", "-c", "exit 7").code)
	require.Equal(t, 7, w.run("run", "box", "--follow", "--", "sh", "-c", "exit 7").code)
	code := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(code, "word"), []byte("sent"), 0o600))
	require.Equal(t, "sent", w.ok("run", "box", "--sync", code, "--follow", "--", "cat", "word"))
	require.Contains(t, w.ok("job", "ls", "box"), "succeeded")
	w.ok("top", "box", "--once")
	again, _ := connect.ReadNote(w.at())
	require.Equal(t, note, again, "all of them are served by one daemon")

	// A copy that a power cut has shortened is made again, by either kind of verb.
	for _, args := range [][]string{{"images"}, {"ls"}} {
		w.ok("daemon", "stop")
		require.NoError(t, os.Remove(path)) // the agent of the instance still runs it
		require.NoError(t, os.WriteFile(path, b[:4096], 0o755))
		w.ok(args...)
		fi, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, int64(len(b)), fi.Size())
	}
}
