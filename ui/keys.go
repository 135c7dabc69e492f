package ui

import (
	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/ui/dialog"
	"berth/ui/key"
	"berth/ui/screen"
)

// keys routes a key: to the dialog on top, to a screen that is typed into, to the screen's bindings,
// to those that hold everywhere.
func (m *Model) keys(k tea.KeyMsg) tea.Cmd {
	// Keys that were typed fast come as one message; as commands they are still one each.
	if k.Type == tea.KeyRunes && len(k.Runes) > 1 && !k.Paste {
		var cmds []tea.Cmd
		for _, r := range k.Runes {
			one := tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{r}, Alt: k.Alt}
			if r == ' ' {
				one.Type = tea.KeySpace
			}
			cmds = append(cmds, m.dispatch(one))
		}
		return tea.Batch(cmds...)
	}
	m.toast = screen.Toast{}
	now := m.e.Now()
	m.lastKey = now
	m.callOff("")
	switch k.String() {
	case "ctrl+c":
		if m.refuse() && !m.verb { // the question was meant
			return nil
		}
		return m.quit()
	case "ctrl+d":
		if m.verb && m.refuse() {
			return m.quit()
		}
	case "ctrl+z":
		return tea.Suspend
	case "ctrl+l":
		return tea.ClearScreen
	}
	if n := len(m.dialogs); n > 0 {
		d := m.dialogs[n-1]
		if now.Before(d.from) && k.String() != "esc" {
			return nil
		}
		done, cmd := d.Update(k)
		if done {
			m.closeDialog(d)
		}
		return cmd
	}
	s := m.top()
	if t, ok := s.(screen.Typer); ok && t.Typing() {
		if k.String() == "f1" {
			return m.open("help", m.helpArg())
		}
		return s.Update(k)
	}
	if k.Paste {
		return screen.Warn("pasted text is not taken as keys")
	}
	b := key.Find(s.Keys(), k.String())
	if b == nil {
		b = key.Find(m.instanceKeys(), k.String())
	}
	if b == nil {
		b = key.Find(m.globals(), k.String())
	}
	switch {
	case b == nil:
		return screen.Warn(key.Idle(k.String()))
	case b.Why != "":
		return screen.Warn(b.Why)
	}
	return b.Do()
}

// refuse refuses the question that is open, if there is one.
func (m *Model) refuse() bool {
	n := len(m.dialogs)
	if n == 0 {
		return false
	}
	a, ok := m.dialogs[n-1].Dialog.(*dialog.Ask)
	if ok {
		a.Reply(api.Answer{Refused: true})
		m.closeDialog(m.dialogs[n-1])
		m.interrupted = m.verb
	}
	return ok
}

func (m *Model) quit() tea.Cmd {
	if m.opening != nil {
		m.opening()
	}
	return tea.Quit
}

func (m *Model) toggleReadOnly() tea.Cmd {
	m.e.ReadOnly = !m.e.ReadOnly
	if m.e.ReadOnly {
		return screen.Info("read-only: nothing is changed from here until L is pressed again")
	}
	return screen.Info("actions are possible again")
}

func (m *Model) toggleMouse() tea.Cmd {
	m.e.MouseOn = !m.e.MouseOn
	s := screen.Info("the mouse is the terminal's: select text with it; M takes it back")
	if m.e.MouseOn {
		s = screen.Info("the mouse is the dashboard's; M lets it go")
	}
	return tea.Batch(m.mouseMode(), s)
}

func (m *Model) mouseMode() tea.Cmd {
	if m.e.MouseOn {
		return tea.EnableMouseCellMotion
	}
	return tea.DisableMouse
}

// mouse routes a mouse event to the dialog or screen under it.
func (m *Model) mouse(ev tea.MouseMsg) tea.Cmd {
	if ev.Action == tea.MouseActionPress {
		m.callOff("")
	}
	if n := len(m.dialogs); n > 0 {
		d := m.dialogs[n-1]
		ev.X, ev.Y = ev.X-d.x, ev.Y-d.y
		if ev.X < 0 || ev.Y < 0 || ev.X >= d.w || ev.Y >= d.h {
			return nil
		}
		done, cmd := d.Update(ev)
		if done {
			m.closeDialog(d)
		}
		return cmd
	}
	if ev.Y == 0 && m.body[0] > 0 {
		if ev.Action == tea.MouseActionPress && ev.Button == tea.MouseButtonLeft && len(m.stack) > 1 {
			return m.back()
		}
		return nil
	}
	ev.Y -= m.body[0]
	if ev.Y < 0 || ev.Y >= m.body[1] {
		return nil
	}
	if s, ok := m.top().(screen.Mouser); ok {
		return s.Mouse(ev)
	}
	return nil
}
