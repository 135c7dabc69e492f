package main

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/base/version"
)

// TestReleaseBuildsKnowTheirVersion builds with the flags that `make dist` builds with. The linker says nothing where
// -X names a variable that there is not, and the program then calls itself a development build.
func TestReleaseBuildsKnowTheirVersion(t *testing.T) {
	if testing.Short() {
		t.Skip("builds two programs")
	}
	t.Parallel()
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("make is not installed")
	}
	dist := exec.Command("make", "-n", "dist", "GO=go", "VERSION=7.8.9")
	dist.Dir = "../.."
	lines, err := dist.Output()
	require.NoError(t, err)
	flags := map[string]string{} // of the linker, by program
	build := regexp.MustCompile(`go build [^\n]*-ldflags "([^"]*)"[^\n;]* \./cmd/([a-z-]+)`)
	for _, m := range build.FindAllStringSubmatch(string(lines), -1) {
		flags[m[2]] = m[1]
	}
	require.Len(t, flags, 5, "all programs of a release: %v", flags)
	for program, f := range flags {
		set := regexp.MustCompile(`-X (\S+)\.(\w+)=\S+`).FindAllStringSubmatch(f, -1)
		require.Len(t, set, 2, "%s: the number, and when it was built", program)
		for _, m := range set {
			require.Contains(t, stringVariables(t, m[1]), m[2], "%s: -X %s.%s sets nothing", program, m[1], m[2])
		}
	}
	dir := t.TempDir()
	for _, program := range []string{"berth", "berth-agent"} { // the others say no version
		build := exec.Command("go", "build", "-trimpath", "-ldflags", flags[program], "-o", dir, "./cmd/"+program)
		build.Dir = "../.."
		b, err := build.CombinedOutput()
		require.NoError(t, err, string(b))
	}
	var v struct {
		Version string    `json:"version"`
		Built   time.Time `json:"built"`
	}
	says := func(program string, args ...string) {
		t.Helper()
		cmd := exec.Command(filepath.Join(dir, program), args...)
		cmd.Env = append(os.Environ(), "HOME="+dir)
		b, err := cmd.Output()
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(b, &v))
		require.Equal(t, "7.8.9", v.Version)
		require.Contains(t, flags[program], "built="+v.Built.Format(time.RFC3339))
	}
	says("berth", "version", "--json")
	place := []string{"--socket", filepath.Join(dir, "s"), "--state", filepath.Join(dir, "state")}
	t.Cleanup(func() {
		stop := exec.Command(filepath.Join(dir, "berth-agent"), append([]string{"stop", "--end"}, place...)...)
		out, err := stop.CombinedOutput()
		require.NoError(t, err, string(out))
	})
	says("berth-agent", append([]string{"start", "--no-boot"}, place...)...)
}

// stringVariables lists the package's variables of type string: those that the linker can set.
func stringVariables(t *testing.T, path string) (names []string) {
	t.Helper()
	dir, ok := strings.CutPrefix(path, "berth/")
	require.True(t, ok, path)
	files, err := filepath.Glob(filepath.Join("../..", dir, "*.go"))
	require.NoError(t, err)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, s := range g.Specs {
				v := s.(*ast.ValueSpec)
				for i, n := range v.Names {
					if len(v.Values) > i {
						if l, ok := v.Values[i].(*ast.BasicLit); ok && l.Kind == token.STRING {
							names = append(names, n.Name)
						}
					}
				}
			}
		}
	}
	return names
}

// TestDoctorSaysThatAnOlderDaemonServes: a newer program uses an older daemon while something goes through it.
func TestDoctorSaysThatAnOlderDaemonServes(t *testing.T) {
	own := version.Current()
	c := daemonCheck(&api.Info{PID: 12, Version: own.Number, Built: own.Built, LogPath: "/log"})
	require.Equal(t, api.Check{Area: "daemon", Name: "daemon", Status: "ok",
		Message: "pid 12, version " + own.Number + ", log /log"}, c)
	c = daemonCheck(&api.Info{PID: 12, Version: "0.0.9", LogPath: "/log"})
	require.Equal(t, "warn", c.Status)
	require.Contains(t, c.Message, own.Number)
	require.NotEmpty(t, c.Fix)
	require.Equal(t, "ok", daemonCheck(&api.Info{Version: "99.0.0"}).Status)
}
