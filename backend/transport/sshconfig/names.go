package sshconfig

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	maxDepth = 16      // of Include, as in ssh
	maxFiles = 256     // that are read at all
	maxBytes = 1 << 20 // of one file
)

// Names lists what the Host lines of a configuration name, in their order, files of Include too. Patterns are left out:
// they name nothing that could be reached. A file that can't be read has no names. file is the user's own by default.
func Names(file string) []string {
	dir := filepath.Join(HomeDir(), ".ssh")
	if file == "" {
		file = filepath.Join(dir, "config")
	}
	n := names{dir: dir}
	n.read(file, 0)
	return n.out
}

// names collects names.
type names struct {
	dir   string // what relative paths of Include are in
	files int
	out   []string
}

func (n *names) read(file string, depth int) {
	if depth > maxDepth || n.files >= maxFiles {
		return
	}
	n.files++
	if st, err := os.Stat(file); err != nil || !st.Mode().IsRegular() { // a pipe would wait for ever
		return
	}
	f, err := os.Open(file)
	if err != nil {
		return
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxBytes))
	if err != nil {
		return
	}
	for line := range strings.Lines(string(text)) {
		key, args := keyword(line)
		switch key {
		case "host":
			for _, a := range args {
				if a != "" && a[0] != '-' && !strings.ContainsAny(a, "*?!") && !slices.Contains(n.out, a) {
					n.out = append(n.out, a)
				}
			}
		case "include":
			for _, a := range args {
				for _, f := range n.included(a) {
					n.read(f, depth+1)
				}
			}
		}
	}
}

// included are the files that an argument of Include means.
func (n *names) included(arg string) []string {
	if rest, ok := strings.CutPrefix(arg, "~/"); ok {
		arg = filepath.Join(filepath.Dir(n.dir), rest)
	} else if !filepath.IsAbs(arg) {
		arg = filepath.Join(n.dir, arg)
	}
	found, _ := filepath.Glob(arg)
	return slices.DeleteFunc(found, func(f string) bool {
		st, err := os.Stat(f)
		return err != nil || st.Mode()&fs.ModeType != 0
	})
}

// keyword splits a line of a configuration into its keyword, in small letters, and what follows it.
func keyword(line string) (string, []string) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", nil
	}
	i := strings.IndexAny(line, " \t=")
	if i < 0 {
		return strings.ToLower(line), nil
	}
	rest := strings.TrimLeft(line[i:], " \t")
	if after, ok := strings.CutPrefix(rest, "="); ok { // one =, as ssh has it
		rest = strings.TrimLeft(after, " \t")
	}
	args := words(rest)
	for k, a := range args {
		if strings.HasPrefix(a, "#") { // a remark at the end of the line
			return strings.ToLower(line[:i]), args[:k]
		}
	}
	return strings.ToLower(line[:i]), args
}
