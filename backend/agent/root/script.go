package root

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Interpreter is what runs a script: sh -e, unless its first line names another. Shells get -e too.
func Interpreter(script string) []string {
	first, _, _ := strings.Cut(script, "\n")
	words := strings.Fields(strings.TrimPrefix(first, "#!"))
	if !strings.HasPrefix(first, "#!") || len(words) == 0 || !filepath.IsAbs(words[0]) {
		return []string{"sh", "-e"}
	}
	name := filepath.Base(words[len(words)-1])
	if filepath.Base(words[0]) != "env" {
		name = filepath.Base(words[0])
	}
	switch name {
	case "sh", "bash", "dash", "ksh", "zsh":
		words = append(words, "-e")
	}
	return words
}

// Variable reports whether s is the name of a variable.
func Variable(s string) bool {
	for i, r := range s {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', r == '_', i > 0 && '0' <= r && r <= '9':
		default:
			return false
		}
	}
	return s != ""
}

// LookPath finds a program by the PATH that it runs with.
func LookPath(name string, env []string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	path := DefaultPath
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	for _, list := range []string{path, DefaultPath} {
		for _, d := range filepath.SplitList(list) {
			p := filepath.Join(d, name)
			if fi, err := os.Stat(p); err == nil && filepath.IsAbs(d) && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
				return p, nil
			}
		}
	}
	return "", fmt.Errorf("%s was not found on the instance (PATH is %s): %w", name, path, fs.ErrNotExist)
}
