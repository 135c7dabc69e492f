package noquery_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/creack/pty"
	"github.com/stretchr/testify/require"

	_ "berth/ui/noquery"
)

// TestNothingIsAsked starts this very binary, which imports bubbletea, on a terminal that never
// answers: it must say its word without asking for anything first.
func TestNothingIsAsked(t *testing.T) {
	if os.Getenv("NOQUERY_CHILD") != "" {
		_ = tea.Quit // bubbletea is linked in, and its init has run
		fmt.Println("here I am")
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=TestNothingIsAsked")
	cmd.Env = append(os.Environ(), "NOQUERY_CHILD=1", "TERM=xterm-256color", "COLORTERM=truecolor")
	ptm, err := pty.Start(cmd)
	require.NoError(t, err)
	defer ptm.Close()
	out, _ := io.ReadAll(ptm) // ends with EIO when the child is gone
	require.NoError(t, cmd.Wait())
	require.Contains(t, string(out), "here I am")
	require.NotContains(t, string(out), "\x1b]", "no question about colours")
	require.False(t, strings.Contains(string(out), "\x1b[6n"), "no question about the cursor")
}
