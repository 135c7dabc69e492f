package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBashCompletion runs the script in a bash that has nothing of the package bash-completion.
func TestBashCompletion(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash")
	}
	w := newWorld(t)
	w.ok("create", "vision")
	script := filepath.Join(t.TempDir(), "completion")
	require.NoError(t, os.WriteFile(script, []byte(w.ok("completion", "bash")), 0o600))
	complete := func(line string) []string {
		t.Helper()
		// As readline splits it: at blanks, and at = and :.
		driver := `source "$1"; COMP_LINE=$2; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9; COMP_KEY=9
COMP_WORDS=(); cut=${COMP_LINE//=/ = }; cut=${cut//:/ : }
for word in $cut; do COMP_WORDS+=("$word"); done
[[ $COMP_LINE == *[[:space:]] ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
__start_berth; printf '%s\n' "${COMPREPLY[@]}"`
		cmd := exec.Command(bash, "--norc", "--noprofile", "-c", driver, "bash", script, line)
		cmd.Env = w.cmd(t.Context()).Env // berth is in the PATH of tests
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		require.NoError(t, err, stderr.String())
		require.NotContains(t, stderr.String(), "not found")
		return strings.Fields(string(out))
	}
	require.Equal(t, []string{"vision"}, complete("berth stop vi"))
	require.Contains(t, complete("berth create --back"), "--backend")
	require.Contains(t, complete("berth create --backend=lo"), "local")
	require.Contains(t, complete("berth comp"), "completion")
}
