package ui

import (
	"berth/backend/api"
	"berth/ui/act"
	"berth/ui/data"
	"berth/ui/dialog"
	"berth/ui/screen"
)

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
	n := &dialog.Notice{Title: "Could not " + verbFor(d.Verb) + " " + d.Ref, Text: e.Message, Hint: e.Hint, Bad: true}
	if r := m.e.Store.ByName(d.Ref); e.Code == api.CodeRefused && r != nil && d.Verb != "create" && d.Verb != "adopt" {
		n.Verb = "Do it anyway"
		n.Do = act.Run(m.e, d.Verb, []*data.Row{r}, api.ActionRequest{Force: true})
	}
	m.show(n)
}

func verbFor(v string) string {
	switch v {
	case act.Delete:
		return "delete"
	case act.Shell:
		return "open a shell on"
	}
	return v
}
