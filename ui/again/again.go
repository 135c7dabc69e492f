// Package again is the form that submits a job once more, with changes. What it doesn't show stays as it was: the
// environment, what is waited for, the elements of an array.
package again

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/google/uuid"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/backend/base/shellquote"
	"berth/ui/action"
	"berth/ui/data"
	"berth/ui/draw"
	"berth/ui/form"
	"berth/ui/job"
	"berth/ui/key"
	"berth/ui/money"
	"berth/ui/screen"
	"berth/ui/text"
	"berth/ui/theme"
)

const (
	fCommand = iota
	fName
	fDir
	fGroup
	fPriority
	fTimeout
	fRetries
	fMemory
	fHold
)

// Again is the screen.
type Again struct {
	e        *screen.Env
	f        form.Form
	id, name string // of the instance
	job      string
	jobs     screen.Jobs
	was      api.JobRequest
	line     string // of the command, as it was
	loaded   bool
	sending  bool
	err      *api.Error
	ctx      context.Context
	cancel   context.CancelFunc
}

type gotMsg struct {
	of  *Again
	q   api.JobRequest
	err error
}

type sentMsg struct {
	of  *Again
	job api.Job
	err error
}

// New makes the form; arg is the id of an instance and, behind a blank, that of a job.
func New(e *screen.Env, arg string) screen.Screen {
	a := &Again{e: e}
	a.id, a.job, a.name, _, a.jobs = job.Find(e, arg)
	a.ctx, a.cancel = context.WithCancel(e.Ctx)
	a.f.Button = "Submit"
	a.f.Fields = []*form.Field{{Name: "command"}, {Name: "name"}, {Name: "directory"}, {Name: "group"}, {Name: "priority"},
		{Name: "time limit"}, {Name: "retries"}, {Name: "memory"},
		{Name: "hold", Switch: true, OnText: "it waits until it is released", OffText: "it begins when there is room"}}
	a.f.Fields[fTimeout].Input.Hint = "90m, 12h; empty: none"
	a.f.Fields[fGroup].Input.Hint = "empty: none"
	a.f.Fields[fMemory].Input.Hint = "at most, 8GB; empty: all"
	return a
}

// Close ends what the form waits for.
func (a *Again) Close() { a.cancel() }

// Init implements screen.Screen.
func (a *Again) Init() tea.Cmd {
	if a.jobs == nil {
		a.err = api.Errorf(api.CodeUnsupported, "there is no way to jobs from here")
		return nil
	}
	return func() tea.Msg {
		q, err := a.jobs.Request(a.ctx, a.job)
		return gotMsg{a, q, err}
	}
}

// fill puts what the job was asked for into the form.
func (a *Again) fill(q api.JobRequest) {
	a.was, a.loaded = q, true
	a.line = shellquote.Line(q.Argv...)
	if q.Shell && len(q.Argv) == 1 {
		a.line = q.Argv[0]
	}
	set := func(i int, s string) { a.f.Fields[i].Input.Set(plaintext.Clean(s)) }
	for i, s := range map[int]string{fCommand: a.line, fDir: q.Workdir} {
		if s != plaintext.Clean(s) || !utf8.ValidString(s) {
			a.f.Fields[i].Off = "it has what can't be typed here; it stays as it was"
		}
	}
	set(fCommand, a.line)
	set(fName, q.Name)
	set(fDir, q.Workdir)
	if q.CopyOf != "" {
		a.f.Fields[fDir].Input.Hint = "in a copy of the job's own folder as it is now"
	}
	set(fGroup, q.Group)
	set(fPriority, strconv.Itoa(q.Priority))
	if q.TimeoutSeconds > 0 {
		set(fTimeout, time.Duration(q.TimeoutSeconds*float64(time.Second)).String())
	}
	set(fRetries, strconv.Itoa(q.Retries))
	if q.MemoryBytes > 0 {
		set(fMemory, money.Bytes(q.MemoryBytes))
	}
	for _, f := range a.f.Fields {
		if f.Off == "" {
			return
		}
		a.f.Focus++
	}
}

// request is what the form asks for; field and fault say what is wrong with it.
func (a *Again) request() (q api.JobRequest, field int, fault string) {
	q = a.was
	q.UUID = uuid.NewString()
	v := func(i int) string { return a.f.Fields[i].Value() }
	if f := a.f.Fields[fCommand]; f.Off == "" && f.Value() != strings.TrimSpace(a.line) {
		q.Argv = []string{v(fCommand)}
		if !q.Shell {
			argv, err := words(v(fCommand))
			if err != nil {
				return q, fCommand, err.Error()
			}
			q.Argv = argv
		}
		if len(q.Argv) == 0 || q.Argv[0] == "" {
			return q, fCommand, "what is to be run?"
		}
	}
	if f := a.f.Fields[fDir]; f.Off == "" {
		if q.Workdir = f.Value(); !q.WithinOwn() {
			q.CopyOf = "" // it is to run elsewhere
		}
	}
	q.Name, q.Group, q.Hold = v(fName), v(fGroup), a.f.Fields[fHold].On
	for _, n := range []struct {
		field int
		to    *int
	}{{fPriority, &q.Priority}, {fRetries, &q.Retries}} {
		var err error
		if *n.to, err = strconv.Atoi(cmp.Or(v(n.field), "0")); err != nil {
			return q, n.field, "a number is needed"
		}
	}
	if q.Retries == 0 {
		q.RetryOn = nil
	}
	switch s := v(fMemory); {
	case s == "":
		q.MemoryBytes = 0
	case q.MemoryBytes == 0 || s != money.Bytes(q.MemoryBytes): // else it is what it was, to the byte
		var ok bool
		if q.MemoryBytes, ok = money.ReadBytes(s); !ok {
			return q, fMemory, "an amount is needed: 8GB"
		}
	}
	q.TimeoutSeconds = 0
	if s := v(fTimeout); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 {
			return q, fTimeout, "a time is needed: 90m, 12h"
		}
		q.TimeoutSeconds = d.Seconds()
	}
	if q.TimeoutSeconds == 0 {
		q.Signal, q.SignalSeconds = "", 0 // it comes before the time limit
	}
	return q, 0, ""
}

// Update implements screen.Screen.
func (a *Again) Update(msg tea.Msg) tea.Cmd {
	switch m := msg.(type) {
	case gotMsg:
		switch {
		case m.of != a:
		case m.err != nil:
			a.err = api.AsError(m.err)
		default:
			a.fill(m.q)
		}
	case sentMsg:
		if m.of != a || !a.sending {
			return nil
		}
		a.sending = false
		if m.err != nil {
			a.err = api.AsError(m.err)
			return nil
		}
		a.e.Send(screen.Back{})
		if m.job.ID == nil {
			return nil
		}
		return tea.Batch(a.e.Send(screen.Open{Name: "job", Arg: a.id + " " + *m.job.ID}),
			screen.Info("it is job "+*m.job.ID+" of "+a.name))
	case tea.KeyMsg:
		return a.did(a.f.Update(m))
	}
	return nil
}

func (a *Again) did(ev form.Event) tea.Cmd {
	switch ev {
	case form.Cancel:
		return a.e.Send(screen.Back{})
	case form.Edited:
		a.err = nil
		for _, f := range a.f.Fields {
			f.Note, f.Bad = "", false
		}
	case form.Submit:
		return a.submit()
	}
	return nil
}

func (a *Again) submit() tea.Cmd {
	switch {
	case a.sending || !a.loaded:
		return nil
	case a.e.ReadOnly:
		return screen.Warn(action.ReadOnly)
	}
	q, field, fault := a.request()
	if fault != "" {
		a.f.Focus, a.f.Fields[field].Note, a.f.Fields[field].Bad = field, fault, true
		return nil
	}
	a.sending, a.err = true, nil
	return func() tea.Msg {
		j, err := a.jobs.Submit(a.e.Ctx, q) // also where the form is left meanwhile
		return sentMsg{a, j, err}
	}
}

// Title implements screen.Screen.
func (a *Again) Title() string { return "again" }

// About implements screen.About.
func (a *Again) About() string { return a.name }

// Topic implements screen.Screen.
func (a *Again) Topic() string { return "jobs" }

// Typing implements screen.Typer.
func (a *Again) Typing() bool { return true }

// Subjects implements screen.Subject.
func (a *Again) Subjects() []*data.Row {
	if r := a.e.Store.Row(a.id); r != nil {
		return []*data.Row{r}
	}
	return nil
}

// Keys implements screen.Screen.
func (a *Again) Keys() []key.Binding {
	const g = "The form"
	return []key.Binding{
		{Keys: []string{"enter"}, Label: "submit", Group: g, Desc: "Submit it, as a job of its own."},
		{Keys: []string{"tab"}, Label: "next", Group: g, Desc: "To the next field; shift+tab goes back."},
		{Keys: []string{"left"}, Show: "← →", Label: "change", Group: g, Desc: "Switch a switch."},
		{Keys: []string{"ctrl+s"}, Group: g, Desc: "Submit it, from any field."},
		{Keys: []string{"f1"}, Label: "help", Group: g, Desc: "This help."},
		{Keys: []string{"esc"}, Label: "cancel", Group: g, Desc: "Leave; nothing is submitted."},
	}
}

// Mouse implements screen.Mouser.
func (a *Again) Mouse(m tea.MouseMsg) tea.Cmd {
	if m.Action == tea.MouseActionPress && m.Button == tea.MouseButtonLeft {
		return a.did(a.f.Click(m.Y))
	}
	return nil
}

// Draw implements screen.Screen.
func (a *Again) Draw(p *draw.Page) {
	t := a.e.Theme
	if p.Height() >= 14 {
		p.Blank(1)
	}
	if !a.loaded {
		if a.err != nil {
			form.Error(p, t, a.err.Message, a.err.Hint)
			return
		}
		p.Line(theme.Ground).Space(3).Text(t.Dim, "Asking for what job "+a.job+" was"+t.Ellipsis)
		return
	}
	a.f.Button = "Submit"
	if a.sending {
		a.f.Button = "Submitting" + t.Ellipsis
	}
	a.f.Draw(p, t)
	if a.err != nil && p.Left() > 1 {
		p.Blank(1)
		form.Error(p, t, a.err.Message, a.err.Hint)
		return
	}
	if p.Left() < 4 {
		return
	}
	p.Blank(1)
	s := "This makes another job; job " + a.job + " stays as it is. Whatever is not shown here is asked for as it was then."
	for _, l := range text.Wrap(s, max(10, min(p.Width()-6, 76))) {
		p.Line(theme.Ground).Space(3).Text(t.Dim, l)
	}
}

// Status implements screen.Stater.
func (a *Again) Status(l *draw.Line) {
	if a.err != nil {
		l.Text(a.e.Theme.Bad, a.err.Message)
	}
}
