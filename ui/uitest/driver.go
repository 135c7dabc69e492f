package uitest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"
	"github.com/muesli/termenv"

	"berth/backend/api"
	"berth/ui"
	"berth/ui/data"
	"berth/ui/screen"
	"berth/ui/seen"
	"berth/ui/theme"
)

// Driver runs a dashboard by hand: keys are pressed by name, commands are run to their end, and time
// passes only when it is told to. Nothing sleeps.
type Driver struct {
	WS     *Workspace
	M      *ui.Model
	E      *screen.Env
	Feed   *data.Feed
	Meter  *data.FigureFeed
	Rung   []string // what made the terminal ring
	Copied []string // what went to the clipboard
	Shells []string // the instances whose shell was opened
	Asked  []api.Answer
	Opened []string // what was opened in the browser

	Forwards Forwards
	Quit     bool
	Other    []string // types of messages for bubbletea itself

	// OpenShell, if set, decides whether a shell can be opened.
	OpenShell func(ref string) error
	// ShellEnds is the error that a shell ends with.
	ShellEnds error

	clock   sync.Mutex // guards now: what runs beside the dashboard reads it
	now     time.Time
	timers  []timer
	results chan tea.Msg
	running int
	feed    *feed
}

// posted is a message from another goroutine.
type posted struct{ tea.Msg }

type timer struct {
	at time.Time
	f  func(time.Time) tea.Msg
}

// Options is how a driven dashboard looks.
type Options struct {
	Width, Height int
	Look          theme.Options // the zero value shows text only
	Config        screen.Config
	LocalGPUs     bool
	NoBrowser     bool
	Unloaded      bool        // the fleet has not come yet
	Past          []api.Event // what was while the dashboard was open
}

// Plain is the look of golden files: Unicode, no escape sequences.
var Plain = theme.Options{Profile: termenv.Ascii, Dark: true}

// Drive opens a dashboard on a workspace whose clock is the driver's.
func Drive(o Options, list ...api.Instance) *Driver {
	d := &Driver{now: Epoch, results: make(chan tea.Msg, 64)}
	if o.Config.Defaults.Backend == "" {
		o.Config.Defaults.Backend = "local" // as where nothing is configured
	}
	d.WS = newWorkspace(d.Now, o.Past, list)
	d.E = &screen.Env{Ctx: context.Background(), WS: d.WS, Store: data.NewStore(), Config: o.Config,
		Now: d.Now, Tick: d.tick, MouseOn: o.Config.Mouse, LocalGPUs: o.LocalGPUs, CanShell: true,
		Agent: d.WS.AgentOf, Jobs: d.WS.JobsOf, Seen: seen.Open(""),
		BuildImage: d.WS.BuildImage, Ports: d.WS.PortsOf, Forwards: &d.Forwards,
		Post: func(m tea.Msg) { d.results <- posted{m} }}
	if !o.NoBrowser {
		d.E.Browse = func(url string) error { d.Opened = append(d.Opened, url); return nil }
	}
	d.M = ui.NewModel(d.E, o.Look, ui.Hooks{
		Copy:   func(s string) error { d.Copied = append(d.Copied, s); return nil },
		Notify: func(s string) error { d.Rung = append(d.Rung, s); return nil },
		Shell:  d.open,
		Exec: func(c tea.ExecCommand, done tea.ExecCallback) tea.Cmd {
			return func() tea.Msg { return done(c.Run()) }
		},
	}, o.Width, o.Height)
	d.Feed = data.NewFeed(nil, nil)
	d.Meter = data.NewFigureFeed(nil, nil, d.Now)
	feed, snapshot := d.WS.subscribe()
	d.feed = feed
	if len(o.Past) > 0 {
		d.sawPast()
	}
	d.run(d.M.Init())
	if !o.Unloaded {
		d.Feed.Add(api.Change{Snapshot: snapshot, Complete: true})
	}
	d.Settle()
	return d
}

// sawPast has the dashboard see the events that the workspace has, as if it had been open all the time.
func (d *Driver) sawPast() {
	past, err := d.WS.Events(context.Background(), api.EventOptions{})
	if err != nil {
		panic(err)
	}
	for _, e := range past {
		d.feed.events = append(d.feed.events, api.Change{Event: &e})
	}
}

// Close ends the workspace.
func (d *Driver) Close() { d.WS.Close() }

// Now is the driver's clock.
func (d *Driver) Now() time.Time {
	d.clock.Lock()
	defer d.clock.Unlock()
	return d.now
}

func (d *Driver) setNow(t time.Time) {
	d.clock.Lock()
	defer d.clock.Unlock()
	d.now = t
}

func (d *Driver) tick(after time.Duration, f func(time.Time) tea.Msg) tea.Cmd {
	return func() tea.Msg { return timer{f: f, at: time.Time{}.Add(after)} }
}

// shell is a shell that ends at once, as its user leaves it or with an error.
type shell struct{ err error }

func (shell) Run() error                { return nil }
func (shell) SetStdin(io.Reader)        {}
func (shell) SetStdout(io.Writer)       {}
func (shell) SetStderr(io.Writer)       {}
func (shell) Close() error              { return nil }
func (s shell) Result() (string, error) { return "detached; the shell goes on", s.err }

func (d *Driver) open(_ context.Context, ref string, _, _ int) (ui.Shell, error) {
	if d.OpenShell != nil {
		if err := d.OpenShell(ref); err != nil {
			return nil, err
		}
	}
	d.Shells = append(d.Shells, ref)
	return shell{d.ShellEnds}, nil
}

// run starts a command in the background.
func (d *Driver) run(c tea.Cmd) {
	if c == nil {
		return
	}
	d.running++
	go func() { d.results <- c() }()
}

// Send gives the model a message and waits for what follows from it.
func (d *Driver) Send(msg tea.Msg) {
	d.update(msg)
	d.Settle()
}

func (d *Driver) update(msg tea.Msg) {
	switch m := msg.(type) {
	case nil:
		return
	case tea.BatchMsg:
		for _, c := range m {
			d.run(c)
		}
		return
	case tea.QuitMsg:
		d.Quit = true
		return
	case timer:
		m.at = d.now.Add(m.at.Sub(time.Time{}))
		d.timers = append(d.timers, m)
		return
	}
	if v := reflect.ValueOf(msg); v.Kind() == reflect.Slice && v.Type().Elem() == reflect.TypeFor[tea.Cmd]() {
		for i := range v.Len() { // a sequence: one after another
			if c, _ := v.Index(i).Interface().(tea.Cmd); c != nil {
				d.update(c())
			}
		}
		return
	}
	if t := fmt.Sprintf("%T", msg); strings.HasPrefix(t, "tea.") {
		d.Other = append(d.Other, t)
	}
	_, cmd := d.M.Update(msg)
	d.run(cmd)
}

// patience bounds how long a command of a test may take.
const patience = time.Minute

// Settle passes on what the workspace has told and waits until no command runs any more, but for those
// that follow a stream which has nothing new.
func (d *Driver) Settle() {
	for {
		p, figures := d.feed.take()
		for _, c := range p {
			d.Feed.Add(c)
		}
		if delta, ok := d.Feed.Take(); ok {
			d.update(delta)
		}
		for _, l := range figures {
			d.Meter.Add(l)
		}
		if delta, ok := d.Meter.Take(); ok {
			d.update(delta)
		}
		if d.running == d.WS.waits.count() && len(d.results) == 0 {
			if len(p)+len(figures) == 0 {
				return
			}
			continue
		}
		select {
		case msg := <-d.results:
			if m, ok := msg.(posted); ok {
				d.update(m.Msg)
				continue
			}
			d.running--
			d.update(msg)
		case <-d.WS.waits.more:
		case <-time.After(patience):
			panic("a command of the dashboard does not end")
		}
	}
}

// Pass lets time pass: timers that are due fire in order.
func (d *Driver) Pass(dt time.Duration) {
	end := d.now.Add(dt)
	for {
		slices.SortStableFunc(d.timers, func(a, b timer) int { return a.at.Compare(b.at) })
		if len(d.timers) == 0 || d.timers[0].at.After(end) {
			break
		}
		t := d.timers[0]
		d.timers = d.timers[1:]
		if t.at.After(d.now) {
			d.setNow(t.at)
		}
		d.update(t.f(d.now))
		d.Settle()
	}
	d.setNow(end)
	d.Settle()
}

// Timers is the number of timers that run.
func (d *Driver) Timers() int { return len(d.timers) }

// Connect tells the dashboard that the line is up or, with an error's text, down.
func (d *Driver) Connect(err string) {
	if err == "" {
		d.Send(data.Delta{Connected: true})
		return
	}
	d.Send(data.Delta{Err: errors.New(err)})
}

// Key makes the message of a key by its name, as bubbletea names it.
func Key(name string) tea.KeyMsg {
	for t := tea.KeyType(-100); t < 128; t++ {
		if k := (tea.KeyMsg{Type: t}); k.String() == name && t != tea.KeyRunes {
			if t == tea.KeySpace {
				k.Runes = []rune{' '}
			}
			return k
		}
	}
	if rest, ok := strings.CutPrefix(name, "alt+"); ok {
		k := Key(rest)
		k.Alt = true
		return k
	}
	return tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(name)}
}

// Press presses keys by name, one after another.
func (d *Driver) Press(names ...string) {
	for _, n := range names {
		d.Send(Key(n))
	}
}

// Together presses keys before any command that follows from the first has run.
func (d *Driver) Together(names ...string) {
	for _, n := range names {
		d.update(Key(n))
	}
	d.Settle()
}

// Type types a text.
func (d *Driver) Type(s string) {
	for _, r := range s {
		if r == ' ' {
			d.Press(" ")
			continue
		}
		d.Send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{r}})
	}
}

// Click clicks the first place on the screen where a text stands.
func (d *Driver) Click(s string) bool {
	x, y, ok := d.Find(s)
	if ok {
		d.Send(tea.MouseMsg{X: x, Y: y, Action: tea.MouseActionPress, Button: tea.MouseButtonLeft})
	}
	return ok
}

// Find returns the cell where a text begins.
func (d *Driver) Find(s string) (x, y int, ok bool) {
	for y, l := range d.Lines() {
		if i := strings.Index(l, s); i >= 0 {
			return ansi.StringWidth(l[:i]), y, true
		}
	}
	return 0, 0, false
}

// Resize changes the terminal's size.
func (d *Driver) Resize(w, h int) { d.Send(tea.WindowSizeMsg{Width: w, Height: h}) }

// Screen is the frame as text without escape sequences.
func (d *Driver) Screen() string { return ansi.Strip(d.M.View()) }

// Lines are the lines of the frame, without escape sequences.
func (d *Driver) Lines() []string { return strings.Split(d.Screen(), "\n") }

// Row returns the line of the cursor.
func (d *Driver) Row() string {
	for _, l := range d.Lines() {
		if strings.HasPrefix(l, "▌") || strings.HasPrefix(l, ">") {
			return l
		}
	}
	return ""
}

// Select puts the fleet's cursor on an instance.
func (d *Driver) Select(id string) {
	d.Press("g")
	for range d.E.Store.Len() {
		if r := d.M.Subjects(); len(r) == 1 && r[0].ID == id {
			return
		}
		d.Press("j")
	}
}
