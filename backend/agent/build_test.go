package agent

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/server"
	"berth/backend/agent/server/servertest"
	"berth/backend/api"
)

func goTool(t *testing.T, env []string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("the go tool is not installed")
	}
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), append([]string{"CGO_ENABLED=0"}, env...)...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// What is copied to instances must stay small: these packages are not to creep in.
func TestSmallMainsImportNothingLarge(t *testing.T) {
	agentForbids := []string{"modernc.org/", "github.com/charmbracelet/bubbletea", "github.com/charmbracelet/lipgloss", "github.com/charmbracelet/bubbles", "github.com/spf13/", "golang.org/x/crypto/ssh", "berth/ui", "berth/backend/service/store",
		"berth/backend/service/workspace", "berth/backend/transport/ssh", "berth/backend/transport/sshconfig", "berth/backend/transport/knownhosts", "berth/backend/local", "github.com/aws/", "github.com/Azure/", "cloud.google.com/", "google.golang.org/grpc"}
	shimForbids := append([]string{"net/http", "crypto/tls", "berth/backend/api", "berth/backend/base/paths", "github.com/hashicorp/"}, agentForbids...)
	for main, forbidden := range map[string][]string{"berth/cmd/berth-agent": agentForbids, "berth/cmd/berth-shim": shimForbids} {
		for dep := range strings.FieldsSeq(goTool(t, nil, "list", "-deps", main)) {
			for _, f := range forbidden {
				if dep == strings.TrimSuffix(f, "/") || strings.HasPrefix(dep, f) && (strings.HasSuffix(f, "/") || strings.HasPrefix(dep, f+"/")) {
					t.Errorf("%s imports %s", main, dep)
				}
			}
		}
	}
}

func TestSmallMainsAreStaticAndSmall(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds two programs")
	}
	dir := t.TempDir()
	goTool(t, nil, "build", "-trimpath", "-ldflags=-s -w", "-o", dir, "berth/cmd/berth-agent", "berth/cmd/berth-shim")
	for name, limit := range map[string]int64{"berth-agent": 10 << 20, "berth-shim": 4 << 20} {
		fi, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		t.Logf("%s has %d bytes", name, fi.Size())
		require.Less(t, fi.Size(), limit, name)
	}
	// Terminals run under the small shim.
	path := filepath.Join(dir, "berth-shim")
	_, c := servertest.Serve(t, server.Config{Options: testOptions(t), Parts: parts, Shim: func() string { return path }})
	p := servertest.Attach(t, c, api.TerminalRequest{})
	p.Types("ps -ww -o args= -p $PPID\n")
	p.Sees(path + " 1")
}
