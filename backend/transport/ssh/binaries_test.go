package ssh

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/base/paths"
)

func TestBinaries(t *testing.T) {
	t.Parallel()
	h, err := paths.At(t.TempDir())
	require.NoError(t, err)
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	if other == "" {
		t.Skipf("no second architecture is known for %s", runtime.GOARCH)
	}

	b := &Binaries{Home: h, Embedded: func(_ context.Context, goos, goarch string) (string, bool, error) {
		return "/agents/" + goos + "-" + goarch, goarch == "amd64", nil
	}}
	p, err := b.Find(t.Context(), "linux", "amd64")
	require.NoError(t, err)
	require.Equal(t, "/agents/linux-amd64", p, "what is embedded comes first")

	// Nothing at hand: the error names all that was tried.
	b = &Binaries{Home: h, Sources: t.TempDir()}
	_, err = b.Find(t.Context(), "linux", "riscv64")
	require.ErrorContains(t, err, "this build carries no agents")
	require.ErrorContains(t, err, "this program is for "+runtime.GOOS+"/"+runtime.GOARCH)
	require.ErrorContains(t, err, "the sources to build it from are not at hand")
}

func TestBinariesBuild(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a cross-build takes a while")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("a cross-build needs the go tool")
	}
	h, err := paths.At(t.TempDir())
	require.NoError(t, err)
	// For another architecture all that the agent needs is compiled anew: minutes, which only the long form takes.
	arch := "arm64"
	if os.Getenv("BERTH_CHAOS") == "" {
		arch = runtime.GOARCH
	}
	none := func() (string, error) { return "", errors.New("this program is not to be taken") }
	b := &Binaries{Home: h, Executable: none}
	p, err := b.Find(t.Context(), "linux", arch)
	require.NoError(t, err)
	require.Equal(t, "berth-agent", filepath.Base(p))
	static, err := isStatic(p)
	require.NoError(t, err)
	require.True(t, static)
	again, err := (&Binaries{Home: h, Executable: none}).Find(t.Context(), "linux", arch)
	require.NoError(t, err)
	require.Equal(t, p, again)
}
