package action

import (
	"fmt"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/base/shellquote"
	"berth/ui/data"
	"berth/ui/dialog"
	"berth/ui/screen"
)

func copyItem(what, value string) dialog.Item {
	return dialog.Item{Label: what, Detail: value, Do: screen.Send(screen.Copy{What: what, Text: value})}
}

// CopyMenu offers the values of an instance for the clipboard.
func CopyMenu(e *screen.Env, r *data.Row) tea.Cmd {
	m := &dialog.Menu{Title: "Copy from " + r.Name}
	add := func(what, v string) {
		if v != "" && v != "0" {
			m.Items = append(m.Items, copyItem(what, v))
		}
	}
	add("name", r.Name)
	add("shell command", Command(e, Shell, []*data.Row{r}))
	add("address", r.Address)
	if r.Address != "" && r.SSHEnabled {
		line := []string{"ssh"}
		if r.Port != 0 && r.Port != 22 {
			line = append(line, "-p", fmt.Sprint(r.Port))
		}
		to := r.Address
		if r.User != "" {
			to = r.User + "@" + to
		}
		add("plain ssh", shellquote.Line(append(line, to)...))
	}
	add("port", fmt.Sprint(r.Port))
	add("user", r.User)
	add("working directory", r.Workdir)
	add("state", string(r.State))
	add("reason", r.StateReason)
	add("size", r.Size)
	add("image", r.Image)
	add("region", r.Region)
	add("owner", r.Owner)
	add("assigned to", r.AssignedTo)
	add("id", r.ID)
	add("provider's id", r.ProviderID)
	add("provider's name", r.ProviderName)
	if op := e.Store.Op(r.ID); op != nil && op.Error != nil {
		add("last error", op.Error.Message)
	}
	add("notes", strings.Join(r.Notes, "\n"))
	return e.Send(screen.Show{Dialog: m})
}

// Commands offers the command lines that do what the keys do.
func Commands(e *screen.Env, rows []*data.Row) tea.Cmd {
	if len(rows) == 0 {
		return nil
	}
	m := &dialog.Menu{Title: "The same from a shell: " + names(rows), Keys: "enter copy " + e.Theme.Dot + " esc close"}
	verbs := []string{Toggle(rows[0]), Restart, Delete}
	if len(rows) == 1 {
		verbs = []string{"show", Shell, Toggle(rows[0]), Restart, Delete}
	}
	for _, v := range verbs {
		c := Command(e, v, rows)
		detail := ""
		if v != "show" {
			detail = Why(e, rows[0], v)
		}
		m.Items = append(m.Items, dialog.Item{Label: c, Detail: detail, Do: screen.Send(screen.Copy{What: "the command line",
			Text: c})})
	}
	for _, c := range []string{"berth ls", "berth events " + shellquote.Word(e.Store.Ref(rows[0]))} {
		m.Items = append(m.Items, dialog.Item{Label: c, Do: screen.Send(screen.Copy{What: "the command line", Text: c})})
	}
	return e.Send(screen.Show{Dialog: m})
}
