package workspace

import (
	"strings"

	"berth/backend/api"
)

// The name rule of an instance (mission.md).
const (
	minName = 3
	maxName = 24
)

// CheckName says what is wrong with a name, or nil: 3 to 24 characters, letters, digits and '-',
// starting with a letter.
func CheckName(name string) error {
	bad := func(why string) error {
		return api.Errorf(api.CodeUsage, "the name %q %s", name, why).
			WithHint("a name has 3 to 24 characters: letters, digits and '-', starting with a letter")
	}
	if name == "" {
		return api.Errorf(api.CodeUsage, "an instance needs a name").
			WithHint("3 to 24 characters: letters, digits and '-', starting with a letter")
	}
	for i, c := range name {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if i == 0 && !letter {
			return bad("does not start with a letter")
		}
		if !letter && !(c >= '0' && c <= '9') && c != '-' {
			return bad("contains " + strings.TrimSpace(quoteRune(c)))
		}
	}
	switch {
	case len(name) < minName:
		return bad("is too short")
	case len(name) > maxName:
		return bad("is too long")
	}
	return nil
}

func quoteRune(c rune) string {
	if c < ' ' || c == 0x7f || c == 0xfffd {
		return "a control or invalid character"
	}
	return "'" + string(c) + "'"
}

// CheckNewName says whether a new instance of the backend may have this name.
func (w *Workspace) CheckNewName(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nameFree(name)
}

// nameFree says whether no instance has this name, without regard to case. w.mu must be held.
func (w *Workspace) nameFree(name string) error {
	for _, e := range w.entries {
		if strings.EqualFold(e.rec.Name, name) {
			hint := "choose another name, or: berth show " + e.rec.Name
			if e.rec.State == api.StateCreateFailed {
				hint = "it was never made: berth rm " + e.rec.Name + " gives the name free"
			}
			return api.Errorf(api.CodeConflict, "there is an instance %q already (%s, %s)", e.rec.Name, e.rec.Backend,
				e.rec.State).WithHint("%s", hint)
		}
	}
	return nil
}

// find returns the entry of a name, BACKEND/NAME or id. An ambiguous bare name is a usage error that
// lists the candidates. w.mu must be held.
func (w *Workspace) find(name string) (*entry, error) {
	if e := w.entries[name]; e != nil {
		return e, nil
	}
	be, bare, qualified := strings.Cut(name, "/")
	if !qualified {
		be, bare = "", name
	}
	var found []*entry
	for _, e := range w.entries {
		if strings.EqualFold(e.rec.Name, bare) && (!qualified || e.rec.Backend == be) {
			found = append(found, e)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, api.Errorf(api.CodeNotFound, "there is no instance %q", name).WithHint("berth ls lists what there is")
	}
	var names []string
	for _, e := range found {
		names = append(names, e.rec.Backend+"/"+e.rec.Name)
	}
	return nil, api.Errorf(api.CodeUsage, "the name %q is ambiguous: %s", name, strings.Join(names, ", ")).
		WithHint("write BACKEND/NAME")
}
