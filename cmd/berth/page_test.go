package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"berth/assets"
	"berth/ui/text"
)

func TestPagesAreRendered(t *testing.T) {
	page := "# Head\n\nSome `code` and **bold** words that go on.\n\n- an item that hangs below\n\n    as  it was\n"
	var b bytes.Buffer
	require.NoError(t, printPage(&b, page, false, 24))
	require.Equal(t, "Head\n\n  Some `code` and bold\n  words that go on.\n\n  - an item that hangs\n    below\n\n    as  it was\n", b.String())
	b.Reset()
	require.NoError(t, printPage(&b, page, true, 40))
	require.Contains(t, b.String(), "\x1b[1mHead\x1b[22m\n")
	require.Contains(t, b.String(), "Some \x1b[1mcode\x1b[22m and \x1b[1mbold\x1b[22m words")
	require.NotContains(t, b.String(), "`")
}

// Everything that help says fits 80 columns in a pipe, but for lines that are copied.
func TestHelpFits(t *testing.T) {
	fits := func(name, out string) {
		examples := false
		for line := range strings.Lines(out) {
			line = strings.TrimRight(line, "\n")
			if line != "" && line[0] != ' ' {
				examples = strings.HasPrefix(line, "Examples:")
			}
			if !examples && !strings.HasPrefix(line, "    ") {
				require.LessOrEqual(t, text.Width(line), 80, "%s: %s", name, line)
			}
		}
	}
	for _, topic := range assets.HelpTopics() {
		var b bytes.Buffer
		page, _ := assets.HelpPage(topic)
		require.NoError(t, printPage(&b, page, false, textWidth(&b)))
		fits(topic, b.String())
	}
	seen := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		a := newApp()
		var b bytes.Buffer
		a.out = &b
		a.verbHelp(c, nil)
		fits(c.CommandPath(), b.String())
		for _, word := range strings.Fields(c.Long + " " + c.Short) {
			if c.Long == "" || strings.Contains(c.Long, word) {
				require.Contains(t, b.String(), text.Truncate(word, 40, ""), c.CommandPath())
			}
		}
		seen++
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newApp().root())
	require.Greater(t, seen, 40)
}

// On a terminal headings are bold and lines as wide as it is, at most 92; NO_COLOR leaves them plain.
func TestHelpOnATerminal(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	said := func(columns uint16, env ...string) string {
		cmd := exec.Command(exe, "help", "safety")
		cmd.Args[0] = "berth"
		cmd.Env = append(os.Environ(), append([]string{"TERM=xterm", "NO_COLOR=", "BERTH_HOME=" + t.TempDir()}, env...)...)
		f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: columns})
		require.NoError(t, err)
		defer f.Close()
		done := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		defer done.Stop()
		out, _ := io.ReadAll(f) // ends with EIO
		require.NoError(t, cmd.Wait())
		return strings.ReplaceAll(string(out), "\r\n", "\n")
	}
	bold := said(200)
	require.Contains(t, bold, "\x1b[1mWhat can't happen by a slip\x1b[22m\n")
	require.Contains(t, bold, "\x1b[1mberth rm NAME\x1b[22m")
	widest := 0
	for line := range strings.Lines(bold) {
		widest = max(widest, text.Width(strings.NewReplacer("\x1b[1m", "", "\x1b[22m", "", "\n", "").Replace(line)))
	}
	require.LessOrEqual(t, widest, 92)
	require.Greater(t, widest, 80)
	plain := said(50, "NO_COLOR=1")
	require.NotContains(t, plain, "\x1b[")
	for line := range strings.Lines(plain) {
		require.LessOrEqual(t, text.Width(strings.TrimRight(line, "\n")), 50)
	}
}
