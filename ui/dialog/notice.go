package dialog

import (
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/ui/screen"
)

// Notice says something that must be read, and may offer one way on.
type Notice struct {
	Title, Text, Hint string
	Bad               bool
	Verb              string // of the way on; empty: none
	Do                tea.Cmd
	// Key takes the way on at once: for one that loses nothing.
	Key string

	b buttons
}

func (n *Notice) init() {
	if n.b.list == nil {
		n.b.list = []button{{label: "Close"}}
		if n.Verb != "" {
			n.b.list = append(n.b.list, button{label: n.Verb, danger: n.Key == ""})
		}
	}
}

// Update implements screen.Dialog.
func (n *Notice) Update(msg tea.Msg) (bool, tea.Cmd) {
	n.init()
	pick := -1
	switch m := msg.(type) {
	case tea.MouseMsg:
		pick = n.b.mouse(m)
	case tea.KeyMsg:
		switch k := m.String(); {
		case n.Key != "" && k == n.Key:
			pick = 1
		case k == "esc" || k == "q":
			pick = 0
		case k == "enter" || k == " ":
			pick = n.b.focus
		case k == "c" || k == "y":
			return false, screen.Send(screen.Copy{What: "the message", Text: n.Text})
		default:
			n.b.key(k)
		}
	}
	switch pick {
	case 0:
		return true, nil
	case 1:
		return true, n.Do
	}
	return false, nil
}

// Box implements screen.Dialog.
func (n *Notice) Box(e *screen.Env, w, h int) []string {
	n.init()
	t := e.Theme
	st := t.Title
	if n.Bad {
		st = t.Bad
	}
	f := newFrame(e, n.Title, boxWidth(w, 72), st)
	if h >= 10 {
		f.blank()
	}
	f.text(t.Text, n.Text)
	if n.Hint != "" {
		f.text(t.Dim, n.Hint)
	}
	n.b.draw(f)
	keys := "esc close " + t.Dot + " c copy"
	if n.Key != "" {
		keys = n.Key + " " + strings.ToLower(n.Verb) + " " + t.Dot + " " + keys
	}
	return n.b.end(f, keys, h)
}
