package ui

import (
	"context"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/ui/data"
	"berth/ui/dialog"
	"berth/ui/draw"
	"berth/ui/key"
	"berth/ui/screen"
	"berth/ui/theme"
)

// Model is the root of the dashboard, a tea.Model. Run makes one; tests drive one by hand.
type Model struct {
	e       *screen.Env
	look    theme.Options
	stack   []screen.Screen
	names   []string // what each of the stack was opened as
	dialogs []*shown
	toast   screen.Toast
	until   time.Time // when the toast goes; zero: at the next key
	w, h    int

	hooks   Hooks
	opening context.CancelFunc // gives up the shell that is being opened
	page    draw.Page
	bar     draw.Line
	body    [2]int // first line and height of the screen's page in the last frame
	frame   string
	tick    time.Time // when the next tick comes
	lastKey time.Time
	after   *after // the shell that opens by itself
	ears    ears
	failed  *failure // the notice of failed actions, while it is shown
	// verb: it was opened for one instance alone, by a verb, and ends as that would; interrupted: it was, at a question.
	verb, interrupted bool
}

// Hooks is what the outside world does for the root; nil where it can't be done.
type Hooks struct {
	// Copy puts text into the clipboard of whoever sits before the terminal.
	Copy func(string) error
	// Shell opens a terminal on an instance; it may take a while and ends with ctx.
	Shell func(ctx context.Context, ref string, rows, cols int) (Shell, error)
	// Exec gives the terminal to a command; nil: tea.Exec.
	Exec func(tea.ExecCommand, tea.ExecCallback) tea.Cmd
	// Blur is told whether the terminal is looked at.
	Blur func(blurred bool)
	// Notify tells somebody who does not look, by what Config.Notify names.
	Notify func(sequence string) error
}

// shown is a dialog with the place where it was drawn.
type shown struct {
	screen.Dialog
	x, y, w, h int
	from       time.Time // from when on it takes keys
}

// surprise is for how long a question that comes up in the middle of typing takes no keys: what was
// meant for something else must not answer it.
const surprise = 700 * time.Millisecond

// Shell is an opened terminal stream that can be given the user's terminal.
type Shell interface {
	tea.ExecCommand
	// Result says how it ended: one line for people, and an error.
	Result() (string, error)
	Close() error
}

type (
	tickMsg     time.Time
	darkMsg     bool
	questionMsg struct {
		q     api.Question
		reply func(api.Answer)
	}
	withdrawMsg struct{ id string }
	openedMsg   struct {
		ref   string
		shell Shell
		err   error
	}
	shellDoneMsg struct {
		ref   string
		shell Shell
		err   error
	}
)

// NewModel makes a dashboard over an Env, of width by height cells. Run makes one; so do tests.
func NewModel(e *screen.Env, look theme.Options, h Hooks, width, height int) *Model {
	e.Theme = theme.New(look)
	if e.Tick == nil {
		e.Tick = tea.Tick
	}
	e.ReadOnly = e.Config.ReadOnly
	if h.Exec == nil {
		h.Exec = tea.Exec
	}
	m := &Model{e: e, look: look, hooks: h, w: width, h: height, ears: ears{}}
	m.stack, m.names = []screen.Screen{makers["fleet"](e, "")}, []string{"fleet"}
	return m
}

// Init implements tea.Model.
func (m *Model) Init() tea.Cmd {
	m.render()
	return tea.Batch(m.top().Init(), m.schedule())
}

func (m *Model) top() screen.Screen { return m.stack[len(m.stack)-1] }

// View implements tea.Model: the frame was drawn by Update.
func (m *Model) View() string { return m.frame }

// Update implements tea.Model.
func (m *Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	cmd := m.dispatch(msg)
	m.render()
	if next := m.schedule(); next != nil {
		cmd = tea.Batch(cmd, next)
	}
	return m, cmd
}

// schedule asks for one tick at the time when what is shown changes by itself. A tick that comes too
// early, because the screen has changed since, costs one drawing and no byte.
func (m *Model) schedule() tea.Cmd {
	at := m.e.Expires()
	if at.IsZero() || (!m.tick.IsZero() && !m.tick.After(at)) {
		return nil
	}
	m.tick = at
	return m.e.Tick(max(at.Sub(m.e.Now()), time.Millisecond), func(t time.Time) tea.Msg { return tickMsg(at) })
}

// dispatch handles a message, and then what that had the root do.
func (m *Model) dispatch(msg tea.Msg) tea.Cmd {
	cmds := []tea.Cmd{m.handle(msg)}
	for {
		next, ok := m.e.Next()
		if !ok {
			break
		}
		cmds = append(cmds, m.handle(next))
	}
	return tea.Batch(cmds...)
}

func (m *Model) handle(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.w, m.h = msg.Width, msg.Height
	case tickMsg:
		if time.Time(msg).Equal(m.tick) {
			m.tick = time.Time{}
		}
	case tea.KeyMsg:
		return m.keys(msg)
	case tea.MouseMsg:
		return m.mouse(msg)
	case data.Delta:
		fresh := m.e.Store.Apply(msg)
		return tea.Batch(m.tell(screen.Changed{Fresh: fresh}), m.checkAfter(), m.listen(msg.Changed, msg.Removed))
	case heardMsg:
		return m.hear(msg)
	case listenMsg:
		if msg.of.busy = false; msg.of.again {
			return m.listenTo(msg.of)
		}
	case data.FigureDelta:
		m.ring(m.e.Store.ApplyFigures(msg, m.e.Now()))
		return m.tell(screen.Measured{})
	case tea.FocusMsg, tea.BlurMsg:
		_, m.e.Blurred = msg.(tea.BlurMsg)
		if m.hooks.Blur != nil {
			m.hooks.Blur(m.e.Blurred)
		}
		return m.tell(screen.Looked{})
	case darkMsg:
		if m.look.Dark != bool(msg) {
			m.look.Dark = bool(msg)
			m.e.Theme = theme.New(m.look)
		}
	case questionMsg:
		m.show(dialog.NewAsk(msg.q, msg.reply))
		if now := m.e.Now(); now.Sub(m.lastKey) < surprise {
			m.dialogs[len(m.dialogs)-1].from = now.Add(surprise)
		}
	case withdrawMsg:
		m.withdraw(msg.id)
	case screen.Open:
		return m.open(msg.Name, msg.Arg)
	case screen.Back:
		return m.back()
	case screen.Show:
		m.show(msg.Dialog)
	case screen.Amend:
		msg.Do()
	case screen.Act:
		return msg.Do()
	case screen.Toast:
		m.say(msg)
	case screen.Copy:
		return m.copy(msg)
	case screen.Done:
		m.done(msg)
		return m.tell(msg)
	case screen.Shell:
		return m.openShell(msg.ID)
	case screen.ShellWhenReady:
		return m.shellWhenReady(msg)
	case afterOverMsg:
		if m.after == msg.a {
			m.callOff("it takes longer than " + afterFor.String() + ": ")
		}
	case openedMsg:
		return m.opened(msg)
	case shellDoneMsg:
		return m.shellDone(msg)
	default:
		return m.tell(msg)
	}
	return nil
}

// tell passes a message to every screen on the stack: answers find the one that asked.
func (m *Model) tell(msg tea.Msg) tea.Cmd {
	var cmds []tea.Cmd
	for _, s := range m.stack {
		if c := s.Update(msg); c != nil {
			cmds = append(cmds, c)
		}
	}
	return tea.Batch(cmds...)
}

func (m *Model) open(name, arg string) tea.Cmd {
	mk := makers[name]
	if mk == nil {
		return screen.Warn("there is no screen " + name)
	}
	first, _, _ := strings.Cut(arg, " ")
	as := strings.TrimSpace(name + " " + first)
	if m.names[len(m.names)-1] == as {
		return screen.Info("this is the screen that it opens: " + strings.Join(m.path(), " "+m.e.Theme.Right+" "))
	}
	s := mk(m.e, arg)
	m.stack, m.names = append(m.stack, s), append(m.names, as)
	return s.Init()
}

func (m *Model) back() tea.Cmd {
	if len(m.stack) == 1 {
		return nil
	}
	s := m.top()
	m.stack, m.names = m.stack[:len(m.stack)-1], m.names[:len(m.names)-1]
	if c, ok := s.(interface{ Close() }); ok {
		c.Close()
	}
	was, about := s.(screen.Subject)
	if to, ok := m.top().(screen.Selecter); ok && about {
		if r := was.Subjects(); len(r) == 1 {
			to.Select(r[0].ID)
		}
	}
	return nil
}

func (m *Model) show(d screen.Dialog) { m.dialogs = append(m.dialogs, &shown{Dialog: d}) }

// closeDialog takes a dialog off, wherever it is.
func (m *Model) closeDialog(d *shown) {
	for i, x := range m.dialogs {
		if x == d {
			m.dialogs = append(m.dialogs[:i], m.dialogs[i+1:]...)
			return
		}
	}
}

// withdraw closes the dialog of a question that needs no answer any more.
func (m *Model) withdraw(id string) {
	for _, d := range m.dialogs {
		if a, ok := d.Dialog.(*dialog.Ask); ok && a.Q.ID == id {
			m.closeDialog(d)
			return
		}
	}
}

const (
	infoFor = 6 * time.Second
	warnFor = 12 * time.Second
)

func (m *Model) say(t screen.Toast) {
	m.toast = t
	switch t.Level {
	case "info":
		m.until = m.e.Now().Add(infoFor)
	case "warn":
		m.until = m.e.Now().Add(warnFor)
	default:
		m.until = time.Time{}
	}
}

func (m *Model) copy(c screen.Copy) tea.Cmd {
	if m.hooks.Copy == nil {
		return screen.Warn("this terminal has no clipboard to copy to")
	}
	return func() tea.Msg {
		if err := m.hooks.Copy(c.Text); err != nil {
			return screen.Toast{Level: "error", Text: "copying " + c.What + " failed: " + err.Error()}
		}
		return screen.Toast{Level: "info", Text: "copied " + c.What + ": " + c.Text}
	}
}

// Env returns what the model's screens share.
func (m *Model) Env() *screen.Env { return m.e }

// Subjects are the instances that actions are meant for now.
func (m *Model) Subjects() []*data.Row {
	if s, ok := m.top().(screen.Subject); ok {
		return s.Subjects()
	}
	return nil
}

// Keys are the bindings of the screen on top, and all that hold there.
func (m *Model) Keys() (own, all []key.Binding) {
	own = m.top().Keys()
	return own, slices.Concat(own, m.instanceKeys(), m.globals())
}

// Topic is what the screen on top is about.
func (m *Model) Topic() string { return m.top().Topic() }
