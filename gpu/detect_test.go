package gpu

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	got, err := parse([]byte("0, GPU-1b2c, NVIDIA A100-SXM4-80GB, 81920\n1, GPU-3d4e, \"Odd, name\", [N/A]\n"))
	require.NoError(t, err)
	require.Equal(t, []Device{{0, "GPU-1b2c", "NVIDIA A100-SXM4-80GB", 80 << 30, false},
		{1, "GPU-3d4e", "Odd, name", 0, true}}, got)
	got, err = parse([]byte("0, GPU-2dee, NVIDIA GB10, N/A\nWARNING: infoROM is corrupted at gpu 0000000F:01:00.0\n" +
		"1, GPU-3d4e, Odd, [Unknown Error]\n"))
	require.NoError(t, err)
	require.Equal(t, []Device{{0, "GPU-2dee", "NVIDIA GB10", 0, true}, {1, "GPU-3d4e", "Odd", 0, false}}, got)
	for _, bad := range []string{"0, a, b\n", "x, a, b, 1\n", "-1, a, b, 1\n", "0, a, b, -5\n",
		"0, a, b, 99999999999999999\n",
		"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", strings.Repeat("0, a, b, 1\n",
			maxDevices+1)} {
		_, err := parse([]byte(bad))
		require.ErrorIs(t, err, ErrAnswer, "%.40q", bad)
	}
	none, err := parse(nil)
	require.NoError(t, err)
	require.Empty(t, none)
}

// On a host with GPUs the driver answers; on others there is nothing, at no cost and without an error.
func TestDetectOnThisHost(t *testing.T) {
	got, err := Detect(t.Context())
	if !Present() {
		require.NoError(t, err)
		require.Empty(t, got)
		return
	}
	if _, lerr := exec.LookPath("nvidia-smi"); lerr != nil {
		require.ErrorIs(t, err, ErrNoTool)
		return
	}
	require.NoError(t, err)
	require.NotEmpty(t, got)
	for _, d := range got {
		require.True(t, strings.HasPrefix(d.UUID, "GPU-"), d.UUID)
		require.NotEmpty(t, d.Name)
		require.True(t, d.MemoryBytes > 0 || d.Unified)
	}
	t.Logf("%+v", got)
}

// The package knows neither instances nor screens.
func TestImports(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		require.NotContains(t, string(b), `"berth/`+"backend")
		require.NotContains(t, string(b), `"berth/`+"ui")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("0, GPU-1b2c, NVIDIA A100-SXM4-80GB, 81920\n"))
	f.Add([]byte("1, GPU-3d4e, \"Odd, name\", [N/A]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parse(b)
		if err != nil {
			return
		}
		for _, d := range got {
			if d.Index < 0 || d.MemoryBytes < 0 {
				t.Fatalf("accepted %+v", d)
			}
		}
	})
}
