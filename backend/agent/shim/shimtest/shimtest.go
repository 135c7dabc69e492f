// Package shimtest builds shims of released builds from the repository's own history, for tests: shims are never
// replaced, so an agent must serve those that an earlier one started.
package shimtest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Capability1 is the last commit of capability 1, whose shims speak protocol 1.
const Capability1 = "f3d96da"

// Build builds the small shim of a commit. Where history or the go tool is missing it skips the test, but in CI.
func Build(t testing.TB, commit string) string {
	t.Helper()
	without := func(why string, out []byte) {
		t.Helper()
		if os.Getenv("BERTH_CI") != "" {
			t.Fatalf("%s: %s", why, out)
		}
		t.Skipf("%s: %s", why, out)
	}
	if _, err := exec.LookPath("go"); err != nil {
		without("the go tool is not installed", nil)
	}
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		without("the module's folder can't be found", mod)
	}
	dir := t.TempDir()
	git := exec.Command("git", "archive", commit, "go.mod", "go.sum", "cmd/berth-shim",
		"backend/agent", "backend/base", "backend/transport")
	git.Dir = filepath.Dir(strings.TrimSpace(string(mod)))
	var said bytes.Buffer
	git.Stderr = &said
	tar, err := git.Output()
	if err != nil {
		without("the repository has no commit "+commit+", or git is missing", said.Bytes())
	}
	unpack := exec.Command("tar", "-x", "-C", dir)
	unpack.Stdin = bytes.NewReader(tar)
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("unpacking %s: %v: %s", commit, err, out)
	}
	path := filepath.Join(dir, "berth-shim")
	build := exec.Command("go", "build", "-trimpath", "-o", path, "./cmd/berth-shim")
	build.Dir = dir
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "PWD="+dir)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the shim of %s: %v: %s", commit, err, out)
	}
	return path
}
