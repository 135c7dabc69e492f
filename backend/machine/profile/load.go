package profile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"berth/assets"
	"berth/backend/api"
	"berth/backend/base/tomltext"
)

const (
	builtIn = "built-in"
	// maxFile bounds a profile's file, in bytes.
	maxFile = 256 << 10
	// maxProfiles bounds the files that a folder may hold.
	maxProfiles = 500
)

// source is a profile as its file has it.
type source struct {
	Name        string         `toml:"name"`
	Title       string         `toml:"title"`
	Description string         `toml:"description"`
	Needs       []string       `toml:"needs"`
	Conflicts   []string       `toml:"conflicts"`
	Arch        []string       `toml:"arch"`
	OS          []string       `toml:"os"`
	Variables   []sourceVar    `toml:"variables"`
	Steps       []sourceStep   `toml:"steps"`
	Promises    []sourceExpect `toml:"promises"`

	file  string // as Origin says
	lines lines
}

type sourceVar struct {
	Name     string   `toml:"name"`
	Help     string   `toml:"help"`
	Default  string   `toml:"default"`
	Values   []string `toml:"values"`
	Required bool     `toml:"required"`
}

type sourceStep struct {
	Name   string `toml:"name"`
	Title  string `toml:"title"`
	Check  string `toml:"check"`
	Script string `toml:"script"`
	Root   bool   `toml:"root"`
	Reboot bool   `toml:"reboot"`
	Repeat bool   `toml:"repeat"` // it may be run again and again although it has no check
	Limit  string `toml:"limit"`
}

type sourceExpect struct {
	Component string `toml:"component"`
	Version   string `toml:"version"`
}

// Set is profiles by name.
type Set struct {
	by       map[string]*source
	problems []Problem
	prelude  string
}

// Load reads the built-in profiles, and those of folders; of two with the same name the later one counts.
// A folder that is not there is none. A file that can't be read is left out and is among Problems.
func Load(dirs ...string) *Set {
	s := &Set{by: map[string]*source{}}
	files := assets.Profiles()
	b, err := fs.ReadFile(files, "prelude.sh")
	if err != nil {
		panic("the built-in prelude is missing: " + err.Error()) // embedded
	}
	s.prelude = string(b)
	s.add(files, builtIn)
	for _, d := range dirs {
		if _, err := os.Stat(d); errors.Is(err, os.ErrNotExist) {
			continue
		}
		s.add(os.DirFS(d), d)
	}
	return s
}

// Dir is the folder of a user's own profiles.
func Dir(configDir string) string { return filepath.Join(configDir, "profiles") }

func (s *Set) add(files fs.FS, origin string) {
	names, err := fs.Glob(files, "*.toml")
	if err == nil && len(names) == 0 {
		_, err = fs.ReadDir(files, ".")
	}
	if err != nil {
		s.problems = append(s.problems, Problem{File: origin, Text: "the folder can't be read: " + err.Error()})
		return
	}
	for _, n := range names[:min(len(names), maxProfiles)] {
		file := n
		if origin != builtIn {
			file = filepath.Join(origin, n)
		}
		b, err := readSome(files, n)
		if err != nil {
			s.problems = append(s.problems, Problem{File: file, Text: err.Error()})
			continue
		}
		p, bad := parse(b, file)
		if bad != nil {
			s.problems = append(s.problems, *bad)
			if was := s.by[strings.TrimSuffix(n, ".toml")]; was != nil && was.file == builtIn {
				delete(s.by, was.Name) // the user meant to replace it
			}
			continue
		}
		if origin == builtIn {
			p.file = builtIn
		}
		s.by[p.Name] = p
	}
}

func readSome(files fs.FS, name string) ([]byte, error) {
	fi, err := fs.Stat(files, name)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() || fi.Size() > maxFile {
		return nil, fmt.Errorf("it is no file of at most %d KiB", maxFile>>10)
	}
	return fs.ReadFile(files, name)
}

// parse reads one file; a problem has the line and column where it can't be understood.
func parse(b []byte, file string) (*source, *Problem) {
	p := &source{file: file, lines: newLines(b)}
	if err := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields().Decode(p); err != nil {
		return nil, decodeProblem(file, err)
	}
	stem := strings.TrimSuffix(path.Base(filepath.ToSlash(file)), ".toml")
	if p.Name == "" {
		p.Name = stem
	}
	if p.Name != stem {
		return nil, &Problem{File: file, Line: p.lines.of("name"),
			Text: fmt.Sprintf("the profile is called %q, and its file %s.toml: they must be the same", p.Name, stem)}
	}
	if !plainWord(p.Name) {
		return nil, &Problem{File: file, Line: p.lines.of("name"),
			Text: fmt.Sprintf("the name %.60q is not 1 to 60 small letters, digits and '-', beginning with a letter", p.Name)}
	}
	return p, nil
}

func decodeProblem(file string, err error) *Problem {
	pr := &Problem{File: file}
	var missing *toml.StrictMissingError
	var dec *toml.DecodeError
	switch {
	case errors.As(err, &missing) && len(missing.Errors) > 0:
		d := missing.Errors[0]
		pr.Line, pr.Column = d.Position()
		pr.Text = fmt.Sprintf("there is no key %q", strings.Join(d.Key(), "."))
	case errors.As(err, &dec):
		pr.Line, pr.Column = dec.Position()
		_, text, _ := strings.Cut(tomltext.Explain("", err).Error(), ": ")
		pr.Text = text
	default:
		pr.Text = err.Error()
	}
	return pr
}

// Names are the profiles' names, sorted.
func (s *Set) Names() []string { return slices.Sorted(maps.Keys(s.by)) }

// Profiles describes all profiles, sorted by name.
func (s *Set) Profiles() []api.Profile {
	out := []api.Profile{}
	for _, n := range s.Names() {
		out = append(out, s.describe(s.by[n]))
	}
	return out
}

// Problems are the files that could not be read.
func (s *Set) Problems() []Problem { return slices.Clone(s.problems) }

// Profile describes one profile.
func (s *Set) Profile(name string) (api.Profile, error) {
	p, err := s.find(name)
	if err != nil {
		return api.Profile{}, err
	}
	return s.describe(p), nil
}

func (s *Set) describe(p *source) api.Profile {
	out := p.api()
	for _, b := range s.Broken(p.Name) {
		out.Errors = append(out.Errors, b.String())
	}
	return out
}

func (s *Set) find(name string) (*source, error) {
	if p := s.by[name]; p != nil {
		return p, nil
	}
	for _, pr := range s.problems {
		if strings.TrimSuffix(filepath.Base(pr.File), ".toml") == name {
			return nil, api.Errorf(api.CodeUsage, "the set-up profile %s can't be read: %s", name, pr).
				WithHint("berth profile lint %s", pr.File)
		}
	}
	return nil, api.Errorf(api.CodeNotFound, "there is no set-up profile %.60q", name).
		WithHint("berth profile ls lists them")
}

func (p *source) api() api.Profile {
	out := api.Profile{Name: p.Name, Title: p.Title, Description: p.Description, Origin: p.file, Needs: p.Needs,
		Conflicts: p.Conflicts, Arch: p.Arch, OS: p.OS}
	for _, v := range p.Variables {
		out.Variables = append(out.Variables, api.Variable{Name: v.Name, Help: v.Help, Default: v.Default, Values: v.Values,
			Required: v.Required})
	}
	for i := range p.Steps {
		out.Steps = append(out.Steps, p.step(i))
	}
	for _, e := range p.Promises {
		out.Promises = append(out.Promises, api.Promise{Component: e.Component, Version: e.Version, Profile: p.Name})
	}
	return out
}

// step is a step as its file has it: without the prelude and variables.
func (p *source) step(i int) api.SetupStep {
	st := &p.Steps[i]
	out := api.SetupStep{Name: p.Name + "." + st.Name, Title: st.Title, Check: st.Check, Script: st.Script, Root: st.Root,
		Reboot: st.Reboot}
	if d, err := time.ParseDuration(st.Limit); err == nil {
		out.LimitSeconds = d.Seconds()
	}
	return out
}

// plainWord reports whether s may be the name of a profile, step or variable.
func plainWord(s string) bool {
	if s == "" || len(s) > 60 {
		return false
	}
	for i, r := range s {
		if !('a' <= r && r <= 'z' || i > 0 && ('0' <= r && r <= '9' || r == '-')) {
			return false
		}
	}
	return true
}
