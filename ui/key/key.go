package key

import tea "github.com/charmbracelet/bubbletea"

// Binding is one thing that keys do. Why is set where it can't be done now, and says so.
type Binding struct {
	Keys  []string // as bubbletea names them
	Show  string   // the keys for people; empty: the first of Keys
	Label string   // one or two words for the footer; empty: not in the footer
	Desc  string   // one sentence for help
	Group string   // heading in help
	Why   string
	Do    func() tea.Cmd // nil: only described here, done by another entry

	of *entry // of the table; nil: the screen's own
}

// Name is how the key is written for people.
func (b *Binding) Name() string {
	if b.Show != "" {
		return b.Show
	}
	return Pretty(b.Keys[0])
}

// Pretty writes a key's name for people.
func Pretty(k string) string {
	switch k {
	case " ":
		return "space"
	case "up":
		return "↑"
	case "down":
		return "↓"
	}
	return k
}

// Find returns the binding of a key, or nil.
func Find(bs []Binding, k string) *Binding {
	for i := range bs {
		if bs[i].Do == nil {
			continue
		}
		for _, x := range bs[i].Keys {
			if x == k {
				return &bs[i]
			}
		}
	}
	return nil
}
