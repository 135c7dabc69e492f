package adopt

import (
	"context"
	"fmt"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/backend/base/shellquote"
	"berth/ui/action"
	"berth/ui/dialog"
	"berth/ui/draw"
	"berth/ui/form"
	"berth/ui/key"
	"berth/ui/screen"
	"berth/ui/text"
	"berth/ui/theme"
)

const (
	fKind = iota
	fTarget
	fName
	fKey
	fShare
	fShell
)

// Adopt is the screen.
type Adopt struct {
	e       *screen.Env
	f       form.Form
	named   bool     // the name was typed, not derived
	hosts   []string // of ~/.ssh/config
	sending bool
	err     *api.Error
	told    bool // err stands below the form
	ctx     context.Context
	cancel  context.CancelFunc
}

// pickedMsg is a host that was chosen from the list.
type pickedMsg struct{ host string }

type sentMsg struct {
	op  api.Operation
	err error
}

// New makes the form; arg is a target, or "local".
func New(e *screen.Env, arg string) screen.Screen {
	a := &Adopt{e: e}
	if e.SSHHosts != nil {
		a.hosts = offered(e.SSHHosts())
	}
	a.ctx, a.cancel = context.WithCancel(e.Ctx)
	a.f.Button = "Adopt"
	a.f.Fields = []*form.Field{
		{Name: "machine", IsList: true, Options: []form.Option{
			{Value: "ssh", Label: "another machine", Detail: "one that you can ssh to"},
			{Value: "local", Label: "this computer", Detail: "with your own home, as you are logged in"},
		}},
		{Name: "target"},
		{Name: "name"},
		{Name: "host key"},
		{Name: "share"},
		{Name: "shell", Switch: true, OnText: "opens when it is ready", OffText: "not opened by itself; t opens it"},
	}
	if !e.CanShell {
		a.f.Fields[fShell].Off = "there is no terminal to give to a shell"
	}
	a.f.Fields[fTarget].Input.Hint = "user@host:port, or a Host of ~/.ssh/config"
	a.f.Fields[fName].Input.Hint = "3 to 24 letters, digits and -"
	a.f.Fields[fKey].Input.Hint = "SHA256:… to pin it; empty: you are asked"
	a.f.Fields[fShare].Input.Hint = "a shared folder that exists there; may stay empty"
	if e.Theme.ASCII {
		a.f.Fields[fKey].Input.Hint = "SHA256:... to pin it; empty: you are asked"
	}
	if arg == "local" || arg == "" && e.LocalGPUs {
		a.f.Fields[fKind].At = 1
	} else {
		a.f.Fields[fTarget].Input.Set(arg)
	}
	a.follow()
	a.f.Fields[fTarget].Note = a.offer()
	a.f.Focus = fTarget
	if a.local() {
		a.f.Focus = fName
	}
	return a
}

// Close ends what the form waits for.
func (a *Adopt) Close() { a.cancel() }

func (a *Adopt) local() bool { return a.f.Fields[fKind].Value() == "local" }

// follow brings the fields in line with the kind of machine and derives a name.
func (a *Adopt) follow() {
	off := ""
	if a.local() {
		off = "not needed: it is this computer"
	}
	a.f.Fields[fTarget].Off, a.f.Fields[fKey].Off = off, off
	if on, chosen := a.e.ShellAfter[a.remembered()]; chosen {
		a.f.Fields[fShell].On = on
	} else {
		a.f.Fields[fShell].On = a.local() // it is ready at once
	}
	if a.named {
		return
	}
	n := ""
	if a.local() {
		n = "this-computer"
	} else {
		n = nameFrom(a.f.Fields[fTarget].Value())
	}
	if a.local() {
		a.f.Fields[fName].Input.Suggest(n)
		return
	}
	a.f.Fields[fName].Input.Set(n)
}

// ours is how the names end that berth ssh-config gives to instances: they are adopted, or need not be.
const ours = ".berth"

// offered are the hosts that may be adopted.
func offered(hosts []string) []string {
	return slices.DeleteFunc(slices.Clone(hosts), func(h string) bool { return strings.HasSuffix(h, ours) })
}

// fitting are the hosts that begin as what was typed.
func (a *Adopt) fitting() []string {
	_, typed := a.user()
	var out []string
	for _, h := range a.hosts {
		if strings.HasPrefix(h, typed) {
			out = append(out, h)
		}
	}
	return out
}

// user is what was typed, in two: the user with its @, and the host.
func (a *Adopt) user() (user, host string) {
	v := a.f.Fields[fTarget].Value()
	i := strings.LastIndexByte(v, '@') + 1
	return v[:i], v[i:]
}

// completed is what was typed with what all hosts that begin so have in common.
func completed(typed string, hosts []string) string {
	if len(hosts) == 0 || typed == "" {
		return typed
	}
	user := typed[:strings.LastIndexByte(typed, '@')+1]
	common := hosts[0]
	for _, h := range hosts[1:] {
		for !strings.HasPrefix(h, common) {
			common = common[:len(common)-1]
		}
	}
	return user + common
}

// offer names the hosts that fit to what was typed.
func (a *Adopt) offer() string {
	_, typed := a.user()
	fit := a.fitting()
	switch {
	case a.local() || len(a.hosts) == 0:
		return ""
	case a.f.Fields[fTarget].Value() == "":
		return "enter lists the hosts of ~/.ssh/config"
	}
	if typed == "" || len(fit) == 0 || len(fit) == 1 && fit[0] == typed {
		return ""
	}
	const most = 8
	s := "in ~/.ssh/config: " + strings.Join(fit[:min(most, len(fit))], ", ")
	if len(fit) > most {
		s += fmt.Sprintf(" and %d more", len(fit)-most)
	}
	return s + " (tab completes)"
}

// pick opens the list of hosts.
func (a *Adopt) pick() tea.Cmd {
	m := &dialog.Menu{Title: "Adopt which host of ~/.ssh/config?"}
	for _, h := range a.hosts {
		m.Items = append(m.Items, dialog.Item{Label: h, Do: screen.Send(pickedMsg{h})})
	}
	return a.e.Send(screen.Show{Dialog: m})
}

// remembered is the name under which the choice of the shell is kept for the session.
func (a *Adopt) remembered() string { return "adopt " + a.f.Fields[fKind].Value() }

// nameFrom makes a name out of a target: the host's first label, without what a name can't have.
func nameFrom(target string) string {
	if i := strings.LastIndexByte(target, '@'); i >= 0 {
		target = target[i+1:]
	}
	target, _, _ = strings.Cut(target, ":")
	if strings.Trim(target, "0123456789.") == "" && target != "" {
		target = "host-" + strings.ReplaceAll(target, ".", "-")
	} else {
		target, _, _ = strings.Cut(target, ".")
	}
	var b strings.Builder
	for _, r := range target {
		if r < 0x80 && action.NameFault("abc"+string(r)) == "" {
			b.WriteRune(r)
		} else {
			b.WriteByte('-')
		}
	}
	s := b.String()
	if len(s) > 24 {
		s = s[:24]
	}
	return strings.Trim(s, "-")
}

// Init implements screen.Screen.
func (a *Adopt) Init() tea.Cmd { return nil }

// Title implements screen.Screen.
func (a *Adopt) Title() string { return "adopt" }

// Topic implements screen.Screen.
func (a *Adopt) Topic() string { return "adopt" }

// Typing implements screen.Typer.
func (a *Adopt) Typing() bool { return true }

// Update implements screen.Screen.
func (a *Adopt) Update(msg tea.Msg) tea.Cmd {
	switch m := msg.(type) {
	case tea.KeyMsg:
		switch t := a.f.Fields[fTarget]; {
		case m.String() == "ctrl+y":
			return a.e.Send(screen.Copy{What: "the command line", Text: a.Command()})
		case m.String() == "enter" && a.f.Focus == fTarget && t.Off == "" && t.Value() == "" && len(a.hosts) > 0:
			return a.pick()
		case m.String() == "tab" && a.f.Focus == fTarget && t.Off == "":
			if full := completed(t.Value(), a.fitting()); full != t.Value() {
				t.Input.Set(full)
				return a.did(form.Edited)
			}
		}
		return a.did(a.f.Update(m))
	case pickedMsg:
		a.f.Focus = fTarget
		a.f.Fields[fKind].At = 0
		a.f.Fields[fTarget].Input.Set(m.host)
		return a.did(form.Edited)
	case sentMsg:
		if !a.sending {
			return nil
		}
		a.sending = false
		if m.err != nil {
			a.err = api.AsError(m.err)
			return nil
		}
		a.e.Send(screen.Back{})
		a.e.Send(screen.Open{Name: "detail", Arg: m.op.InstanceID})
		if x := a.f.Fields[fShell]; x.On && x.Off == "" {
			a.e.Send(screen.ShellWhenReady{ID: m.op.InstanceID, OperationID: m.op.ID})
		}
		return nil
	}
	return nil
}

func (a *Adopt) did(ev form.Event) tea.Cmd {
	switch ev {
	case form.Cancel:
		return a.e.Send(screen.Back{})
	case form.Choose: // what is chosen stands there: go on
		switch {
		case a.local():
			return a.submit()
		case len(a.hosts) > 0 && a.f.Fields[fTarget].Value() == "":
			return a.pick()
		case a.f.Fields[fTarget].Value() == "":
			a.f.Focus = fTarget
		default:
			return a.submit()
		}
	case form.Edited:
		a.err = nil
		name := a.f.Fields[fName]
		switch a.f.Focus {
		case fName:
			a.named = true
		case fShell:
			if a.e.ShellAfter == nil {
				a.e.ShellAfter = map[string]bool{}
			}
			a.e.ShellAfter[a.remembered()] = a.f.Fields[fShell].On
		}
		a.follow()
		name.Note, name.Bad = "", false
		if v := name.Value(); v != "" && a.named {
			name.Note = action.NameFault(v)
			name.Bad = name.Note != "" && len(v) >= 3
		}
		a.f.Fields[fTarget].Note, a.f.Fields[fTarget].Bad = a.offer(), false
	case form.Submit:
		return a.submit()
	}
	return nil
}

func (a *Adopt) request() api.AdoptRequest {
	v := func(i int) string { return a.f.Fields[i].Value() }
	r := api.AdoptRequest{Name: v(fName), Share: v(fShare)}
	if a.local() {
		r.Local = true
	} else {
		r.Target, r.HostKey = v(fTarget), v(fKey)
	}
	return r
}

func (a *Adopt) submit() tea.Cmd {
	if a.sending {
		return nil
	}
	if a.e.ReadOnly {
		return screen.Warn(action.ReadOnly)
	}
	r := a.request()
	bad := func(i int, s string) tea.Cmd {
		a.f.Focus, a.f.Fields[i].Note, a.f.Fields[i].Bad = i, s, true
		return nil
	}
	if !r.Local && r.Target == "" {
		return bad(fTarget, "which machine? as you would name it to ssh")
	}
	if r.Name == "" {
		return bad(fName, "it needs a name")
	}
	if s := action.NameFault(r.Name); s != "" {
		return bad(fName, s)
	}
	a.sending, a.err = true, nil
	return func() tea.Msg {
		op, err := a.e.WS.Adopt(a.e.Ctx, r)
		return sentMsg{op, err}
	}
}

// Command is the command line that does the same as the form.
func (a *Adopt) Command() string {
	r := a.request()
	s := "berth adopt "
	if r.Name == "" {
		r.Name = "NAME"
	}
	s += shellquote.Word(r.Name)
	switch {
	case r.Local:
		s += " --local"
	case r.Target == "":
		s += " USER@HOST"
	default:
		s += " " + shellquote.Word(r.Target)
	}
	if r.HostKey != "" {
		s += " --host-key " + shellquote.Word(r.HostKey)
	}
	if r.Share != "" {
		s += " --share " + shellquote.Word(r.Share)
	}
	if x := a.f.Fields[fShell]; x.On && x.Off == "" {
		s += " && berth ssh " + shellquote.Word(r.Name)
	}
	return s
}

// Keys implements screen.Screen.
func (a *Adopt) Keys() []key.Binding {
	const g = "The form"
	return []key.Binding{
		{Keys: []string{"enter"}, Label: "adopt", Group: g, Desc: "Take the machine in; with no target, list those of ~/.ssh/config."},
		{Keys: []string{"tab"}, Label: "next", Group: g, Desc: "To the next field; shift+tab goes back."},
		{Keys: []string{"left"}, Show: "← →", Label: "change", Group: g, Desc: "Another value of a list."},
		{Keys: []string{"ctrl+s"}, Group: g, Desc: "Take the machine in, from any field."},
		{Keys: []string{"ctrl+y"}, Group: g, Desc: "Copy the command line that does the same."},
		{Keys: []string{"f1"}, Label: "help", Group: g, Desc: "This help."},
		{Keys: []string{"esc"}, Label: "cancel", Group: g, Desc: "Leave; nothing is changed."},
	}
}

// Mouse implements screen.Mouser.
func (a *Adopt) Mouse(m tea.MouseMsg) tea.Cmd {
	if m.Action == tea.MouseActionPress && m.Button == tea.MouseButtonLeft {
		was := a.f.Focus
		ev := a.f.Click(m.Y)
		if ev == form.Choose { // a click on the two values: go to the other
			a.f.Fields[fKind].At = 1 - a.f.Fields[fKind].At
			ev = form.Edited
		}
		if ev == form.Moved && a.f.Focus == fTarget && was == fTarget && len(a.hosts) > 0 && a.f.Fields[fTarget].Value() == "" {
			return a.pick()
		}
		return a.did(ev)
	}
	return nil
}

// Draw implements screen.Screen.
func (a *Adopt) Draw(p *draw.Page) {
	t := a.e.Theme
	if p.Height() >= 14 {
		p.Blank(1)
	}
	a.f.Button = "Adopt"
	if a.sending {
		a.f.Button = "Asking" + t.Ellipsis
	}
	a.f.Draw(p, t)
	a.told = a.err != nil && p.Left() > 1
	if a.told {
		p.Blank(1)
		form.Error(p, t, a.err.Message, a.err.Hint)
		return
	}
	if p.Left() < 4 {
		return
	}
	p.Blank(1)
	s := "Berth puts its agent into a folder of its own there and changes nothing else. Forgetting it later removes that and nothing else. An adopted machine can't be started or stopped from here."
	for _, l := range text.Wrap(s, min(p.Width()-6, 76)) {
		p.Line(theme.Ground).Space(3).Text(t.Dim, l)
	}
}

// Status implements screen.Stater.
func (a *Adopt) Status(l *draw.Line) {
	if a.err != nil && !a.told {
		l.Text(a.e.Theme.Bad, a.err.Message)
	}
}
