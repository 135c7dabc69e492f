package profile

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"mvdan.cc/sh/v3/syntax"

	"berth/backend/api"
	"berth/backend/machine/software"
)

// Problem is something wrong with a profile. Line and Column count from 1; 0 is unknown.
type Problem struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Text   string `json:"text"`
	// Warning: the profile can be used nevertheless.
	Warning bool `json:"warning,omitempty"`
}

// String is FILE:LINE:COLUMN: text.
func (p Problem) String() string {
	s := p.File
	if p.Line > 0 {
		s += fmt.Sprintf(":%d", p.Line)
		if p.Column > 0 {
			s += fmt.Sprintf(":%d", p.Column)
		}
	}
	if p.Warning {
		return s + ": warning: " + p.Text
	}
	return s + ": " + p.Text
}

// lines finds where something stands in a file.
type lines struct{ text string }

func newLines(b []byte) lines { return lines{string(b)} }

// of is the line of the first one that sets key, or 0.
func (l lines) of(key string) int {
	for i, line := range strings.Split(l.text, "\n") {
		if k, _, ok := strings.Cut(line, "="); ok && strings.TrimSpace(k) == key {
			return i + 1
		}
	}
	return 0
}

// step is the line of the step of that name, or 0.
func (l lines) step(name string) int {
	in := ""
	for i, line := range strings.Split(l.text, "\n") {
		t := strings.TrimSpace(line)
		if strings.HasPrefix(t, "[") {
			in = t
		}
		if k, v, ok := strings.Cut(t, "="); ok && strings.HasPrefix(in, "[[steps]]") && strings.TrimSpace(k) == "name" &&
			strings.Trim(strings.TrimSpace(v), `"'`) == name {
			return i + 1
		}
	}
	return 0
}

// script is the line on which a script begins, or 0 where it does not stand there as it is.
func (l lines) script(text string) int {
	if i := strings.Index(l.text, text); i >= 0 && text != "" {
		return 1 + strings.Count(l.text[:i], "\n")
	}
	return 0
}

// Lint says what is wrong with the profiles of a set, sorted by file and line.
func (s *Set) Lint() []Problem {
	out := s.Problems()
	for _, n := range s.Names() {
		out = append(out, s.lint(s.by[n])...)
	}
	sortProblems(out)
	return out
}

// Broken says what keeps a profile of the user from being used. Berth's own are tested.
func (s *Set) Broken(name string) []Problem {
	p := s.by[name]
	if p == nil || p.file == builtIn {
		return nil
	}
	out := slices.DeleteFunc(s.lint(p), func(p Problem) bool { return p.Warning })
	sortProblems(out)
	return out
}

// Refused is the error of profiles of which one is broken, by its first problem; nil where none is.
func (s *Set) Refused(names []string) error {
	for _, n := range names {
		bad := s.Broken(n)
		if len(bad) == 0 {
			continue
		}
		more := ""
		if len(bad) > 1 {
			more = fmt.Sprintf(" (and %d more)", len(bad)-1)
		}
		return api.Errorf(api.CodeUsage, "the set-up profile %s can't be used: %s%s", n, bad[0], more).
			WithHint("mend it; berth profile lint %s checks it", s.by[n].file)
	}
	return nil
}

// LintFile says what is wrong with one file, which may need profiles of the set.
func (s *Set) LintFile(file string) ([]Problem, error) {
	fi, err := os.Stat(file)
	if err != nil {
		return nil, api.Errorf(api.CodeNotFound, "reading the profile: %w", err)
	}
	if !fi.Mode().IsRegular() || fi.Size() > maxFile {
		return nil, api.Errorf(api.CodeUsage, "%s is no file of at most %d KiB", file, maxFile>>10)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, api.Errorf(api.CodeFailed, "reading the profile: %w", err)
	}
	return s.lintText(b, file), nil
}

func (s *Set) lintText(b []byte, file string) []Problem {
	p, bad := parse(b, file)
	if bad != nil {
		return []Problem{*bad}
	}
	with := &Set{by: map[string]*source{}, prelude: s.prelude}
	for n, q := range s.by {
		with.by[n] = q
	}
	with.by[p.Name] = p
	out := with.lint(p)
	sortProblems(out)
	return out
}

func sortProblems(ps []Problem) {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line, strings.Compare(a.Text, b.Text))
	})
}

// lint says what is wrong with a profile.
func (s *Set) lint(p *source) (out []Problem) {
	file := p.file
	if file == builtIn {
		file = filepath.ToSlash(p.Name + ".toml")
	}
	say := func(line int, format string, a ...any) {
		out = append(out, Problem{File: file, Line: line, Text: fmt.Sprintf(format, a...)})
	}
	warn := func(line int, format string, a ...any) {
		say(line, format, a...)
		out[len(out)-1].Warning = true
	}
	if p.Title == "" {
		warn(p.lines.of("name"), "it has no title")
	}
	for _, n := range p.Needs {
		if s.by[n] == nil {
			say(p.lines.of("needs"), "it needs %q, which does not exist", n)
		}
	}
	for _, n := range p.Conflicts {
		if s.by[n] == nil {
			warn(p.lines.of("conflicts"), "it excludes %q, which does not exist", n)
		}
	}
	for _, a := range p.Arch {
		if !slices.Contains([]string{"amd64", "arm64"}, a) {
			say(p.lines.of("arch"), "there is no architecture %q; there are amd64 and arm64", a)
		}
	}
	for _, o := range p.OS {
		if !regexp.MustCompile(`^[a-z]+(-[0-9]+(\.[0-9]+)*)?$`).MatchString(o) {
			say(p.lines.of("os"), "%q is no ID or ID-VERSION of os-release", o)
		}
	}
	given := map[string]string{}
	for _, v := range p.Variables {
		at := p.lines.of("default")
		_, twice := given[v.Name]
		switch {
		case !plainWord(v.Name):
			say(at, "the variable's name %.60q is no plain word", v.Name)
		case twice:
			say(at, "the variable %s is there twice", v.Name)
		case v.Required && v.Default != "":
			say(at, "the variable %s is required and has a default", v.Name)
		case !v.Required && !plainValue(v.Default):
			say(at, "the default %.60q of the variable %s is no plain word", v.Default, v.Name)
		case len(v.Values) > 0 && v.Default != "" && !slices.Contains(v.Values, v.Default):
			say(at, "the default %s of the variable %s is none of its values", v.Default, v.Name)
		case slices.ContainsFunc(v.Values, func(x string) bool { return !plainValue(x) }):
			say(at, "a value of the variable %s is no plain word", v.Name)
		}
		given[v.Name] = v.Default
		if v.Required {
			given[v.Name] = "x"
		}
	}
	seen := map[string]bool{}
	for i := range p.Steps {
		out = append(out, s.lintStep(p, &p.Steps[i], file, seen)...)
	}
	if len(p.Steps) == 0 && len(p.Needs) == 0 {
		say(0, "it has neither steps nor profiles that it needs")
	}
	for _, e := range p.Promises {
		name := fillIn(p, given, e.Component)
		switch {
		case !software.Known(name):
			warn(p.lines.of("component"), "it promises %q, which the inventory does not know", name)
		case strings.Contains(fillIn(p, given, e.Version), "{"):
			say(p.lines.of("component"), "the version %q of %s names a variable that does not exist", e.Version, name)
		}
	}
	out = append(out, s.lintWhole(p, file, given)...)
	return out
}

func fillIn(p *source, values map[string]string, text string) string {
	for _, v := range p.Variables {
		text = strings.ReplaceAll(text, "{"+v.Name+"}", values[v.Name])
	}
	return text
}

// lintWhole composes the profile, with each value of its version, as a user would.
func (s *Set) lintWhole(p *source, file string, given map[string]string) (out []Problem) {
	choices := []string{p.Name}
	var set []string
	for _, v := range p.Variables {
		if v.Required {
			set = append(set, p.setting(v.Name, given[v.Name]))
		}
		if v.Name == "version" {
			for _, x := range v.Values {
				choices = append(choices, p.setting("version", x))
			}
		}
	}
	seen := map[string]bool{}
	for _, c := range choices {
		_, err := s.Compose(append([]string{c}, set...), Facts{})
		var e *api.Error
		if err == nil || seen[err.Error()] || errors.As(err, &e) && e.Code == api.CodeNotFound {
			continue // unknown needs are said above
		}
		seen[err.Error()] = true
		// What another profile of the chain requires is asked for when it is chosen.
		if strings.Contains(err.Error(), "needs a value") {
			continue
		}
		out = append(out, Problem{File: file, Line: p.lines.of("needs"), Text: err.Error()})
	}
	return out
}

func (s *Set) lintStep(p *source, st *sourceStep, file string, seen map[string]bool) (out []Problem) {
	at := p.lines.step(st.Name)
	say := func(line int, format string, a ...any) {
		out = append(out, Problem{File: file, Line: line, Text: fmt.Sprintf("step %s: ", st.Name) + fmt.Sprintf(format,
			a...)})
	}
	switch {
	case !plainWord(st.Name):
		say(at, "its name is no plain word")
	case seen[st.Name]:
		say(at, "there are two of this name")
	}
	seen[st.Name] = true
	if st.Title == "" {
		say(at, "it has no title")
		out[len(out)-1].Warning = true
	}
	if strings.TrimSpace(st.Script) == "" {
		say(at, "it has no script")
	}
	if st.Root && st.Check == "" && !st.Repeat {
		say(at, "it is root's and has no check: give one, or repeat = true if it may be run again and again")
	}
	if st.Limit != "" {
		if d, err := time.ParseDuration(st.Limit); err != nil || d <= 0 || d > 24*time.Hour {
			say(at, "the limit %q is no duration up to 24h, as \"30m\"", st.Limit)
		}
	}
	for _, x := range []struct{ what, text string }{{"check", st.Check}, {"script", st.Script}} {
		begins := p.lines.script(x.text)
		f, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(x.text), "")
		if err != nil {
			line, col, text := shError(err)
			if begins > 0 && line > 0 {
				if line == 1 {
					col = 0 // counted from the script's beginning, not the line's
				}
				out = append(out, Problem{File: file, Line: begins + line - 1, Column: col,
					Text: fmt.Sprintf("step %s: the %s is no sh script: %s", st.Name, x.what, text)})
			} else {
				say(at, "line %d of the %s is no sh script: %s", line, x.what, text)
			}
			continue
		}
		for _, d := range dangers(f) {
			say(max(begins+d.line-1, at), "%s", d.text)
		}
	}
	return out
}

func shError(err error) (line, col int, text string) {
	var pe syntax.ParseError
	var le syntax.LangError
	switch {
	case errors.As(err, &pe):
		return int(pe.Pos.Line()), int(pe.Pos.Col()), pe.Text
	case errors.As(err, &le):
		return int(le.Pos.Line()), int(le.Pos.Col()), fmt.Sprintf("%s is not part of sh", le.Feature)
	}
	return 0, 0, err.Error()
}

type danger struct {
	line int
	text string
}

// dangers finds what a script fetches and does not check.
func dangers(f *syntax.File) (out []danger) {
	checked := false
	fetches := 0
	syntax.Walk(f, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.CallExpr:
			switch word(n) {
			case "curl", "wget", "get":
				fetches = max(fetches, int(n.Pos().Line()))
			case "sha256sum", "sha512sum", "gpgv", "gpg", "fetch", "key":
				checked = true
			}
		case *syntax.BinaryCmd:
			if n.Op == syntax.Pipe && calls(n.X, "curl", "wget", "get") && calls(n.Y, "sh", "bash", "dash", "python", "python3",
				"sudo", "perl") {
				out = append(out, danger{int(n.Pos().Line()),
					"it runs what it fetches, unseen: fetch it into a file, check its checksum, then run it"})
			}
		}
		return true
	})
	if fetches > 0 && !checked && len(out) == 0 {
		out = append(out, danger{fetches,
			"it fetches something and checks neither checksum nor signature: use fetch URL SHA256 FILE or key URL FINGERPRINT FILE"})
	}
	return out
}

func word(c *syntax.CallExpr) string {
	if len(c.Args) == 0 {
		return ""
	}
	return filepath.Base(c.Args[0].Lit())
}

func calls(n syntax.Node, names ...string) bool {
	found := false
	syntax.Walk(n, func(n syntax.Node) bool {
		if c, ok := n.(*syntax.CallExpr); ok && slices.Contains(names, word(c)) {
			found = true
		}
		return !found
	})
	return found
}

// Format renders problems one a line.
func Format(ps []Problem) string {
	var b bytes.Buffer
	for _, p := range ps {
		fmt.Fprintln(&b, p)
	}
	return b.String()
}
