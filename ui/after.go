package ui

import (
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/ui/action"
	"berth/ui/screen"
)

// after is a shell that opens by itself once an instance is ready. Whatever the user does meanwhile
// calls it off: a shell must not take the terminal from somebody who looks at something else.
type after struct{ id, op string }

// afterFor is how long an instance may take for its shell to be still expected.
const afterFor = 10 * time.Second

type afterOverMsg struct{ a *after }

func (m *Model) shellWhenReady(msg screen.ShellWhenReady) tea.Cmd {
	a := &after{msg.ID, msg.OperationID}
	m.after = a
	return tea.Batch(m.checkAfter(), m.e.Tick(afterFor, func(time.Time) tea.Msg { return afterOverMsg{a} }))
}

// checkAfter opens the shell if the instance is ready, and forgets it if it will not be.
func (m *Model) checkAfter() tea.Cmd {
	if m.after == nil {
		return nil
	}
	r, op := m.e.Store.Row(m.after.id), m.e.Store.Op(m.after.id)
	mine := op != nil && op.ID == m.after.op
	switch {
	case mine && op.State.Done() && op.State != api.OpSucceeded:
		m.after = nil // the screen says what went wrong
		return nil
	case r == nil || r.State != api.StateRunning || op != nil && !op.State.Done():
		return nil
	}
	if len(m.dialogs) > 0 { // a question came up
		m.callOff("")
		return nil
	}
	m.after = nil
	if why := action.Why(m.e, r, action.Shell); why != "" {
		return screen.Warn(why)
	}
	return m.openShell(r.ID)
}

// callOff keeps the shell from opening by itself; why begins the notice.
func (m *Model) callOff(why string) {
	if m.after == nil {
		return
	}
	name := "the instance"
	if r := m.e.Store.Row(m.after.id); r != nil {
		name = r.Name
	}
	m.after = nil
	m.say(screen.Toast{Level: "info", Text: why + "t opens the shell of " + name + " when it is ready"})
}
