package ui

import (
	"fmt"

	"berth/backend/api"
	"berth/ui/action"
	"berth/ui/data"
	"berth/ui/dialog"
	"berth/ui/screen"
)

// failure is the notice of actions that failed; those of many instances share one.
type failure struct {
	dialog.Notice
	verb  string
	refs  []string
	texts []string
	force []*data.Row // those that may be insisted on
}

// done shows what went wrong with an action. What was refused to protect something may be insisted on.
func (m *Model) done(d screen.Done) {
	if d.Err == nil {
		return
	}
	e := api.AsError(d.Err)
	if d.Verb == "refresh" {
		m.say(screen.Toast{Level: "error", Text: "asking how " + d.Ref + " is: " + e.Message})
		return
	}
	m.toast = screen.Toast{} // it told what was being done
	f := m.failed
	if f == nil || f.verb != d.Verb || !m.shows(f) {
		f = &failure{verb: d.Verb}
		m.failed = f
		m.show(f)
	}
	f.add(m, d, e)
}

// shows reports whether a dialog is open.
func (m *Model) shows(d screen.Dialog) bool {
	for _, x := range m.dialogs {
		if x.Dialog == d {
			return true
		}
	}
	return false
}

// maxFailures is how many failures one notice tells in full.
const maxFailures = 5

func (f *failure) add(m *Model, d screen.Done, e *api.Error) {
	f.refs = append(f.refs, d.Ref)
	if len(f.texts) < maxFailures {
		f.texts = append(f.texts, e.Message)
	}
	what := d.Ref
	if len(f.refs) > 1 {
		what = fmt.Sprintf("%d instances", len(f.refs))
	}
	verb := verbFor(d.Verb)
	if r := m.e.Store.ByName(d.Ref); d.Verb == action.Delete && r != nil && r.Adopted && len(f.refs) == 1 {
		verb = "forget"
	}
	n := dialog.Notice{Title: "Could not " + verb + " " + what, Hint: e.Hint, Bad: true}
	for i, s := range f.texts {
		if i > 0 {
			n.Text += "\n"
		}
		if len(f.refs) > 1 {
			s = f.refs[i] + ": " + s
		}
		n.Text += s
	}
	if more := len(f.refs) - len(f.texts); more > 0 {
		n.Text += fmt.Sprintf("\nand %d more", more)
	}
	if r := m.e.Store.ByName(d.Ref); e.Code == api.CodeRefused && r != nil && action.Forcible(d.Verb) {
		f.force = append(f.force, r)
	}
	if len(f.force) > 0 {
		n.Verb = "Do it anyway"
		n.Do = action.Run(m.e, d.Verb, f.force, api.ActionRequest{Force: true})
	}
	f.Notice = n
}

func verbFor(v string) string {
	switch v {
	case action.Delete:
		return "delete"
	case action.Shell:
		return "open a shell on"
	case action.Snapshot:
		return "take a snapshot of"
	case action.Restore:
		return "restore a snapshot of"
	case action.Image:
		return "make an image of"
	case action.Setup:
		return "go on with the set-up of"
	case action.LetGo:
		return "let go of the set-up of"
	case action.DropSnapshot:
		return "delete a snapshot of"
	}
	return v
}
