// Package agenttest has what tests of an agent and of its parts share.
package agenttest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/part"
)

// Options are of an agent with folders of its own. Sockets are short, so they are not below t.TempDir.
func Options(t testing.TB) part.Options {
	t.Helper()
	dir := t.TempDir()
	run, err := os.MkdirTemp("/tmp", "bt")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(run) })
	home := filepath.Join(dir, "home")
	require.NoError(t, os.Mkdir(home, 0o700))
	return part.Options{State: filepath.Join(dir, "state", "agent"), Socket: filepath.Join(run, "agent.sock"),
		Home: home, Workdir: home, Scratch: filepath.Join(dir, "scratch"),
		Instance: "t", InstanceID: "i-" + filepath.Base(run), Shell: "/bin/bash"}
}

// OnlyTests ends this program where it was started to be something else than a test, and nothing of that name: it would
// run all tests.
func OnlyTests() {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		fmt.Fprintf(os.Stderr, "%s is a test's program, and plays no %q\n", os.Args[0], os.Args[1])
		os.Exit(2)
	}
}

// Program is this test's program.
func Program(t testing.TB) string {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	return exe
}

// Eventually polls until ok holds; what names what was awaited.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
