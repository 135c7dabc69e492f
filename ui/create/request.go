package create

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/backend/base/shellquote"
	"berth/ui/action"
	"berth/ui/money"
	"berth/ui/screen"
)

// request collects what is asked for.
func (c *Create) request() (api.CreateRequest, error) {
	v := func(i int) string { return c.f.Fields[i].Value() }
	r := api.CreateRequest{Name: v(fName), Backend: v(fBackend), Size: v(fSize), Image: v(fImage), RequestID: c.token}
	if c.f.Fields[fSSH].Off == "" {
		on := c.f.Fields[fSSH].On
		r.SSH = &on
	}
	if c.f.Fields[fNetwork].Off == "" {
		r.Subnet = v(fNetwork)
	}
	if c.f.Fields[fProfiles].Off == "" {
		r.Profiles = split(v(fProfiles))
	}
	if p := v(fSetup); p != "" {
		b, err := readScript(p)
		if err != nil {
			return r, err
		}
		r.Setup = b
	}
	return r, nil
}

// split reads a list of names with commas or blanks between.
func split(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

// maxScript bounds a set-up script, in bytes.
const maxScript = 1 << 20

func readScript(p string) (string, error) {
	if rest, ok := strings.CutPrefix(p, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		p = filepath.Join(home, rest)
	}
	st, err := os.Stat(p)
	switch {
	case err != nil:
		return "", err
	case !st.Mode().IsRegular():
		return "", fmt.Errorf("%s is no file", p)
	case st.Size() > maxScript:
		return "", fmt.Errorf("%s is too large for a set-up script (%s)", p, money.Size(st.Size()))
	}
	b, err := os.ReadFile(p)
	return string(b), err
}

// Command is the command line that does the same as the form.
func (c *Create) Command() string {
	v := func(i int) string { return c.f.Fields[i].Value() }
	name := v(fName)
	if name == "" {
		name = "NAME"
	}
	s := "berth create " + shellquote.Word(name)
	if v(fBackend) != "" {
		s += " --backend " + shellquote.Word(v(fBackend))
	}
	if v(fSize) != "" {
		s += " --size " + shellquote.Word(v(fSize))
	}
	if v(fImage) != "" {
		s += " --image " + shellquote.Word(v(fImage))
	}
	if c.f.Fields[fSSH].Off == "" && c.f.Fields[fSSH].On {
		s += " --ssh"
	}
	if n := c.f.Fields[fNetwork]; n.Off == "" && n.Value() != "" {
		s += " --subnet " + shellquote.Word(n.Value())
	}
	if p := c.f.Fields[fProfiles]; p.Off == "" && p.Value() != "" {
		s += " --profile " + shellquote.Word(strings.Join(split(p.Value()), ","))
	}
	if v(fSetup) != "" {
		s += " --setup " + shellquote.Word(v(fSetup))
	}
	if c.shell() {
		s += " && berth ssh " + shellquote.Word(name)
	}
	return s
}

// quick reports whether a backend's instances are there at once, so that one may wait for the shell.
func quick(backend string) bool { return backend == "local" }

// shell reports whether a shell is to be opened on what is made.
func (c *Create) shell() bool {
	x := c.f.Fields[fShell]
	return x.On && x.Off == ""
}

// waits reports whether something is still to come without which nothing can be asked for: the
// backends, their sizes, whether the suggested name is free.
func (c *Create) waits() bool {
	name, b, size := c.f.Fields[fName], c.f.Fields[fBackend], c.f.Fields[fSize]
	switch {
	case len(b.Options) == 0:
		return !b.Bad
	case c.sizes[c.backend()] == nil && !size.Bad:
		return true
	}
	return name.Input.Suggested() && !name.Good && !name.Bad
}

// goOn submits what was submitted too early.
func (c *Create) goOn() tea.Cmd {
	if !c.wanted || c.waits() {
		return nil
	}
	c.wanted = false
	return c.submit()
}

func (c *Create) submit() tea.Cmd {
	if c.sending {
		return nil
	}
	if c.e.ReadOnly {
		return screen.Warn(action.ReadOnly)
	}
	if c.waits() {
		c.wanted = true
		return nil
	}
	name := c.f.Fields[fName]
	fault := ""
	switch {
	case name.Value() == "":
		fault = "it needs a name"
	default:
		fault = action.NameFault(name.Value())
	}
	if fault != "" {
		c.f.Focus = fName
		name.Note, name.Bad = fault, true
		return nil
	}
	r, err := c.request()
	if err != nil {
		c.f.Focus = fSetup
		c.f.Fields[fSetup].Note, c.f.Fields[fSetup].Bad = err.Error(), true
		return nil
	}
	c.sending, c.err = true, nil
	return func() tea.Msg {
		op, err := c.e.WS.Create(c.e.Ctx, r)
		return sentMsg{op, err}
	}
}
