package probe

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the agent links stays static: neither NVIDIA's bindings nor the loader come in by the supervisor, and without
// cgo also the child's sources leave them out unless they are asked for.
func TestNoDynamicLibraries(t *testing.T) {
	for _, c := range []struct {
		args   []string
		loader bool
	}{
		{[]string{"berth/gpu/probe"}, false},
		{[]string{"berth/gpu/probe/child"}, false},
		{[]string{"berth/cmd/berth-agent"}, false},
		{[]string{"berth/cmd/berth-probe"}, false},
		{[]string{"-tags", "nvml", "berth/cmd/berth-probe"}, true},
	} {
		cmd := exec.Command("go", append([]string{"list", "-deps"}, c.args...)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		require.NoError(t, err)
		deps := strings.Fields(string(out))
		require.NotContains(t, deps, "github.com/NVIDIA/go-nvml/pkg/nvml", "%v", c.args)
		require.Equal(t, c.loader, strings.Contains(string(out), "github.com/ebitengine/purego\n"), "%v", c.args)
	}
}
