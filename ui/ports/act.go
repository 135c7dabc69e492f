package ports

import (
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/backend/base/shellquote"
	"berth/backend/transport/forward"
	"berth/ui/dialog"
	"berth/ui/screen"
)

// begunMsg is a forward that was begun, or not.
type begunMsg struct {
	of    *Ports
	t     forward.Target
	local forward.Local
	err   error
	open  bool // it is to be opened, too
}

// forward begins to forward what is under the cursor.
func (s *Ports) forward() tea.Cmd { return s.begin(false) }

// open opens it in the browser.
func (s *Ports) open() tea.Cmd { return s.begin(true) }

// begin forwards it, which may take a moment: who holds a port that is taken is looked for.
func (s *Ports) begin(open bool) tea.Cmd {
	i, ok := s.Row()
	if !ok || s.e.Forwards == nil || s.e.Ports == nil || s.row() == nil {
		return nil
	}
	t, name, post := s.rows[i].target(), s.name, s.e.Post
	o := forward.Options{Spec: forward.Spec{Local: t.Port, Target: t}, Instance: name, Network: s.network,
		Open: forward.To(name, s.e.Ports(s.e.Store.Ref(s.row())), t), Failed: func(err error) {
			e := api.AsError(err)
			post(screen.Toast{Level: "warn", Text: strings.TrimSuffix(e.Message+"; "+e.Hint, "; ")})
		}}
	m, set, id := begunMsg{of: s, t: t, open: open}, s.e.Forwards, s.id
	return func() tea.Msg {
		m.local, m.err = set.Begin(id, o)
		return m
	}
}

// begun says where it is forwarded to, and opens it if that was asked for.
func (s *Ports) begun(m begunMsg) tea.Cmd {
	what := s.name + ":" + m.t.String()
	switch {
	case m.err != nil:
		return screen.Warn(what + " is not forwarded: " + api.AsError(m.err).Message)
	case m.local.SSH != "":
		return s.e.Send(screen.Show{Dialog: s.bastion(what, m.local)})
	case !m.open && m.local.Taken != "":
		return screen.Info(what + " is here as " + m.local.Address + ": " + m.local.Taken)
	case !m.open:
		return screen.Info(what + " is here as " + m.local.Address + " while this dashboard runs")
	case s.e.Browse == nil:
		return s.e.Send(screen.Show{Dialog: &dialog.Notice{Title: "Open " + what, Text: m.local.URL,
			Hint: "No browser can be opened from here: open the link in yours.", Verb: "Copy it", Key: "y",
			Do: screen.Send(screen.Copy{What: "the link", Text: m.local.URL})}})
	}
	browse, url := s.e.Browse, m.local.URL
	return func() tea.Msg {
		if err := browse(url); err != nil {
			return screen.Toast{Level: "warn", Text: "opening " + url + " failed: " + err.Error()}
		}
		return screen.Toast{Level: "info", Text: "opened " + url}
	}
}

// bastion says what is to be run on the computer that one has come from.
func (s *Ports) bastion(what string, l forward.Local) *dialog.Notice {
	n := &dialog.Notice{Title: what + " from your computer",
		Text: "This host is one that you have come to by SSH: " + what + " is forwarded to a socket of yours on it. " +
			"On the computer that you sit at, run\n\n" + l.SSH, Verb: "Copy the command", Key: "y",
		Do: screen.Send(screen.Copy{What: "the command", Text: l.SSH})}
	if l.URL != "" {
		n.Text += "\n\nand open " + l.URL
	}
	return n
}

// end ends the forward under the cursor.
func (s *Ports) end() tea.Cmd {
	r := s.rows[s.At]
	s.e.Forwards.End(s.id, r.target())
	s.Keep(s.lay)
	return screen.Info(s.name + ":" + r.what() + " is not forwarded any more")
}

func (s *Ports) copy() tea.Cmd {
	r := s.rows[s.At]
	h := s.here(&r)
	switch {
	case h == nil && r.Socket != "":
		return s.e.Send(screen.Copy{What: "the path", Text: r.Socket})
	case h == nil:
		return s.e.Send(screen.Copy{What: "the port", Text: r.what()})
	case h.SSH != "":
		return s.e.Send(screen.Copy{What: "the command", Text: h.SSH})
	case h.URL != "":
		return s.e.Send(screen.Copy{What: "the link", Text: h.URL})
	}
	return s.e.Send(screen.Copy{What: "the address", Text: h.Address})
}

func (s *Ports) command() tea.Cmd {
	what := "PORT"
	if i, ok := s.Row(); ok {
		what = s.rows[i].what()
	}
	return s.e.Send(screen.Copy{What: "the command line",
		Text: shellquote.Line("berth", "forward", s.e.Store.Ref(s.row()), what)})
}
