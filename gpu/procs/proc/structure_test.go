package proc

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// elsewhere are the files below /proc that anybody may read: they are the system's, or say how this process itself
// is mounted and grouped.
var elsewhere = regexp.MustCompile(`/proc/(` +
	`diskstats|driver/|loadavg|meminfo|mounts|net/|pressure|stat\b|sys/|uptime|vmstat|` +
	`self/(cgroup|exe|fd|mountinfo|mounts)\b)`)

// excepted are files that name the folder and read nothing there.
var excepted = map[string]string{
	"backend/transport/ssh/remove.go": "a shell script, for a host that has no agent",
	"gpu/host/mounts.go":              "the mount point itself",
}

// TestOneReader keeps every other package from reading processes by itself: what parses /proc/PID, and what tells
// one process from another that got its number, is written once.
func TestOneReader(t *testing.T) {
	const top = "../../.."
	read := 0
	require.NoError(t, filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(top, path)
		name := filepath.ToSlash(rel)
		switch {
		case err != nil:
			return err
		case d.IsDir():
			own := name == "gpu/procs/proc"
			support := strings.HasSuffix(name, "test") // sshdtest, libvirttest: parts of tests
			if own || support || d.Name() == "testdata" || d.Name() == ".git" || d.Name() == "dist" {
				return filepath.SkipDir
			}
			return nil
		case !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || excepted[name] != "":
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(b, []byte("/proc")) {
			return err
		}
		read++
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, b, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				_, isImport := n.(*ast.ImportSpec)
				return !isImport
			}
			s, err := strconv.Unquote(lit.Value)
			require.NoError(t, err)
			if bad := readsProcesses(s); bad != "" {
				t.Errorf("%s names %q: processes are read by gpu/procs/proc alone", fset.Position(lit.Pos()), bad)
			}
			return true
		})
		return nil
	}))
	require.Greater(t, read, 5, "the sources were found")
}

// readsProcesses returns the part of a string that names a process's folder.
func readsProcesses(s string) string {
	rest := elsewhere.ReplaceAllString(s, "")
	if i := strings.Index(rest, "/proc/"); i >= 0 {
		return rest[i:]
	}
	if rest == "/proc" {
		return rest
	}
	return ""
}

func TestReadsProcesses(t *testing.T) {
	for s, bad := range map[string]bool{"/proc": true, "/proc/": true, "/proc/%d/exe": true, "/proc/[0-9]*": true,
		"/proc/self/status": true, "cat /proc/stat; ls /proc/1": true, "/proc/stat": false,
		"/proc/self/mountinfo": false, "/proc/sys/kernel/x": false,
		"/v1/processes": false, "/a/proc": false, "see /proc": false} {
		require.Equal(t, bad, readsProcesses(s) != "", s)
	}
}
