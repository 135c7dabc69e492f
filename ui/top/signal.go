package top

import (
	"cmp"
	"fmt"
	"strconv"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/backend/base/shellquote"
	"berth/gpu"
	"berth/ui/action"
	"berth/ui/dialog"
	"berth/ui/screen"
)

// signals are what a process can be sent.
var signals = []struct{ name, what string }{
	{"TERM", "end, and tidy up before"},
	{"INT", "as ctrl-c does: a notebook's cell stops, its kernel stays"},
	{"KILL", "end at once; nothing is tidied up"},
	{"HUP", "its terminal has gone; many services read their settings again"},
	{"STOP", "halt; it keeps its memory, on the GPU too"},
	{"CONT", "go on after STOP"},
	{"USR1", "what the program makes of it"},
	{"USR2", "what the program makes of it"},
}

// cantSignal says why the thing can't be sent a signal, or "".
func (s *Top) cantSignal(k item) string {
	p := s.process(k)
	_, why := s.agent()
	switch {
	case k.kind != procItem:
		return "put the cursor on a process"
	case p == nil:
		return "this process is gone"
	case s.e.ReadOnly:
		return action.ReadOnly
	case why != "":
		return why
	case p.PID <= 1:
		return "process 1 holds up everything else: it is never signalled"
	case p.Owner.Kind == "agent":
		return "this is Berth's own agent: it is not signalled"
	}
	return ""
}

// process is the process that an item is about, or nil.
func (s *Top) process(k item) *gpu.Process {
	if s.sample == nil || k.kind != procItem {
		return nil
	}
	for i := range s.sample.Processes {
		if procKey(&s.sample.Processes[i]) == k.subject {
			return &s.sample.Processes[i]
		}
	}
	return nil
}

// signal asks which one, and then whether it is meant.
func (s *Top) signal() tea.Cmd {
	k, _ := s.current()
	p := s.process(k)
	if p == nil {
		return screen.Warn("this process is gone")
	}
	m := &dialog.Menu{Title: fmt.Sprintf("A signal to %d", p.PID)}
	for _, x := range signals {
		m.Items = append(m.Items, dialog.Item{Label: x.name, Detail: x.what, Do: s.confirm(*p, x.name, x.what)})
	}
	return s.e.Send(screen.Show{Dialog: m})
}

// foreign reports whether a process is somebody else's than the one as whom Berth works there.
func (s *Top) foreign(p *gpu.Process) bool {
	r := s.e.Store.Row(s.id)
	return r == nil || r.User == "" || p.User != r.User
}

func (s *Top) confirm(p gpu.Process, name, what string) tea.Cmd {
	pid := strconv.Itoa(p.PID)
	c := &dialog.Confirm{Title: "Send " + name + " to " + pid + "?", Verb: "Send " + name, Danger: name == "KILL",
		Text: plaintext.Clean(p.Command), Lost: []string{name + ": " + what}, Command: "berth exec " +
			shellquote.Word(s.name) + " -- kill -" + name + " " + pid}
	if o := owner(&p); p.Owner.Kind != "" {
		c.Lost = append(c.Lost, "it belongs to "+o)
	}
	if p.GPUMemory != nil {
		c.Lost = append(c.Lost, "it holds "+bytesOf(p.GPUMemory)+" of GPU memory")
	}
	other := s.foreign(&p)
	if other {
		c.Danger = true
		c.Lost = append(c.Lost, "it is a process of "+p.User+", not of "+s.user()+": this needs root there")
		c.Type = pid
	}
	c.Do = s.send(p, api.SignalRequest{Signal: name, StartedAt: p.StartedAt, Other: other})
	return screen.Send(screen.Show{Dialog: c})
}

func (s *Top) user() string {
	if r := s.e.Store.Row(s.id); r != nil && r.User != "" {
		return r.User
	}
	return "Berth's user"
}

type signalledMsg struct {
	of   *Top
	pid  int
	name string
	err  error
}

func (m signalledMsg) toast() tea.Cmd {
	if m.err != nil {
		e := api.AsError(m.err)
		t := e.Message
		if e.Hint != "" {
			t += " (" + e.Hint + ")"
		}
		return screen.Send(screen.Toast{Level: "error", Text: t})
	}
	return screen.Info(fmt.Sprintf("%s was sent to %d", m.name, m.pid))
}

func (s *Top) send(p gpu.Process, r api.SignalRequest) tea.Cmd {
	return func() tea.Msg {
		a, why := s.agent()
		if a == nil {
			return screen.Toast{Level: "warn", Text: why}
		}
		return signalledMsg{s, p.PID, r.Signal, a.SignalProcess(s.ctx, p.PID, r)}
	}
}

// owner says what a process belongs to: a job, a terminal, a container; one that Berth knows nothing of, to its user.
func owner(p *gpu.Process) string {
	o := p.Owner
	if o.Kind == "" {
		return "user " + cmp.Or(p.User, "not known")
	}
	s := o.Kind
	if o.ID != "" {
		s += " " + o.ID
	}
	if o.Name != "" {
		s += " " + o.Name
	}
	return s
}
