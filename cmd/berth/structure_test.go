package main

import (
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
	Deps       []string
	Module     *struct{ Path string }
}

func list(t *testing.T, args ...string) map[string]pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,GoFiles,Imports,Deps,Module"}, args...)...)
	cmd.Dir = "../.."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	pkgs := map[string]pkg{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p pkg
		require.NoError(t, dec.Decode(&p))
		pkgs[p.ImportPath] = p
	}
	return pkgs
}

// layers are the top folders, from the highest down: a package imports only from its own folder and
// from lower ones.
var layers = []string{"cmd", "ui", "backend", "queue", "gpu", "assets"}

func layer(path string) int {
	top, _, _ := strings.Cut(strings.TrimPrefix(path, "berth/"), "/")
	for i, l := range layers {
		if l == top {
			return i
		}
	}
	return -1
}

// TestImportsGoDown keeps the import direction of the project.
func TestImportsGoDown(t *testing.T) {
	pkgs := list(t, "./...")
	for path, p := range pkgs {
		require.NotEqual(t, -1, layer(path), "%s: no top folder may be added", path)
		for _, imp := range p.Imports {
			if !strings.HasPrefix(imp, "berth/") {
				continue
			}
			require.LessOrEqual(t, layer(path), layer(imp), "%s imports %s: imports go down only (%v)", path, imp, layers)
		}
	}
	// What is concrete stays behind its interface.
	concrete := []string{"berth/backend/local", "berth/backend/ssh", "berth/backend/libvirt", "berth/backend/mem"}
	glue := map[string]bool{"berth/cmd/berth": true}
	for path, p := range pkgs {
		for _, imp := range p.Imports {
			for _, c := range concrete {
				own := path == c || strings.HasPrefix(path, c+"/")
				require.False(t, imp == c && !own && !glue[path], "%s imports %s: only cmd/berth names concrete backends", path, c)
			}
		}
		if layer(path) > layer("berth/backend") {
			for _, imp := range p.Imports {
				require.False(t, strings.HasPrefix(imp, "berth/backend") || strings.HasPrefix(imp, "berth/ui"), "%s imports %s", path, imp)
			}
		}
	}
}

// TestSmallProgramsStaySmall keeps what the agent, the shim and plain verbs must not carry out of them.
func TestSmallProgramsStaySmall(t *testing.T) {
	for _, c := range []struct {
		program string
		never   []string
		why     string
	}{
		{"berth/cmd/berth-agent", []string{"modernc.org/sqlite", "github.com/charmbracelet/bubbletea", "berth/ui", "berth/backend/service/workspace", "github.com/spf13/cobra", "golang.org/x/crypto/ssh"}, "the agent is copied to instances"},
		{"berth/cmd/berth-shim", []string{"net/http", "modernc.org/sqlite", "berth/backend/api", "berth/ui"}, "there is a shim for each terminal"},
		{"berth/ui", []string{"modernc.org/sqlite", "berth/backend/service/workspace", "berth/backend/transport/ssh", "berth/backend/transport/sshconfig", "berth/backend/transport/knownhosts"}, "the dashboard holds no state"},
		{"berth/backend/api", []string{"modernc.org/sqlite", "github.com/getkin/kin-openapi"}, "programs import the client"},
		{"berth/cmd/berth", []string{"github.com/getkin/kin-openapi", "github.com/russross/blackfriday", "testing", "berth/backend/mem"}, "every verb pays for what is linked in"},
	} {
		deps := list(t, c.program)[c.program].Deps
		for _, d := range deps {
			for _, n := range c.never {
				require.False(t, d == n || strings.HasPrefix(d, n+"/"), "%s depends on %s: %s", c.program, d, c.why)
			}
		}
	}
}

// TestPackagesAreDocumented wants exactly one package comment in each folder, and files that stay small.
func TestPackagesAreDocumented(t *testing.T) {
	for path, p := range list(t, "./...") {
		var docs []string
		for _, f := range p.GoFiles {
			file := filepath.Join(p.Dir, f)
			fi, err := os.Stat(file)
			require.NoError(t, err)
			require.LessOrEqual(t, fi.Size(), int64(20<<10), "%s is too large: split it", file)
			ast, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly|parser.ParseComments)
			require.NoError(t, err)
			if ast.Doc != nil {
				docs = append(docs, f)
			}
		}
		if len(p.GoFiles) > 0 {
			require.Len(t, docs, 1, fmt.Sprintf("package comments of %s", path))
		}
	}
}
