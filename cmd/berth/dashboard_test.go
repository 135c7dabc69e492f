//go:build e2e

package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
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
	out    string // the file that gets every byte of the terminal's output
}

// open starts the dashboard in a fresh terminal of that size. env are settings for it; one that begins
// with "tmux " is a command for the terminal instead, run before.
func (w *world) open(cols, rows int, env ...string) *screen {
	w.t.Helper()
	tmux, err := exec.LookPath("tmux")
	if err != nil {
		w.t.Skip("tmux is not installed")
	}
	dir := w.t.TempDir()
	bin := filepath.Join(dir, "berth")
	exe, err := os.Executable()
	require.NoError(w.t, err)
	require.NoError(w.t, os.Symlink(exe, bin))
	s := &screen{world: w, server: fmt.Sprintf("berth-test-%d-%d", os.Getpid(), time.Now().UnixNano()), name: tmux,
		out: filepath.Join(dir, "out")}
	var commands []string
	set := []string{"BERTH_HOME='" + w.home + "'", "LC_ALL=C.UTF-8"}
	for _, e := range append(env, w.env...) {
		if c, ok := strings.CutPrefix(e, "tmux "); ok {
			commands = append(commands, c)
		} else {
			set = append(set, e)
		}
	}
	// The dashboard waits for the pipe that gets its first byte.
	line := "read -r go; env -u NO_COLOR -u COLORTERM " + strings.Join(set, " ") + " '" + bin +
		"'; echo ENDED $?; exec sleep 1000"
	out, err := exec.Command(tmux, "-L", s.server, "-f", "/dev/null", "-u", "new-session", "-d", "-x", fmt.Sprint(cols),
		"-y", fmt.Sprint(rows), line).CombinedOutput()
	require.NoError(w.t, err, string(out))
	w.t.Cleanup(func() { _ = exec.Command(tmux, "-L", s.server, "kill-server").Run() })
	for _, c := range commands {
		s.tmux(strings.Fields(c)...)
	}
	s.tmux("pipe-pane", "cat > "+s.out)
	s.press("Enter")
	return s
}

// raw is every byte that the terminal got.
func (s *screen) raw() []byte {
	s.t.Helper()
	b, err := os.ReadFile(s.out)
	require.NoError(s.t, err)
	return b
}

// row is the line of the cursor.
func (s *screen) row() string {
	for _, l := range strings.Split(s.text(), "\n") {
		if strings.HasPrefix(l, "▌") {
			return l
		}
	}
	return ""
}

// prompts are the lines that are an empty prompt of a shell.
func (s *screen) prompts() (n int) {
	for _, l := range strings.Split(s.text(), "\n") {
		if l = strings.TrimRight(l, " "); strings.HasSuffix(l, "$") || strings.HasSuffix(l, "#") {
			n++
		}
	}
	return n
}

// shell waits until the terminal is a shell's, which has shown its prompt.
func (s *screen) shell() {
	s.t.Helper()
	eventually(s.t, "a shell has the terminal", func() bool {
		return !strings.Contains(s.text(), "fleet") && s.prompts() > 0
	})
}

// size changes the terminal's size.
func (s *screen) size(cols, rows int) {
	s.tmux("resize-window", "-x", fmt.Sprint(cols), "-y", fmt.Sprint(rows))
}

// quit leaves the dashboard, which is on its first screen.
func (s *screen) quit() {
	s.t.Helper()
	s.press("q")
	s.ended()
}

// ended waits until the dashboard has ended well. The line may be broken: a terminal that began with
// one column leaves the cursor anywhere.
func (s *screen) ended() {
	s.t.Helper()
	eventually(s.t, "it ends with 0", func() bool {
		return strings.Contains(strings.ReplaceAll(s.text(), "\n", ""), "ENDED 0")
	})
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
	deadline := time.Now().Add(2 * time.Minute)
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

// TestNewcomer is the first five minutes: an empty home, two keys to a shell on a workstation, the
// laptop closed and opened again, and all is still there.
func TestNewcomer(t *testing.T) {
	w := newWorld(t)
	s := w.open(100, 30)
	s.sees("Welcome to Berth", "n enter")
	s.press("n", "Enter")
	s.shell()
	s.sees("enter ~ . comes back")
	s.typed("MARK=kept; echo shell-of-$BERTH_INSTANCE")
	s.press("Enter")
	s.sees("shell-of-work-1")
	ins := w.ls()
	require.Len(t, ins, 1)
	require.Equal(t, "work-1", ins[0].Name)
	require.Equal(t, api.StateRunning, ins[0].State)

	// The laptop is closed: the terminal and everything in it die.
	pid := strings.TrimSpace(s.tmux("list-panes", "-F", "#{pane_pid}"))
	children, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	require.NoError(t, err)
	dashboard, err := strconv.Atoi(strings.TrimSpace(string(children)))
	require.NoError(t, err)
	s.tmux("kill-server")
	eventually(t, "the dashboard ends with its terminal", func() bool {
		return errors.Is(syscall.Kill(dashboard, 0), syscall.ESRCH)
	})

	s = w.open(80, 24)
	s.sees("work-1", "running")
	s.press("t")
	s.shell()
	s.sees("shell-of-work-1") // what it showed is shown again
	s.typed("echo still-$MARK")
	s.press("Enter")
	s.sees("still-kept")

	// Away and back, as often as one likes: the same screen, and one prompt at its end.
	for range 3 {
		before := s.prompts()
		s.press("C-]", "d")
		s.sees("Berth", "work-1", "running")
		s.press("t")
		s.shell()
		s.sees("still-kept")
		require.Equal(t, before, s.prompts(), s.text())
	}
	s.press("Enter")
	s.typed("~.")
	s.sees("fleet", "work-1", "running")
	s.quit()
	require.Equal(t, api.StateRunning, w.show("work-1").State)
}

// TestStopStartDelete uses the keys of the fleet.
func TestStopStartDelete(t *testing.T) {
	w := newWorld(t)
	w.ok("create", "vision")
	s := w.open(120, 40)
	s.sees("vision", "running")
	s.press("s")
	s.sees("Stop vision?", "$ berth stop vision")
	s.press("Enter") // the answer is no unless yes is chosen
	s.gone("Stop vision?")
	require.Equal(t, api.StateRunning, w.show("vision").State)
	s.press("s")
	s.sees("Stop vision?")
	s.press("y")
	s.sees("○ stopped")
	require.Equal(t, api.StateStopped, w.show("vision").State)
	s.press("s")
	s.sees("● running")
	s.press("d")
	s.sees("Delete vision?", "The folder", "Everything that runs there ends.", "Type vision")
	s.press("Enter") // nothing was typed: nothing is deleted
	s.gone("Delete vision?")
	require.Len(t, w.ls(), 1)
	s.press("d")
	s.sees("Type vision")
	s.typed("visiom")
	s.press("Enter") // that is another name
	s.sees("That is not what must be typed")
	require.Len(t, w.ls(), 1)
	s.press("BSpace")
	s.typed("n")
	s.press("Enter")
	eventually(t, "it is deleted", func() bool { return len(w.ls()) == 0 })
	s.sees("Welcome to Berth")
	s.quit()
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
	s.quit()
}

// TestSizesAndResizes opens the dashboard at sizes from absurd to huge, and resizes it in the middle
// of anything.
func TestSizesAndResizes(t *testing.T) {
	w := newWorld(t)
	w.ok("create", "vision")
	for _, z := range [][2]int{{1, 1}, {500, 200}} {
		s := w.open(z[0], z[1])
		eventually(t, "a frame", func() bool { return bytes.Contains(s.raw(), []byte("\x1b[?1049h")) })
		s.size(100, 30)
		s.sees("vision", "running")
		s.quit()
		s.tmux("kill-server")
	}
	s := w.open(120, 40)
	s.sees("vision")
	for _, z := range [][2]int{{1, 1}, {500, 200}, {40, 10}, {80, 24}, {2, 50}, {200, 60}} {
		s.size(z[0], z[1])
		for _, k := range []string{"Enter", "Escape", "?", "Escape", "n", "Escape", "e", "Escape"} {
			s.press(k)
		}
	}
	s.size(120, 40)
	s.sees("vision", "running")

	// In a dialog that is typed into: what was typed stays, and so does the answer that it needs.
	s.press("d")
	s.sees("Delete vision?")
	s.typed("visi")
	for _, z := range [][2]int{{40, 10}, {1, 1}, {200, 60}, {80, 24}} {
		s.size(z[0], z[1])
		if z[0] >= 40 {
			s.sees("Delete vision?", "visi")
		}
	}
	s.press("Enter")
	s.sees("That is not what must be typed")
	s.press("Escape")
	s.gone("Delete vision?")

	// In a form.
	s.press("n")
	s.sees("this name is free")
	s.typed("gpu-7")
	s.size(40, 10)
	s.sees("gpu-7")
	s.size(120, 40)
	s.sees("gpu-7", "berth create gpu-7")
	s.press("Escape")
	s.gone("gpu-7")

	// In a shell, which is told.
	s.press("t")
	s.shell()
	s.size(77, 33)
	eventually(t, "the shell has the new size", func() bool {
		s.typed("stty size")
		s.press("Enter")
		return strings.Contains(s.text(), "33 77")
	})
	s.typed("exit")
	s.press("Enter")
	s.sees("vision", "the shell ended")
	s.quit()
	require.Len(t, w.ls(), 1)
}

// TestQuietWhenIdle counts the bytes that reach the terminal while no shown value changes.
func TestQuietWhenIdle(t *testing.T) {
	w := newWorld(t)
	w.ok("create", "vision")
	w.ok("stop", "vision")
	s := w.open(120, 40)
	s.sees("vision", "stopped")
	// What the start still brings has come when a second passes without a byte.
	var start []byte
	eventually(t, "it is quiet", func() bool {
		start = s.raw()
		time.Sleep(time.Second)
		return len(s.raw()) == len(start)
	})
	time.Sleep(6 * time.Second)
	// The age of the figures may turn to the next minute once.
	require.LessOrEqual(t, len(s.raw())-len(start), 400, "%q", s.raw()[len(start):])
	s.quit()
}

// sgrColour is any sequence that sets one.
var sgrColour = regexp.MustCompile(`\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;[0-9;]*)?m`)

// tour walks through screens, dialogs and menus, back to the fleet.
func (s *screen) tour() {
	s.t.Helper()
	s.sees("vision", "running", "stopped")
	for _, x := range []struct{ key, sees string }{
		{"Enter", "Machine"}, {"Escape", "NAME"}, {"?", "Looking"}, {"Escape", "NAME"}, {"n", "work-1"}, {"Escape", "NAME"},
		{"a", "target"}, {"Escape", "NAME"},
		{"e", "vision"}, {"Escape", "NAME"}, {"d", "Type"}, {"Escape", "NAME"}, {"y", "Copy"}, {"Escape", "NAME"},
		{":", "start instances"}, {"Escape", "NAME"},
		{"f", " top "}, {"Escape", "NAME"}, {"w", " wall "}, {"Escape", "NAME"}, {"!", " attention "},
		{"Escape", "NAME"},
	} {
		s.press(x.key)
		s.sees(x.sees)
	}
}

// TestNoColorAndASCII reads every byte of a walk through the screens.
func TestNoColorAndASCII(t *testing.T) {
	w := newWorld(t)
	w.ok("create", "vision")
	w.ok("create", "archive")
	w.ok("stop", "archive")
	s := w.open(100, 30, "NO_COLOR=1", "COLORTERM=truecolor")
	s.tour()
	s.quit()
	require.Empty(t, sgrColour.FindAll(s.raw(), -1))
	require.Contains(t, string(s.raw()), "●")

	s = w.open(100, 30, "LC_ALL=C", "COLORTERM=truecolor")
	s.tour()
	s.quit()
	raw := s.raw()
	for i, b := range raw {
		require.Less(t, b, byte(0x80), "%q", raw[max(0, i-60):min(len(raw), i+20)])
	}
	require.NotEmpty(t, sgrColour.FindAll(raw, -1), "this one has colours")
}

// TestLightBackground has the terminal answer what its background is: the dashboard is drawn for it.
func TestLightBackground(t *testing.T) {
	w := newWorld(t)
	w.ok("create", "vision")
	look := func(bg string) string {
		s := w.open(100, 30, "COLORTERM=truecolor", "tmux set -g window-style fg=#808080,bg="+bg)
		s.sees("vision", "running")
		ground := func() string {
			return strings.Join(regexp.MustCompile(`48;2;[0-9]+;[0-9]+;[0-9]+`).FindStringSubmatch(s.tmux("capture-pane", "-p",
				"-e")), "")
		}
		bar := ""
		eventually(t, "the screen has the look for "+bg, func() bool {
			bar = ground() // of the bar on top
			var r, g, b int
			_, err := fmt.Sscanf(bar, "48;2;%d;%d;%d", &r, &g, &b)
			return err == nil && (r+g+b > 3*128) == (bg == "#ffffff")
		})
		s.quit()
		return bar
	}
	require.NotEqual(t, look("#000000"), look("#ffffff"))
}

// TestMouseCommandAndCopy uses what is not a key: the mouse, the command line, the clipboard.
func TestMouseCommandAndCopy(t *testing.T) {
	w := newWorld(t)
	w.ok("create", "alpha")
	w.ok("create", "beta")
	s := w.open(100, 30)
	s.sees("alpha", "beta")
	eventually(t, "the cursor is on the first row", func() bool { return strings.Contains(s.row(), "alpha") })
	click := func(text string) {
		for y, l := range strings.Split(s.text(), "\n") {
			if x := strings.Index(l, text); x >= 0 {
				x = len([]rune(l[:x])) + 1
				s.typed(fmt.Sprintf("\x1b[<0;%d;%dM\x1b[<0;%d;%dm", x, y+1, x, y+1))
				return
			}
		}
		t.Fatalf("%q is not on the screen", text)
	}
	click("beta")
	eventually(t, "the click selects", func() bool { return strings.Contains(s.row(), "beta") })
	s.press("y")
	s.sees("Copy from beta")
	s.press("Enter") // the name
	s.sees("copied name: beta")
	require.Contains(t, string(s.raw()), "\x1b]52;c;"+base64.StdEncoding.EncodeToString([]byte("beta")))

	s.press(":")
	s.typed("stop beta")
	s.press("Enter")
	s.sees("Stop beta?")
	s.press("y")
	s.sees("○ stopped")
	require.Equal(t, api.StateStopped, w.show("beta").State)
	require.Equal(t, api.StateRunning, w.show("alpha").State)
	s.press(":")
	s.typed("ssh alpha")
	s.press("Enter")
	s.shell()
	s.typed("exit")
	s.press("Enter")
	s.sees("the shell ended")
	s.press(":")
	s.typed("quit")
	s.press("Enter")
	s.ended()
}

// TestTheCursorStaysOnItsRow has other clients make ten instances around the one under the cursor.
func TestTheCursorStaysOnItsRow(t *testing.T) {
	w := newWorld(t)
	w.ok("create", "mmm")
	s := w.open(120, 40)
	s.sees("mmm", "running")
	names := make(chan string, 10)
	for i := range 5 {
		names <- fmt.Sprintf("aaa-%d", i)
		names <- fmt.Sprintf("zzz-%d", i)
	}
	close(names)
	var clients sync.WaitGroup
	failed := make(chan string, 10)
	for range 2 {
		clients.Go(func() {
			for n := range names {
				if r := w.run("create", n); r.code != 0 {
					failed <- n + ": " + r.err
				}
			}
		})
	}
	seen := 0
	eventually(t, "all are there", func() bool {
		text := s.text()
		if row := s.row(); !strings.Contains(row, "mmm") {
			t.Errorf("the cursor is on %q", row)
		}
		seen = strings.Count(text, "aaa-") + strings.Count(text, "zzz-")
		return seen >= 10 || t.Failed()
	})
	clients.Wait()
	require.Empty(t, failed)
	require.Contains(t, s.row(), "mmm")
	s.press("Enter")
	s.sees("fleet › mmm")
	s.press("Escape")
	s.quit()
}
