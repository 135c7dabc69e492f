package screen

import (
	"context"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/ui/age"
	"berth/ui/data"
	"berth/ui/seen"
	"berth/ui/theme"
)

// Config is the dashboard's part of the configuration. The zero value is usable.
type Config struct {
	Columns  []string // of the fleet, in order; empty: the usual ones
	Sort     string   // a column's name, with "-" before it to sort downwards
	MineOnly bool
	ReadOnly bool   // nothing can be changed from this dashboard
	ASCII    bool   // no character beyond ASCII; set by itself where the locale is not UTF-8
	Mouse    bool   // take the mouse at the start
	Theme    string // "auto", "dark", "light" or "none"
	Escape   string // the second detach key of a shell; empty: "ctrl-] d"
	Notify   string // how a new critical finding is told: "none", "bell", "osc9" or "osc777"; empty: "none"
	// JobBell is what is written to the terminal when a job of an instance has ended, and so many more; nil: nothing is.
	JobBell  func(instance string, j *api.Job, more int) string
	Defaults Defaults
	Commands []Command // of the command line: what the palette does not do itself it gives to copy
}

// Command is one of the command line: the words after "berth", and what it does.
type Command struct{ Path, Desc string }

// Defaults is what the create form starts with; empty fields take the backend's own.
type Defaults struct{ Backend, Size, Image string }

// Env is what all screens of one dashboard share. It belongs to the dashboard's loop.
type Env struct {
	Ctx    context.Context
	WS     Workspace
	Store  *data.Store
	Theme  *theme.Theme
	Config Config
	Now    func() time.Time
	// Tick returns a command that gives a message after d; tests put their own clock here.
	Tick func(d time.Duration, f func(time.Time) tea.Msg) tea.Cmd
	// Post hands a message to the dashboard's loop from any goroutine; it may block until it is taken.
	Post func(tea.Msg)
	// Agent returns the agent of an instance by its ref; nil: there is no way to any.
	Agent func(ref string) Agent
	// Jobs returns the queue of an instance by its ref; nil: there is no way to any.
	Jobs func(ref string) Jobs
	// Ports returns what listens on an instance by its ref; nil: there is no way to any.
	Ports func(ref string) Ports
	// Forwards are those of this dashboard; nil: nothing can be forwarded from here.
	Forwards Forwards
	// Browse opens a page in the user's browser; nil: there is none here.
	Browse func(url string) error
	// Seen is how far the queues were seen; nil: that is not kept.
	Seen *seen.File
	// BuildImage makes an image of an instance; nil: it can't be done from here.
	BuildImage func(ctx context.Context, r api.ImageRequest) (api.Operation, error)
	// SSHHosts lists the hosts that the user's own ssh has names for; nil: none are known here.
	SSHHosts func() []string
	// Blurred says that the terminal is not looked at; screens are told by Looked when it changes.
	Blurred bool
	// ReadOnly is the switch as it stands now; Config.ReadOnly can't be undone.
	ReadOnly bool
	MouseOn  bool
	CanShell bool // a terminal can be given to a shell
	// LocalGPUs says that this computer has GPUs, for the first screen.
	LocalGPUs bool
	HasLocal  bool // a backend can adopt this computer
	// ShellAfter remembers, by backend, whether the shell of a new instance is to be opened.
	ShellAfter map[string]bool

	queue  []tea.Msg // what the root does next
	clock  time.Time // the time of the frame being drawn
	expire time.Time // when something on it changes by itself
}

// Send has the root do something right after what is being handled, before the next key: keys that
// were typed ahead find the dialog that they are meant for. It returns nil, for Do functions.
func (e *Env) Send(m tea.Msg) tea.Cmd {
	e.queue = append(e.queue, m)
	return nil
}

// Next takes the oldest message that was sent; the root calls it.
func (e *Env) Next() (tea.Msg, bool) {
	if len(e.queue) == 0 {
		return nil, false
	}
	m := e.queue[0]
	e.queue = e.queue[1:]
	return m, true
}

// BeginFrame fixes the time for what is drawn next.
func (e *Env) BeginFrame() {
	e.clock = e.Now()
	e.expire = time.Time{}
}

// Expires returns when the frame that was drawn last will be out of date by itself; zero is never.
func (e *Env) Expires() time.Time { return e.expire }

// Clock is the time of the frame being drawn.
func (e *Env) Clock() time.Time { return e.clock }

// ExpireAt says that what is being drawn changes at t.
func (e *Env) ExpireAt(t time.Time) {
	if e.expire.IsZero() || t.Before(e.expire) {
		e.expire = t
	}
}

// Elapsed writes how long it is since t, in seconds at first, and has the frame drawn again in time.
func (e *Env) Elapsed(t time.Time) string { return e.age(t, age.Elapsed) }

// Age writes how long ago t was, in minutes and more.
func (e *Env) Age(t time.Time) string { return e.age(t, age.Coarse) }

func (e *Env) age(t time.Time, f func(time.Duration) (string, time.Duration)) string {
	if t.IsZero() {
		return ""
	}
	s, next := f(e.clock.Sub(t))
	e.ExpireAt(e.clock.Add(next))
	return s
}
