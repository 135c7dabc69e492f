package ui

import (
	"context"
	"errors"
	"io"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/ui/action"
	"berth/ui/attach"
	"berth/ui/data"
	"berth/ui/dialog"
	"berth/ui/screen"
)

// connecting is the notice that stands while a shell is being opened; questions come over it.
type connecting struct {
	dialog.Notice
	give  func()
	taken bool // the shell is about to have the terminal: keys are not for the dashboard any more
}

// Update implements screen.Dialog: any way out gives up.
func (c *connecting) Update(msg tea.Msg) (bool, tea.Cmd) {
	if c.taken {
		return false, nil
	}
	done, cmd := c.Notice.Update(msg)
	if done {
		c.give()
	}
	return done, cmd
}

// openShell connects to a terminal on an instance; the dashboard stays usable meanwhile.
func (m *Model) openShell(id string) tea.Cmd {
	r := m.e.Store.Row(id)
	switch {
	case r == nil:
		return screen.Warn("this instance is gone")
	case m.hooks.Shell == nil:
		return screen.Warn("there is no terminal to give to a shell")
	case m.opening != nil:
		return screen.Warn("a shell is being opened already")
	}
	ref := m.e.Store.Ref(r)
	ctx, cancel := context.WithCancel(m.e.Ctx)
	m.opening = cancel
	m.show(&connecting{dialog.Notice{Title: "A shell on " + r.Name, Text: "Connecting" + m.e.Theme.Ellipsis,
		Hint: "enter ~ . will bring you back here."}, cancel, false})
	rows, cols := m.h, m.w
	return func() tea.Msg {
		s, err := m.hooks.Shell(ctx, ref, rows, cols)
		return openedMsg{ref, s, err}
	}
}

func (m *Model) opened(msg openedMsg) tea.Cmd {
	d := m.connecting()
	if m.opening != nil {
		defer m.opening() // the context was for opening only
		m.opening = nil
	}
	switch {
	case d == nil: // given up
		if msg.shell != nil {
			_ = msg.shell.Close() // nobody wants it any more; the terminal stays on the instance
		}
		return nil
	case msg.err != nil:
		m.closeDialog(d)
		m.done(screen.Done{Verb: action.Shell, Ref: msg.ref, Err: msg.err})
		return nil
	}
	d.Dialog.(*connecting).taken = true
	return m.hooks.Exec(msg.shell, func(err error) tea.Msg { return shellDoneMsg{msg.ref, msg.shell, err} })
}

// connecting is the dialog that stands while a shell is being opened, or nil.
func (m *Model) connecting() *shown {
	for _, d := range m.dialogs {
		if _, ok := d.Dialog.(*connecting); ok {
			return d
		}
	}
	return nil
}

func (m *Model) shellDone(msg shellDoneMsg) tea.Cmd {
	if d := m.connecting(); d != nil {
		m.closeDialog(d)
	}
	text, err := msg.shell.Result()
	if err == nil {
		err = msg.err
	}
	var ended *attach.Ended
	switch {
	case errors.As(err, &ended):
		m.show(m.ended(msg.ref, ended))
		m.dialogs[len(m.dialogs)-1].from = m.e.Now().Add(surprise) // what was typed to the terminal answers nothing here
	case err != nil && !errors.Is(err, context.Canceled):
		m.done(screen.Done{Verb: action.Shell, Ref: msg.ref, Err: err})
	default:
		m.say(screen.Toast{Level: "info", Text: msg.ref + ": " + text})
	}
	return nil
}

// ended says that the terminal that had the screen ended, and offers what goes on from there.
func (m *Model) ended(ref string, ended *attach.Ended) *dialog.Notice {
	e := api.AsError(ended)
	n := &dialog.Notice{Title: "A terminal on " + ref + " ended", Text: e.Message, Hint: e.Hint, Bad: true}
	r := m.e.Store.ByName(ref)
	switch {
	case r == nil || ended.Gone || m.e.ReadOnly:
	case ended.State == api.StateStopped || ended.State == api.StateStopping:
		n.Verb, n.Key, n.Do = "Start it", "s", action.Run(m.e, action.Start, []*data.Row{r}, api.ActionRequest{})
	default:
		n.Verb, n.Key, n.Do = "New terminal", "t", screen.Send(screen.Shell{ID: r.ID})
	}
	return n
}

// attachShell is the Shell of a real terminal.
type attachShell struct {
	ctx context.Context
	s   *attach.Session
	t   *terminal
	tty attach.Terminal
	res attach.Result
	err error
}

// Run implements tea.ExecCommand. The error is kept for Result, which knows what it means.
func (a *attachShell) Run() error {
	a.t.Pause()
	defer a.t.Resume()
	a.res, a.err = a.s.Run(a.ctx, a.tty)
	return nil
}

// The terminal is the program's own files, never bubbletea's wrapped ones.
func (a *attachShell) SetStdin(io.Reader)  {}
func (a *attachShell) SetStdout(io.Writer) {}
func (a *attachShell) SetStderr(io.Writer) {}

// Close implements Shell.
func (a *attachShell) Close() error { return a.s.Close() }

// Result implements Shell.
func (a *attachShell) Result() (string, error) { return a.res.String(), a.err }

// shellOpener opens shells through a client on a terminal.
func shellOpener(ctx context.Context, c *api.WorkspaceClient, t *terminal, getenv func(string) string, escape string,
	q *questions) func(context.Context, string, int, int) (Shell, error) {
	return func(opening context.Context, ref string, rows, cols int) (Shell, error) {
		req := api.TerminalRequest{Rows: uint16(rows), Cols: uint16(cols), Term: getenv("TERM")}
		for _, k := range []string{"COLORTERM", "LANG", "LC_ALL", "LC_CTYPE"} {
			if v := getenv(k); v != "" {
				req.Env = append(req.Env, k+"="+v)
			}
		}
		s, err := attach.Open(opening, c, ref, req)
		if err != nil {
			return nil, err
		}
		return &attachShell{ctx: ctx, s: s, t: t, tty: attach.Terminal{In: t.in, Out: t.out, Escape: escape, Asker: q.divert,
			Greeting: "[berth: a shell on " + ref + "; enter ~ . comes back, and the shell goes on]"}}, nil
	}
}
