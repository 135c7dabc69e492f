//go:build e2e

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

// screen is the dashboard in a real terminal: tmux, on a server of its own.
type screen struct {
	*world
	server string
	name   string
}

// open starts a command line in a fresh terminal of that size.
func (w *world) open(cols, rows int, env ...string) *screen {
	w.t.Helper()
	tmux, err := exec.LookPath("tmux")
	if err != nil {
		w.t.Skip("tmux is not installed")
	}
	bin := filepath.Join(w.t.TempDir(), "berth")
	exe, err := os.Executable()
	require.NoError(w.t, err)
	require.NoError(w.t, os.Symlink(exe, bin))
	s := &screen{world: w, server: fmt.Sprintf("berth-test-%d-%d", os.Getpid(), time.Now().UnixNano()), name: tmux}
	line := "env BERTH_HOME='" + w.home + "' LC_ALL=C.UTF-8 " + strings.Join(append(env, w.env...), " ") + " '" + bin + "'; echo ENDED $?; exec sleep 1000"
	out, err := exec.Command(tmux, "-L", s.server, "-f", "/dev/null", "-u", "new-session", "-d", "-x", fmt.Sprint(cols), "-y", fmt.Sprint(rows), line).CombinedOutput()
	require.NoError(w.t, err, string(out))
	w.t.Cleanup(func() { _ = exec.Command(tmux, "-L", s.server, "kill-server").Run() })
	return s
}

func (s *screen) tmux(args ...string) string {
	s.t.Helper()
	out, err := exec.Command(s.name, append([]string{"-L", s.server}, args...)...).CombinedOutput()
	require.NoError(s.t, err, string(out))
	return string(out)
}

// text is what the terminal shows.
func (s *screen) text() string { return s.tmux("capture-pane", "-p") }

// press sends named keys.
func (s *screen) press(keys ...string) { s.tmux(append([]string{"send-keys"}, keys...)...) }

// typed sends text as it is.
func (s *screen) typed(text string) { s.tmux("send-keys", "-l", text) }

// sees waits until the terminal shows all of the texts.
func (s *screen) sees(texts ...string) {
	s.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		now := s.text()
		missing := ""
		for _, x := range texts {
			if !strings.Contains(now, x) {
				missing = x
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("never saw %q; the screen is:\n%s", missing, now)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// gone waits until the terminal no longer shows the text.
func (s *screen) gone(text string) {
	s.t.Helper()
	eventually(s.t, "the screen no longer shows "+text, func() bool { return !strings.Contains(s.text(), text) })
}

// TestNewcomer is the first five minutes: an empty home, a workstation by two keys, its shell, the
// laptop closed and opened again, and all is still there.
func TestNewcomer(t *testing.T) {
	w := newWorld(t)
	s := w.open(100, 30)
	s.sees("Berth", "n")
	s.press("n")
	s.sees("name", "size")
	s.typed("vision")
	s.press("Enter")
	for range 6 { // through the fields to the button; enter on the last one creates
		if len(w.ls()) > 0 {
			break
		}
		s.press("Enter")
		time.Sleep(50 * time.Millisecond)
	}
	eventually(t, "it is running", func() bool {
		ins := w.ls()
		return len(ins) == 1 && ins[0].State == api.StateRunning
	})
	if !strings.Contains(s.text(), "fleet") || strings.Contains(s.text(), "›  vision") {
		s.press("Escape")
	}
	s.sees("vision", "running")
	s.press("t")
	s.sees("$")
	s.typed("MARK=kept; echo shell-of-$BERTH_INSTANCE")
	s.press("Enter")
	s.sees("shell-of-vision")

	// The laptop is closed: the terminal and everything in it die.
	pid := strings.TrimSpace(s.tmux("list-panes", "-F", "#{pane_pid}"))
	require.NotEmpty(t, pid)
	s.tmux("kill-server")

	s = w.open(80, 24)
	s.sees("vision", "running")
	s.press("t")
	s.typed("echo still-$MARK")
	s.press("Enter")
	s.sees("still-kept")
	s.press("Enter")
	s.typed("~.")
	s.sees("vision", "running", "Berth")
	s.press("q")
	s.sees("ENDED 0")
	require.Equal(t, api.StateRunning, w.show("vision").State)
}

// TestStopStartDelete uses the keys of the fleet.
func TestStopStartDelete(t *testing.T) {
	w := newWorld(t)
	w.ok("create", "vision")
	s := w.open(120, 40)
	s.sees("vision", "running")
	s.press("s")
	eventually(t, "it is stopped", func() bool {
		if strings.Contains(s.text(), "Stop") && w.show("vision").State == api.StateRunning {
			s.press("y")
		}
		return w.show("vision").State == api.StateStopped
	})
	s.sees("stopped")
	s.press("s")
	s.sees("running")
	s.press("d")
	s.sees("vision", "lost")
	s.press("Enter") // nothing was typed: nothing is deleted
	time.Sleep(100 * time.Millisecond)
	require.Len(t, w.ls(), 1)
	s.typed("vision")
	s.press("Enter")
	eventually(t, "it is deleted", func() bool { return len(w.ls()) == 0 })
	s.press("q")
	s.sees("ENDED 0")
}

// TestDaemonKilledUnderTheDashboard kills the daemon: the dashboard finds the next one.
func TestDaemonKilledUnderTheDashboard(t *testing.T) {
	w := newWorld(t)
	w.ok("create", "vision")
	s := w.open(120, 40)
	s.sees("vision", "running")
	require.NoError(t, syscall.Kill(w.pid(), syscall.SIGKILL))
	w.ok("create", "second")
	s.sees("vision", "second")
	// What another client does is shown.
	w.ok("stop", "second")
	s.sees("stopped")
}

// TestSizesAndResizes opens the dashboard at sizes from absurd to huge and resizes it on the way.
func TestSizesAndResizes(t *testing.T) {
	w := newWorld(t)
	w.ok("create", "vision")
	s := w.open(120, 40)
	s.sees("vision")
	for _, z := range [][2]int{{1, 1}, {500, 200}, {40, 10}, {80, 24}, {2, 50}, {200, 60}} {
		s.tmux("resize-window", "-x", fmt.Sprint(z[0]), "-y", fmt.Sprint(z[1]))
		for _, k := range []string{"Enter", "Escape", "?", "Escape", "n", "Escape", "e", "Escape"} {
			s.press(k)
		}
	}
	s.sees("vision", "running")
	s.press("q")
	s.sees("ENDED 0")
}

// TestQuietWhenIdle counts the bytes that reach the terminal while no shown value changes.
func TestQuietWhenIdle(t *testing.T) {
	w := newWorld(t)
	w.ok("create", "vision")
	w.ok("stop", "vision")
	s := w.open(120, 40)
	s.sees("vision", "stopped")
	time.Sleep(2 * time.Second) // what the start still brings
	raw := filepath.Join(t.TempDir(), "raw")
	s.tmux("pipe-pane", "cat > "+raw)
	time.Sleep(8 * time.Second)
	s.tmux("pipe-pane")
	b, err := os.ReadFile(raw)
	require.NoError(t, err)
	// The age of the figures may turn to the next minute once.
	require.LessOrEqual(t, len(b), 400, "%q", b)
}
