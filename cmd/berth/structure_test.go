package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
				own = own || c == "berth/backend/mem" && path == "berth/ui/uitest" // what the dashboard is tested over
				require.False(t, imp == c && !own && !glue[path],
					"%s imports %s: only cmd/berth names concrete backends", path, c)
			}
		}
		if layer(path) > layer("berth/backend") {
			for _, imp := range p.Imports {
				require.False(t, strings.HasPrefix(imp, "berth/backend") || strings.HasPrefix(imp, "berth/ui"), "%s imports %s",
					path, imp)
			}
		}
	}
}

// rule is what packages must not import.
type rule struct {
	of    string   // this package and those below it
	never []string // these packages and those below them
	deps  bool     // not by way of others either
	why   string
	but   []string // packages that may
}

// below reports whether path is pkg or below it.
func below(path, pkg string) bool { return path == pkg || strings.HasPrefix(path, pkg+"/") }

// broken lists what breaks the rule.
func (r rule) broken(pkgs map[string]pkg) (out []string) {
	for path, p := range pkgs {
		if !below(path, r.of) || slices.Contains(r.but, path) {
			continue
		}
		imports := p.Imports
		if r.deps {
			imports = p.Deps
		}
		for _, imp := range imports {
			if slices.ContainsFunc(r.never, func(n string) bool { return below(imp, n) && !below(imp, r.of) }) {
				out = append(out, fmt.Sprintf("%s imports %s: %s", path, imp, r.why))
			}
		}
	}
	slices.Sort(out)
	return out
}

const (
	pure  = "queue decides and does nothing: backend/agent/job carries out what it decides"
	apart = "agent and service meet only on the wire"
)

var rules = []rule{
	{of: "berth/queue", never: []string{"os/exec", "golang.org/x/sys", "net"}, why: pure},
	{of: "berth/queue", never: []string{"syscall"}, why: pure, but: []string{"berth/queue/journal"}}, // names a full disk
	{of: "berth/queue", never: []string{"berth/backend", "berth/gpu", "berth/ui"}, deps: true, why: pure},
	{of: "berth/backend/agent", never: []string{"berth/backend/service"}, deps: true, why: apart},
	{of: "berth/backend/service", never: []string{"berth/backend/agent"}, why: apart,
		but: []string{"berth/backend/service/daemon/internal/describe"}}, // writes the API's description

	{of: "berth/backend/transport", deps: true, why: "it carries, and does not know what for",
		never: []string{"berth/backend/service", "berth/backend/agent", "berth/backend/machine", "berth/ui"}},
	{of: "berth/backend/machine", deps: true, why: "what machines are made of does not know who makes them",
		never: []string{"berth/backend/service", "berth/backend/agent", "berth/backend/transport/ssh", "berth/ui"}},
	{of: "berth/backend/base", deps: true, why: "it is below all others",
		never: []string{"berth/backend/service", "berth/backend/agent", "berth/backend/machine",
			"berth/backend/transport/ssh",
			"berth/ui"}},

	// What is linked into each program, and is paid for with its size, its start and the memory of each process.
	{of: "berth/cmd/berth-agent", deps: true, why: "the agent is copied to instances",
		never: []string{"berth/ui", "berth/backend/service", "berth/backend/local", "berth/backend/transport/ssh",
			"berth/backend/transport/sshconfig", "berth/backend/transport/knownhosts",
			"github.com/charmbracelet/bubbletea", "github.com/charmbracelet/bubbles", "github.com/charmbracelet/lipgloss",
			"github.com/spf13", "github.com/aws", "github.com/Azure", "cloud.google.com", "google.golang.org/grpc",
			"github.com/moby", "github.com/distribution", "go.opentelemetry.io", "oras.land"}},
	{of: "berth/backend/agent", deps: true, why: "only berth-engine has the client of container engines",
		never: []string{"github.com/moby", "oras.land"}, but: []string{"berth/backend/agent/engine"}},
	{of: "berth/backend/service", deps: true, why: "only berth-engine has the client of container engines",
		never: []string{"github.com/moby", "oras.land"}},
	{of: "berth/cmd/berth-shim", deps: true, why: "there is a shim for each terminal",
		never: []string{"berth/ui", "berth/backend/service", "berth/backend/api", "berth/backend/base/paths",
			"net/http", "crypto/tls", "modernc.org", "golang.org/x/crypto", "github.com/hashicorp",
			"github.com/charmbracelet", "github.com/spf13"}},
	{of: "berth/cmd/berth-engine", deps: true, why: "it is copied to instances",
		never: []string{"berth/ui", "berth/backend/service", "berth/backend/transport/ssh", "modernc.org",
			"github.com/charmbracelet/bubbletea", "github.com/charmbracelet/lipgloss", "github.com/spf13", "github.com/aws", "github.com/Azure", "cloud.google.com"}},
	{of: "berth/ui", deps: true, why: "the dashboard holds no state",
		never: []string{"modernc.org/sqlite", "berth/backend/service/workspace", "berth/backend/transport/ssh",
			"berth/backend/transport/sshconfig", "berth/backend/transport/knownhosts", "berth/backend/agent/server"},
		but: []string{"berth/ui/uitest", "berth/ui/shots"}}, // tests and pictures are of the service's own workspace
	{of: "berth/backend/api", deps: true, why: "programs import the client",
		never: []string{"modernc.org/sqlite", "github.com/getkin/kin-openapi"}, but: []string{"berth/backend/api/openapi"}},
	{of: "berth/cmd/berth", deps: true, why: "every verb pays for what is linked in",
		never: []string{"github.com/getkin/kin-openapi", "github.com/russross/blackfriday", "testing", "berth/backend/mem"}},
}

func TestImportRules(t *testing.T) {
	pkgs := list(t, "./...")
	for _, r := range rules {
		require.Empty(t, r.broken(pkgs))
	}
}

// TestImportRulesCanFail breaks each rule, since some are of packages that are not there yet.
func TestImportRulesCanFail(t *testing.T) {
	for _, r := range rules {
		for _, n := range r.never {
			imports := []string{"errors", "time", "network", n + "/below"}
			made := pkg{ImportPath: r.of + "/made/up", Imports: imports}
			if r.deps {
				made = pkg{ImportPath: r.of, Imports: []string{"errors"}, Deps: imports}
			}
			want := []string{fmt.Sprintf("%s imports %s/below: %s", made.ImportPath, n, r.why)}
			require.Equal(t, want, r.broken(map[string]pkg{made.ImportPath: made, "berth/cmd/other": {Imports: imports}}))
		}
	}
}

// agentParts are the packages of the parts in the agent's list.
func agentParts(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../backend/agent/parts.go", nil, 0)
	require.NoError(t, err)
	var out []string
	ast.Inspect(file, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		for _, e := range lit.Elts {
			sel, ok := e.(*ast.SelectorExpr)
			require.True(t, ok, "an element of the list is no package's New")
			out = append(out, "berth/backend/agent/"+sel.X.(*ast.Ident).Name)
		}
		return true
	})
	require.Greater(t, len(out), 5)
	return out
}

// entangled lists the parts that import another one, in whatever way.
func entangled(pkgs map[string]pkg, parts []string) (out []string) {
	for _, p := range parts {
		others := slices.DeleteFunc(slices.Clone(parts), func(o string) bool { return o == p })
		r := rule{of: p, never: others, deps: true, why: "a part knows no other part"}
		out = append(out, r.broken(pkgs)...)
	}
	return out
}

// TestPartsOfTheAgentKnowNoOther: what one must know of the others goes through part.Host.
func TestPartsOfTheAgentKnowNoOther(t *testing.T) {
	parts := agentParts(t)
	pkgs := list(t, "./backend/agent/...")
	for _, p := range parts {
		require.Contains(t, pkgs, p)
	}
	require.Empty(t, entangled(pkgs, parts))
	made := pkg{ImportPath: parts[0], Deps: []string{"errors", parts[1]}}
	require.Len(t, entangled(map[string]pkg{parts[0]: made}, parts), 1, "the rule itself")
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
			tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly|parser.ParseComments)
			require.NoError(t, err)
			if tree.Doc != nil {
				docs = append(docs, f)
			}
		}
		if len(p.GoFiles) > 0 {
			require.Len(t, docs, 1, fmt.Sprintf("package comments of %s", path))
		}
	}
}

// maxMethods is how many exported methods a type may have: one with more does too many things.
const maxMethods = 30

// TestTypesStaySmall counts the exported methods of every type.
func TestTypesStaySmall(t *testing.T) {
	// What is still larger. It gets no more, and goes from here when it is split.
	larger := map[string]int{
		"berth/backend/api.WorkspaceClient": 31, // one method a call
		"berth/backend/mem.Backend":         32, // all that a backend may be able to do, for tests
	}
	for path, p := range list(t, "./...") {
		count := map[string]int{}
		for _, f := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, f), nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			for _, d := range file.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil && fn.Name.IsExported() {
					count[receiver(fn.Recv.List[0].Type)]++
				}
			}
		}
		for name, n := range count {
			require.LessOrEqual(t, n, max(maxMethods, larger[path+"."+name]),
				"exported methods of %s.%s: split it by what it does", path, name)
		}
	}
}

// receiver is the name of a method's type.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
