package paths

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMain lets a copy of the test binary play a program that keeps a copy of itself, once for every
// line on its standard input.
func TestMain(m *testing.M) {
	root := os.Getenv("BERTH_TEST_PROGRAM")
	if root == "" {
		os.Exit(m.Run())
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		h, err := At(root)
		path := ""
		if err == nil {
			path, err = h.Program("berth")
		}
		fmt.Println(path, err)
	}
}

// program is a running copy of the test binary.
type program struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Scanner
}

func runProgram(t *testing.T, exe, root string) *program {
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "BERTH_TEST_PROGRAM="+root)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		require.NoError(t, cmd.Wait())
	})
	return &program{t, in, bufio.NewScanner(out)}
}

func (p *program) path() string {
	p.t.Helper()
	_, err := io.WriteString(p.in, "\n")
	require.NoError(p.t, err)
	require.True(p.t, p.out.Scan())
	path, ok := strings.CutSuffix(p.out.Text(), " <nil>")
	require.True(p.t, ok, p.out.Text())
	return path
}

func ownCopy(t *testing.T, to string, more string) {
	exe, err := os.Executable()
	require.NoError(t, err)
	b, err := os.ReadFile(exe)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, append(b, more...), 0o755))
}

func TestProgramOutlivesItsFile(t *testing.T) {
	root, exe := t.TempDir(), filepath.Join(t.TempDir(), "exe")
	ownCopy(t, exe, "")
	p := runProgram(t, exe, root)
	first := p.path()
	want, err := os.ReadFile(exe)
	require.NoError(t, err)
	got, err := os.ReadFile(first)
	require.NoError(t, err)
	require.Equal(t, want, got)
	fi, err := os.Stat(exe)
	require.NoError(t, err)
	ci, err := os.Stat(first)
	require.NoError(t, err)
	require.Equal(t, fi.ModTime().Unix(), ci.ModTime().Unix(), "its time tells which build is newer")
	require.Equal(t, first, p.path())

	// A copy that was cut short is made again.
	require.NoError(t, os.Truncate(first, 10))
	require.Equal(t, first, p.path())
	got, err = os.ReadFile(first)
	require.NoError(t, err)
	require.Equal(t, want, got)

	// Whoever runs from the copy makes no further one.
	require.Equal(t, first, runProgram(t, first, root).path())

	if runtime.GOOS != "linux" {
		return
	}
	// An upgrade, or the end of a go run, deletes the file: the process is still what it was.
	require.NoError(t, os.Remove(exe))
	require.Equal(t, first, p.path())
}

func TestProgramReplacedIsAnotherCopy(t *testing.T) {
	root, exe := t.TempDir(), filepath.Join(t.TempDir(), "exe")
	ownCopy(t, exe, "")
	first := runProgram(t, exe, root).path()
	require.NoError(t, os.Remove(exe))
	ownCopy(t, exe, "newer")
	second := runProgram(t, exe, root).path()
	require.NotEqual(t, first, second)
	require.FileExists(t, first, "what runs from it goes on")
}

// TestProgramAtOnce lets many processes make the copy: each gets a whole one.
func TestProgramAtOnce(t *testing.T) {
	root, exe := t.TempDir(), filepath.Join(t.TempDir(), "exe")
	ownCopy(t, exe, "")
	ps := make([]*program, 6)
	for i := range ps {
		ps[i] = runProgram(t, exe, root)
	}
	paths := make([]string, len(ps))
	var wg sync.WaitGroup
	for i, p := range ps {
		wg.Go(func() { paths[i] = p.path() })
	}
	wg.Wait()
	for _, p := range paths {
		require.Equal(t, paths[0], p)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(paths[0]), ".copy-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}
