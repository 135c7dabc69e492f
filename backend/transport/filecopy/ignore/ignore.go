// Package ignore says what a sync leaves out: what .gitignore files name, as git has it, and .berthignore files, which
// are written alike and count more.
package ignore

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/go-git/go-git/v5/plumbing/format/gitignore"
)

type pattern = gitignore.Pattern

// files are read in each folder, in the order in which they count more and more.
var files = [...]string{".gitignore", ".berthignore"}

// maxFile bounds one of them, in bytes.
const maxFile = 1 << 20

// Rules are those of one folder and all below it. They are safe for concurrent use.
type Rules struct {
	root string

	mu  sync.Mutex
	of  map[string][]pattern // by folder below the root: its own and those above it
	err error                // of a file that can't be read
}

// New returns the rules of a folder, which are read when they are needed.
func New(root string) *Rules { return &Rules{root: root, of: map[string][]pattern{}} }

// Err is why some rules could not be read. What they name is not left out then.
func (r *Rules) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Skip reports whether a path below the root is left out, itself or a folder above it.
func (r *Rules) Skip(path string, folder bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	parts := strings.Split(path, "/")
	for i := range parts {
		patterns := r.patterns(parts[:i])
		if gitignore.NewMatcher(patterns).Match(parts[:i+1], folder || i+1 < len(parts)) {
			return true
		}
	}
	return false
}

// patterns are those that count in a folder.
func (r *Rules) patterns(folder []string) []pattern {
	key := strings.Join(folder, "/")
	if p, ok := r.of[key]; ok {
		return p
	}
	var all []pattern
	if len(folder) > 0 {
		above := r.patterns(folder[:len(folder)-1])
		all = append(all, above[:len(above):len(above)]...)
	}
	for _, name := range files {
		p, err := read(filepath.Join(r.root, key, name), folder)
		if err != nil && r.err == nil {
			r.err = err
		}
		all = append(all, p...)
	}
	r.of[key] = all
	return all
}

// read reads one file; there need not be one.
func read(path string, folder []string) ([]pattern, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("what is left out is not known: %w", err)
	}
	defer f.Close()
	return parse(io.LimitReader(f, maxFile), folder)
}

func parse(r io.Reader, folder []string) (out []pattern, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxFile+1)
	for lines.Scan() {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if strings.HasPrefix(line, `\#`) {
			line = line[1:]
		}
		out = append(out, gitignore.ParsePattern(strings.ReplaceAll(line, "[!", "[^"), folder)) // Go's own word for it
	}
	return out, lines.Err()
}
