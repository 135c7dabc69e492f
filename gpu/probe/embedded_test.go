//go:build embedprobe

package probe

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/gpu/nvmltest"
)

// The programs that a release build carries unpack and run (make probes; go test -tags embedprobe).
func TestEmbeddedPrograms(t *testing.T) {
	dir := t.TempDir()
	commands, err := Commands([]string{"self"}, filepath.Join(dir, "berth-agent"), dir)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(commands), 2)
	f := nvmltest.New(t, nvmltest.Scenario{GPUs: nvmltest.A100s(1)})
	for _, c := range commands[:len(commands)-1] {
		cmd := exec.Command(c[0], "--once")
		cmd.Env = append(os.Environ(), f.Env()...)
		out, err := cmd.Output()
		require.NoError(t, err, "%s: %s", c[0], out)
		r, err := parse(out)
		require.NoError(t, err)
		require.Len(t, r.GPUs, 1)
		t.Logf("%s: %s", c[0], r.Source)
	}
}
