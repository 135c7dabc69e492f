package main

import (
	"bytes"
	"fmt"
	"go/parser"
	"go/scanner"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	fileWord    = regexp.MustCompile(`[\w./-]*\b\w+\.go\b`)
	packageWord = regexp.MustCompile(`(?:(\w+) )?\b[Pp]ackages? ([a-z][a-z0-9_/]*)\b`)
	pathWord    = regexp.MustCompile(`\b(?:backend|gpu|ui|queue|assets|cmd)/[a-z0-9_/-]+\b`)
)

// anyPackage are the words before "package" where what follows is no name: "this package imports".
var anyPackage = regexp.MustCompile(`^(?i:the|this|that|a|no|each|every|one|other|its|which|what)$`)

// gone lists the files, packages and folders that a package comment names and that are not there.
func gone(doc, dir, root string, packages map[string]bool) (out []string) {
	exists := func(elem ...string) bool {
		_, err := os.Stat(filepath.Join(elem...))
		return err == nil
	}
	for _, f := range fileWord.FindAllString(doc, -1) {
		if !exists(dir, f) && !exists(root, f) && !exists(filepath.Dir(dir), f) {
			out = append(out, f)
		}
	}
	for _, m := range packageWord.FindAllStringSubmatch(doc, -1) {
		name := m[2]
		if !anyPackage.MatchString(m[1]) && !packages[path.Base(name)] && !exists(root, name) && !standard(name) {
			out = append(out, "package "+name)
		}
	}
	for _, p := range pathWord.FindAllString(doc, -1) {
		if !exists(root, p) && !exists(root, p+".go") && !strings.HasPrefix(p, "cmd/go") && !strings.HasPrefix(p, "queue/") &&
			p != "backend/agent/job" {
			out = append(out, p)
		}
	}
	return out
}

// standard reports whether a word after "package" is one of Go's own packages, or no name: "a package with a screen".
func standard(name string) bool {
	switch name {
	case "testing", "net", "os", "time", "http", "sync", "context", "sql", "that", "with", "of", "below", "beside":
		return true
	}
	return strings.Contains(name, "/") && !strings.HasPrefix(name, "backend/")
}

// TestPackageCommentsNameWhatIsThere: a comment that names a file or package which was moved away sends a newcomer
// astray.
func TestPackageCommentsNameWhatIsThere(t *testing.T) {
	pkgs := list(t, "./...")
	names := map[string]bool{}
	for p := range pkgs {
		names[path.Base(p)] = true
	}
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	for p, pkg := range pkgs {
		for _, f := range pkg.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(pkg.Dir, f), nil,
				parser.PackageClauseOnly|parser.ParseComments)
			require.NoError(t, err)
			if file.Doc != nil {
				assert.Empty(t, gone(file.Doc.Text(), pkg.Dir, root, names), "the package comment of %s names what is gone", p)
			}
		}
	}
	require.Equal(t, []string{"engine_of_old.go", "package nowhere", "backend/fleet"},
		gone("See engine_of_old.go, package nowhere, backend/fleet and doc.go.", root+"/cmd/berth", root, names),
		"it can fail")
}

// maxColumns is how long a line of code or of a comment may be; what stands between quotes does not count, since
// breaking a message makes it hard to search for.
const maxColumns = 120

// TestLinesAreShort keeps lines readable side by side.
func TestLinesAreShort(t *testing.T) {
	var long []string
	for _, pkg := range list(t, "./...") {
		files, err := filepath.Glob(filepath.Join(pkg.Dir, "*.go"))
		require.NoError(t, err)
		for _, f := range files {
			src, err := os.ReadFile(f)
			require.NoError(t, err)
			long = append(long, longLines(f, src)...)
		}
	}
	require.Empty(t, long)
	require.Len(t, longLines("x.go", []byte("package x\n\n// "+strings.Repeat("long ", 30)+"\n")), 1, "it can fail")
}

// longLines lists the lines of a file that are too long without what stands between quotes. The text of a directive
// (//go:generate) can't be broken.
func longLines(name string, src []byte) (out []string) {
	quoted := map[int]int{} // characters by line
	fset := token.NewFileSet()
	file := fset.AddFile(name, -1, len(src))
	var s scanner.Scanner
	s.Init(file, src, nil, 0)
	for {
		pos, tok, lit := s.Scan()
		if tok == token.EOF {
			break
		}
		if tok == token.STRING {
			for i, l := range strings.Split(lit, "\n") {
				quoted[file.Line(pos)+i] += len([]rune(l))
			}
		}
	}
	for i, l := range bytes.Split(src, []byte("\n")) {
		if n := len([]rune(string(l))) - quoted[i+1]; n > maxColumns && !bytes.HasPrefix(l, []byte("//go:")) {
			out = append(out, fmt.Sprintf("%s:%d has %d columns", name, i+1, n))
		}
	}
	return out
}

// plainWords are turns of phrase that were hard for newcomers, with what is said instead.
var plainWords = map[string]string{
	"the way through": "where to look, or the order in which things happen",
	"letting go of":   "closing, forgetting, releasing",
	"lets go of":      "closes, forgets, releases",
	"let go of":       "close, forget, release",
	"for comes first": "what goes before what",
}

// TestCommentsAreInPlainEnglish keeps out what newcomers stumbled over.
func TestCommentsAreInPlainEnglish(t *testing.T) {
	for _, pkg := range list(t, "./...") {
		for _, f := range pkg.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(pkg.Dir, f), nil, parser.ParseComments)
			require.NoError(t, err)
			for _, c := range file.Comments {
				text := strings.ToLower(strings.Join(strings.Fields(c.Text()), " "))
				for words, instead := range plainWords {
					assert.NotContains(t, text, words, "%s/%s: say %s", pkg.ImportPath, f, instead)
				}
			}
		}
	}
}
