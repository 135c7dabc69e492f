package ui

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"golang.org/x/term"

	"berth/backend/api"
	"berth/backend/transport/forward"
	"berth/ui/data"
	"berth/ui/renderer"
	"berth/ui/screen"
	"berth/ui/seen"
	"berth/ui/termquery"
	"berth/ui/theme"
)

// Workspace is what the dashboard asks of the service; *api.WorkspaceClient is one.
type Workspace = screen.Workspace

// Config is the dashboard's part of the configuration.
type Config = screen.Config

// Command is a command of the command line, as the palette needs to know it.
type Command = screen.Command

// Defaults is what the create form starts with.
type Defaults = screen.Defaults

// Options says where and over what the dashboard runs.
type Options struct {
	// NewClient makes the client of the workspace; its Answer must be the function given. The
	// dashboard keeps the client's stream of questions open, attaches shells through it, and asks it
	// all else if Workspace is nil.
	NewClient func(answer func(context.Context, api.Question) (api.Answer, error)) *api.WorkspaceClient
	Workspace Workspace
	Config    Config
	In        *os.File            // a terminal; nil: standard input
	Out       *os.File            // nil: standard output
	Getenv    func(string) string // nil: os.Getenv
	SSHHosts  func() []string     // the hosts that the user's own ssh has names for; nil: none are offered
	LocalGPUs bool                // this computer has GPUs: the first screen offers to adopt it
	Seen      string              // the file that keeps how far the queues were seen; empty: none does
	Place     forward.Place       // where forwards listen
	Top       string              // begin with the figures of this instance; empty: with the fleet
}

// Run opens the dashboard and returns when it is left. It stops nothing that was asked for. Opened on the figures of
// one instance, it returns api.ErrInterrupted where a question was answered with ctrl-C or ctrl-D.
func Run(ctx context.Context, o Options) error {
	if o.In == nil {
		o.In = os.Stdin
	}
	if o.Out == nil {
		o.Out = os.Stdout
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if !term.IsTerminal(int(o.In.Fd())) || !term.IsTerminal(int(o.Out.Fd())) {
		return api.Errorf(api.CodeUsage, "the dashboard needs a terminal, and standard input or output is none").
			WithHint("berth ls lists the fleet without one")
	}
	w, h, err := term.GetSize(int(o.Out.Fd()))
	if err != nil {
		return fmt.Errorf("asking the terminal for its size: %w", err)
	}
	// A terminal that is closed ends the dashboard, also while a shell has it.
	ctx, cancel := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer cancel()

	q := &questions{}
	var client *api.WorkspaceClient
	if o.NewClient != nil {
		client = o.NewClient(q.answer)
		defer client.Close()
		if o.Workspace == nil {
			o.Workspace = client
		}
	}
	if o.Workspace == nil {
		return errors.New("ui.Run: neither a client nor a workspace was given")
	}
	e := &screen.Env{Ctx: ctx, WS: o.Workspace, Store: data.NewStore(), Config: o.Config, Now: time.Now,
		MouseOn: o.Config.Mouse, LocalGPUs: o.LocalGPUs, CanShell: client != nil, Seen: seen.Open(o.Seen)}
	t := &terminal{in: o.In, out: o.Out, Renderer: renderer.New(o.Out)}
	if err := t.take(); err != nil {
		return err
	}
	defer t.give()

	if a, ok := o.Workspace.(interface{ AgentOf(string) screen.Agent }); ok {
		e.Agent = a.AgentOf
	} else if client != nil {
		e.Agent = func(ref string) screen.Agent { return client.Agent(ref) }
		e.Jobs = func(ref string) screen.Jobs { return client.Agent(ref).Jobs() }
		e.Ports = func(ref string) screen.Ports { return api.PortsOf(client.Agent(ref)) }
		forwards := forward.NewSet(o.Place)
		defer forwards.Close()
		e.Forwards = forwards
	}
	e.Browse = browser(ctx, o.Getenv)
	e.SSHHosts = o.SSHHosts
	if client != nil {
		e.BuildImage = client.OwnImages().Build
	}

	var p *tea.Program
	e.Post = func(m tea.Msg) { p.Send(m) }
	feed := data.NewFeed(o.Workspace, func(d data.Delta) { p.Send(d) })
	figures := data.NewFigureFeed(o.Workspace, func(d data.FigureDelta) { p.Send(d) }, e.Now)
	hooks := Hooks{Copy: t.copy, Notify: t.Write, Blur: func(b bool) { feed.SetBlurred(b); figures.SetBlurred(b) }}
	if client != nil {
		hooks.Shell = shellOpener(ctx, client, t, o.Getenv, o.Config.Escape, q)
	}
	m := NewModel(e, theme.Detect(o.Getenv, o.Config.Theme, o.Config.ASCII), hooks, w, h)
	m.verb = o.Top != ""
	in := &termquery.Reader{File: o.In}
	p = tea.NewProgram(&painted{m, t}, tea.WithInput(in), tea.WithOutput(o.Out), tea.WithoutRenderer(),
		tea.WithFilter(t.filter))
	in.Dark = func(dark bool) { go p.Send(darkMsg(dark)) } // the reader must not wait for the loop
	in.Gone = cancel

	t.Start(o.Config.Mouse)
	defer t.Stop()
	if asks(o.Getenv, o.Config.Theme) {
		_ = t.Write(termquery.Query) // a terminal that is gone is noticed by the reader
	}
	var wg sync.WaitGroup
	background := func(f func()) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			f()
		}()
	}
	// The program is asked to end, not killed: it would leave its reader of keys behind.
	background(func() {
		<-ctx.Done()
		p.Quit()
	})
	if o.Top != "" {
		background(func() { p.Send(screen.Open{Name: "top", Arg: o.Top}) })
	}
	background(func() { feed.Run(ctx) })
	background(func() { figures.Run(ctx) })
	background(func() { t.watchSize(ctx, p.Send) })
	if client != nil {
		q.mu.Lock()
		q.send = p.Send
		q.mu.Unlock()
		background(func() { _ = client.Questions(ctx) }) // it ends with ctx
	}
	_, err = p.Run()
	cancel()
	wg.Wait()
	if werr := e.Seen.Write(); werr != nil && err == nil {
		err = werr
	}
	if errors.Is(err, tea.ErrInterrupted) || errors.Is(err, context.Canceled) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the dashboard: %w", err)
	}
	if m.interrupted {
		return api.ErrInterrupted
	}
	return nil
}

// asks reports whether the terminal is asked for its background: not where the theme is fixed, and
// not those that would print the question.
func asks(getenv func(string) string, theme string) bool {
	t := getenv("TERM")
	return (theme == "" || theme == "auto") && t != "" && t != "dumb" && t != "linux"
}
