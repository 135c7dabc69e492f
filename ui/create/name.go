package create

import (
	"strconv"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/ui/action"
	"berth/ui/data"
)

// suggestions bounds how many names are tried for one that is free.
const suggestions = 1000

// suggest puts the next name that the fleet does not have into the form, and reports whether there is
// one. The service may know better: it is asked by nameEdited.
func (c *Create) suggest() bool {
	taken := map[string]bool{}
	c.e.Store.Each(func(r *data.Row) { taken[strings.ToLower(r.Name)] = true })
	for c.numbered < suggestions {
		c.numbered++
		if s := "work-" + strconv.Itoa(c.numbered); !taken[s] {
			c.f.Fields[fName].Input.Suggest(s)
			return true
		}
	}
	c.f.Fields[fName].Input.Set("")
	return false
}

// changed finds another suggestion when somebody else has taken the name.
func (c *Create) changed() tea.Cmd {
	x := c.f.Fields[fName]
	if c.sending || !x.Input.Suggested() || c.e.Store.ByName(x.Value()) == nil {
		return nil
	}
	c.suggest()
	return c.nameEdited()
}

// nameEdited checks the name by the rules at once, and by the service when typing rests.
func (c *Create) nameEdited() tea.Cmd {
	x := c.f.Fields[fName]
	x.Good, x.Bad, x.Note = false, false, ""
	name, b := x.Value(), c.backend()
	if name == "" {
		return nil
	}
	if why := action.NameFault(name); why != "" {
		x.Note = why
		x.Bad = len(name) >= 3
		return nil
	}
	if b == "" {
		return nil
	}
	if x.Input.Suggested() { // nobody is typing
		return c.check(b, name)
	}
	return c.e.Tick(debounce, func(time.Time) tea.Msg { return restMsg{b, name} })
}

func (c *Create) check(backend, name string) tea.Cmd {
	return func() tea.Msg { return checkedMsg{backend, name, c.e.WS.CheckName(c.ctx, backend, name)} }
}

func (c *Create) checked(m checkedMsg) tea.Cmd {
	x := c.f.Fields[fName]
	if m.name != x.Value() || m.backend != c.backend() {
		return nil
	}
	if m.err != nil {
		if x.Input.Suggested() && api.AsError(m.err).Code == api.CodeConflict && c.suggest() {
			return c.nameEdited()
		}
		x.Note, x.Bad, x.Good = api.AsError(m.err).Message, true, false
		if b := c.f.Fields[fBackend]; b.Bad && b.Note == x.Note { // it is said there
			x.Note = ""
		}
		return nil
	}
	x.Note, x.Good, x.Bad = "this name is free", true, false
	if x.Input.Suggested() {
		x.Note = "this name is free; type to choose another"
	}
	return nil
}
