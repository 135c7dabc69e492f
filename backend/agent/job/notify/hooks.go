package notify

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/pelletier/go-toml/v2"

	"berth/backend/api"
	"berth/backend/base/tomltext"
)

// Limits of the file, in bytes; a command is handed to the shell over a pipe, which takes so much at once.
const (
	maxFile    = 256 << 10
	maxCommand = 32 << 10
)

// Path is the file that says who can be told, below the home folder of the instance's user.
func Path(home string) string { return filepath.Join(home, ".config", "berth", "agent.toml") }

// Hook is who is told: a command or a webhook.
type Hook struct {
	Command string `toml:"command"` // a script for /bin/sh
	URL     string `toml:"url"`
}

// Hooks are the hooks of a file by their names.
type Hooks map[string]Hook

// Names are those of the hooks, in order.
func (h Hooks) Names() []string {
	names := make([]string, 0, len(h))
	for n := range h {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// File is what the file says.
type File struct {
	Hooks Hooks
	Rules []Rule
	// Wrong says of each rule that can't be used why. The others count.
	Wrong []string
}

// Read reads the hooks of the file.
func Read(path string) (Hooks, error) {
	f, err := Load(path)
	return f.Hooks, err
}

// Load reads the file; one that is not there says nothing. A file that others can read is refused: it has addresses and
// commands that may carry tokens. No error has anything that the file says but names and places.
func Load(path string) (file File, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe in its place must not hold anybody up
	if errors.Is(err, fs.ErrNotExist) {
		return file, nil
	}
	if err != nil {
		return file, fmt.Errorf("reading who can be told of jobs: %w", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return file, fmt.Errorf("reading who can be told of jobs: %w", err)
	}
	if err := private(path, fi); err != nil {
		return file, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return file, fmt.Errorf("reading who can be told of jobs: %w", err)
	}
	return parse(path, b)
}

// private refuses a file that others can read or change.
func private(path string, fi fs.FileInfo) error {
	st, ok := fi.Sys().(*syscall.Stat_t)
	switch {
	case !fi.Mode().IsRegular():
		return api.Errorf(api.CodeUsage, "%s is no plain file", path)
	case ok && int(st.Uid) != os.Geteuid():
		return api.Errorf(api.CodeUsage, "%s belongs to another user: it is not used", path)
	case fi.Mode().Perm()&0o077 != 0:
		return api.Errorf(api.CodeUsage, "%s can be read or changed by others (mode %04o): it is not used, since it has addresses "+
			"and commands", path, fi.Mode().Perm()).WithHint("chmod 600 %s", path)
	}
	return nil
}

// parse reads the file's text.
func parse(path string, text []byte) (File, error) {
	if len(text) > maxFile {
		return File{}, api.Errorf(api.CodeUsage, "%s has more than %d bytes", path, maxFile)
	}
	var file struct {
		Notify Hooks `toml:"notify"`
		Rules  any   `toml:"rules"` // one that is wrong is told, and loses nothing else
	}
	if err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&file); err != nil {
		return File{}, explain(path, err)
	}
	for _, name := range file.Notify.Names() {
		if !IsName(name) {
			return File{}, api.Errorf(api.CodeUsage, "%s: %.40q is no name for who is told: letters, digits, '-', '_' and '.' go, up to 40",
				path, name)
		}
		if err := file.Notify[name].check(); err != nil {
			return File{}, api.Errorf(api.CodeUsage, "%s: [notify.%s] %w", path, name, err)
		}
	}
	out := File{Hooks: file.Notify}
	out.Rules, out.Wrong = readRules(file.Rules, file.Notify)
	return out, nil
}

// explain says where in the file an error is, and nothing of what stands there.
func explain(path string, err error) error {
	var missing *toml.StrictMissingError
	var wrong *toml.DecodeError
	switch {
	case errors.As(err, &missing):
		return tomltext.Explain(path, err) // it names a key
	case errors.As(err, &wrong):
		row, col := wrong.Position()
		return api.Errorf(api.CodeUsage, "%s:%d:%d: this can't be read: [notify.NAME] has command or url, each a text in quotes; "+
			"rules begin with [[rules]]",
			path, row, col)
	}
	return api.Errorf(api.CodeUsage, "%s can't be read as TOML", path)
}

// IsName reports whether somebody who is told can have a name.
func IsName(s string) bool {
	for _, c := range []byte(s) {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("-_.", rune(c)) {
			return false
		}
	}
	return s != "" && len(s) <= 40
}

func (h Hook) check() error {
	switch {
	case (h.Command == "") == (h.URL == ""):
		return errors.New("has either command or url")
	case len(h.Command) > maxCommand:
		return fmt.Errorf("has a command of more than %d bytes: write a script, and call it", maxCommand)
	case strings.ContainsRune(h.Command, 0):
		return errors.New("has a command with a NUL byte")
	case h.URL == "":
		return nil
	}
	u, err := url.Parse(h.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return errors.New("has a url that begins with neither https:// nor http://")
	}
	return nil
}

// Check says which of the names nobody has, and which there are. path is the file's.
func (h Hooks) Check(path string, names []string) error {
	for _, n := range names {
		if _, ok := h[n]; ok {
			continue
		}
		err := api.Errorf(api.CodeUsage, "nobody of the name %.40q can be told on this instance", n)
		if len(h) == 0 {
			return err.WithHint("write [notify.%s] with command = \"…\" or url = \"…\" into %s there (mode 0600)", orName(n), path)
		}
		return err.WithHint("there are: %s (%s there)", strings.Join(h.Names(), ", "), path)
	}
	return nil
}

func orName(n string) string {
	if IsName(n) {
		return n
	}
	return "NAME"
}
