package dialog

import (
	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/ui/form"
	"berth/ui/screen"
)

// Ask puts a question of the service to the person. Reply is called once, with the answer.
type Ask struct {
	Q     api.Question
	Reply func(api.Answer)

	in form.Input
	b  buttons
}

// NewAsk makes the dialog of a question.
func NewAsk(q api.Question, reply func(api.Answer)) *Ask {
	a := &Ask{Q: q, Reply: reply}
	a.in.Mask = q.Kind == "secret"
	a.b.list = []button{{label: "No"}, {label: "Yes"}}
	if q.Kind != "confirm" {
		a.b.list = []button{{label: "Cancel"}, {label: "Answer"}}
		a.b.focus = 1
	}
	return a
}

func (a *Ask) give(yes bool) (bool, tea.Cmd) {
	switch {
	case a.Q.Kind == "confirm" && yes:
		a.Reply(api.Answer{Value: "yes"})
	case a.Q.Kind == "confirm":
		a.Reply(api.Answer{Value: "no"})
	case yes:
		a.Reply(api.Answer{Value: a.in.Value()})
	default:
		a.Reply(api.Answer{Refused: true})
	}
	return true, nil
}

// Update implements screen.Dialog.
func (a *Ask) Update(msg tea.Msg) (bool, tea.Cmd) {
	switch m := msg.(type) {
	case tea.MouseMsg:
		if i := a.b.mouse(m); i >= 0 {
			return a.give(i == 1)
		}
	case tea.KeyMsg:
		k := m.String()
		switch {
		case k == "esc":
			a.Reply(api.Answer{Refused: true})
			return true, nil
		case k == "enter":
			return a.give(a.b.focus == 1)
		case k == "tab" || k == "shift+tab":
			a.b.key(k)
		case a.Q.Kind != "confirm":
			a.in.Update(m)
		case k == "y":
			return a.give(true)
		case k == "n":
			return a.give(false)
		default:
			a.b.key(k)
		}
	}
	return false, nil
}

// Box implements screen.Dialog.
func (a *Ask) Box(e *screen.Env, w, h int) []string {
	t := e.Theme
	f := newFrame(e, a.Q.Title, boxWidth(w, 72), t.Warn)
	if h >= 12 {
		f.blank()
	}
	f.text(t.Text, a.Q.Text)
	if a.Q.Kind != "confirm" {
		l := f.begin()
		l.Text(t.Accent, "> ")
		a.in.Draw(l, t, l.Room()-2, true)
	}
	a.b.draw(f)
	keys := "y yes " + t.Dot + " n no " + t.Dot + " esc don't answer"
	if a.Q.Kind != "confirm" {
		keys = "enter answer " + t.Dot + " esc don't"
	}
	return a.b.end(f, keys, h)
}
