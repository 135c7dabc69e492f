// Package processtest builds the real small shim for tests of what runs under it.
package processtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

var (
	mu    sync.Mutex
	built func() (string, error) // nil: nobody asked for it
)

// Given names a variable with the path of a shim that is there, for tests on a machine without sources.
const Given = "BERTH_TEST_SHIM"

// Shim is the path of the shim, which is built once. Where there is no go tool the test is skipped.
func Shim(t testing.TB) string {
	t.Helper()
	if path := os.Getenv(Given); path != "" {
		return path
	}
	if _, err := exec.LookPath("go"); err != nil && os.Getenv("BERTH_CI") == "" {
		t.Skip("the go tool is not installed: it builds the small shim")
	}
	mu.Lock()
	if built == nil {
		built = sync.OnceValues(build)
	}
	once := built
	mu.Unlock()
	path, err := once()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func build() (string, error) {
	dir, err := os.MkdirTemp("", "berth-shim")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "berth-shim")
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, "berth/cmd/berth-shim")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the small shim: %w: %s", err, out)
	}
	return path, nil
}

// Remove removes the shim, if a test had it built. It is for TestMain, after the tests.
func Remove() {
	mu.Lock()
	defer mu.Unlock()
	if built == nil {
		return
	}
	if path, err := built(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
}
