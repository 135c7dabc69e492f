package action

import (
	"context"
	"fmt"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/dustin/go-humanize/english"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/ui/data"
	"berth/ui/dialog"
	"berth/ui/screen"
)

// LookLimit is how long a machine may take to say what runs there, before somebody is asked whether it may end.
const LookLimit = 5 * time.Second

// maxNamed is how many terminals are named one by one.
const maxNamed = 8

// Ends says which terminals and how many jobs and commands end when an adopted machine is forgotten.
func Ends(d api.Departure) string {
	said := endingTerminals(d)
	if n := d.Jobs.Running + d.Jobs.Waiting; n > 0 {
		said += " " + english.Plural(n, "job ends", "jobs end") + ": " + Jobs(d.Jobs) + "."
	}
	if d.Services > 0 {
		said += " " + english.Plural(d.Services, "service ends", "services end") + "."
	}
	switch {
	case d.Commands == 0:
		return said
	case len(d.Others) > 0:
		return said + " " + english.Plural(d.Commands, "command runs", "commands run") +
			" there: what was begun from here ends."
	}
	return said + " " + english.Plural(d.Commands, "command ends", "commands end") + "."
}

func endingTerminals(d api.Departure) string {
	if len(d.Ends) == 0 {
		return "No terminal ends."
	}
	var names []string
	for i, t := range d.Ends {
		if i == maxNamed {
			names = append(names, fmt.Sprintf("and %d more", len(d.Ends)-i))
			break
		}
		name := t.ID + " (" + plaintext.Short(t.Command, 40)
		if t.Attached > 0 {
			name += ", attached"
		}
		names = append(names, name+")")
	}
	if len(names) == 1 {
		return "1 terminal ends: " + names[0] + "."
	}
	return fmt.Sprintf("%d terminals end: %s.", len(d.Ends), strings.Join(names, ", "))
}

// Stays says who else uses an adopted machine's agent, or "".
func Stays(d api.Departure) string {
	if len(d.Others) == 0 {
		return ""
	}
	var names []string
	for _, name := range api.NameHomes(d.Others) {
		names = append(names, plaintext.Text(name))
	}
	uses := "uses"
	if len(d.Others) > 1 {
		uses = "use"
	}
	return strings.Join(names, ", ") + " " + uses + " it, too: its agent stays, with what was opened from there."
}

// lookAtTerminals puts into a confirmation of one machine's forgetting what ends and who else uses it, and returns the
// command that asks for it, or nil. The dialog waits for nothing.
func lookAtTerminals(e *screen.Env, c *dialog.Confirm, rows []*data.Row) tea.Cmd {
	if len(rows) != 1 || !rows[0].Adopted || e.Agent == nil {
		return nil
	}
	agent := e.Agent(e.Store.Ref(rows[0]))
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(e.Ctx, LookLimit)
		defer cancel()
		d, err := agent.Departure(ctx)
		if err != nil {
			return nil // what is said is true without it
		}
		return screen.Amend{Do: func() {
			c.Lost[0] = Ends(d)
			if s := Stays(d); s != "" {
				c.Kept = append(c.Kept, s)
			} else {
				c.Lost = append(c.Lost, "Berth's agent and its folder there are removed.")
			}
		}}
	}
}
