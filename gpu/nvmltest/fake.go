package nvmltest

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

//go:embed fake/*.c fake/*.h
var sources embed.FS

// Fake is a fake driver of one test.
type Fake struct {
	Library string // the path of its libnvidia-ml.so.1
	SMI     string // the path of its nvidia-smi
	Path    string // the scenario's file
	t       testing.TB
	now     Scenario
}

// New gives a test a driver. The functions named in without are missing from its library, as they are
// from an old driver's.
func New(t testing.TB, s Scenario, without ...string) *Fake {
	t.Helper()
	f := &Fake{Library: Library(t, without...), SMI: SMI(t), Path: filepath.Join(t.TempDir(), "scenario"), t: t}
	f.Set(s)
	return f
}

// Set changes what the driver answers from now on.
func (f *Fake) Set(s Scenario) {
	f.t.Helper()
	f.now = s.clone()
	if err := f.now.Write(f.Path); err != nil {
		f.t.Fatal(err)
	}
}

// Change is Set with a change of what was set last.
func (f *Fake) Change(change func(s *Scenario)) {
	f.t.Helper()
	s := f.Scenario()
	change(&s)
	f.Set(s)
}

// Scenario returns a copy of what was set last.
func (f *Fake) Scenario() Scenario { return f.now.clone() }

// Env is what a program needs in its environment to see this driver.
func (f *Fake) Env() []string {
	return []string{"BERTH_NVML_LIBRARY=" + f.Library, "BERTH_NVIDIA_SMI=" + f.SMI, "FAKE_NVML_SCENARIO=" + f.Path}
}

// Setenv puts Env into the environment of this test.
func (f *Fake) Setenv(t *testing.T) {
	t.Helper()
	for _, e := range f.Env() {
		k, v, _ := strings.Cut(e, "=")
		t.Setenv(k, v)
	}
}

// Library compiles the fake library and returns its path; it is kept for later tests.
func Library(t testing.TB, without ...string) string {
	t.Helper()
	args := []string{"-shared", "-fPIC"}
	for _, f := range slices.Sorted(slices.Values(without)) {
		args = append(args, "-D"+f+"=absent_"+f)
	}
	return compile(t, "nvml.c", "libnvidia-ml.so.1", args)
}

// SMI compiles the fake nvidia-smi and returns its path.
func SMI(t testing.TB) string {
	t.Helper()
	return compile(t, "smi.c", "nvidia-smi", nil)
}

func compile(t testing.TB, source, name string, args []string) string {
	t.Helper()
	cc, err := exec.LookPath("gcc")
	if err != nil {
		cc, err = exec.LookPath("cc")
	}
	if err != nil {
		if os.Getenv("BERTH_CI") != "" {
			t.Fatal("the fake driver needs a C compiler, and there is none")
		}
		t.Skip("the fake driver needs a C compiler, and there is none")
	}
	path, err := build(cc, source, name, args)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// build compiles into a folder that is named by the contents, so that packages tested side by side share it.
func build(cc, source, name string, args []string) (string, error) {
	entries, err := sources.ReadDir("fake")
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintln(h, cc, name, args)
	for _, e := range entries {
		b, err := sources.ReadFile("fake/" + e.Name())
		if err != nil {
			return "", err
		}
		h.Write(b)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a place for the fake driver: %w", err)
	}
	dir := filepath.Join(cache, "berth-test", "nvml", hex.EncodeToString(h.Sum(nil))[:16])
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(dir, "build")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	for _, e := range entries {
		b, _ := sources.ReadFile("fake/" + e.Name())
		if err := os.WriteFile(filepath.Join(tmp, e.Name()), b, 0o600); err != nil {
			return "", err
		}
	}
	made := filepath.Join(tmp, name)
	cmd := exec.Command(cc, append([]string{"-O1", "-pthread", "-o", made, filepath.Join(tmp, source)}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("compiling the fake driver: %w: %s", err, out)
	}
	return path, os.Rename(made, path)
}
