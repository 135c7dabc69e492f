package ui

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"golang.org/x/term"

	"berth/backend/api"
	"berth/ui/data"
	"berth/ui/screen"
	"berth/ui/tap"
	"berth/ui/theme"
)

// Workspace is what the dashboard asks of the service; *api.Client is one.
type Workspace = screen.Workspace

// Config is the dashboard's part of the configuration.
type Config = screen.Config

// Defaults is what the create form starts with.
type Defaults = screen.Defaults

// Options says where and over what the dashboard runs.
type Options struct {
	// NewClient makes the client of the workspace; its Answer must be the function given. The
	// dashboard keeps the client's stream of questions open, attaches shells through it, and asks it
	// all else if Workspace is nil.
	NewClient func(answer func(context.Context, api.Question) (api.Answer, error)) *api.Client
	Workspace Workspace
	Config    Config
	In        *os.File            // a terminal; nil: standard input
	Out       *os.File            // nil: standard output
	Getenv    func(string) string // nil: os.Getenv
	LocalGPUs bool                // this computer has GPUs: the first screen offers to adopt it
}

// Run opens the dashboard and returns when it is left. It stops nothing that was asked for.
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
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	q := &questions{}
	var client *api.Client
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
		MouseOn: o.Config.Mouse, LocalGPUs: o.LocalGPUs, CanShell: client != nil}
	var p *tea.Program
	feed := data.NewFeed(o.Workspace, func(d data.Delta) { p.Send(d) })
	hooks := Hooks{Copy: func(s string) error { return copyOSC52(o.Out, s) }, Blur: feed.SetBlurred}
	if client != nil {
		hooks.Shell = shellOpener(ctx, client, o.In, o.Out, o.Getenv, o.Config.Escape, q)
	}
	m := NewModel(e, theme.Detect(o.Getenv, o.Config.Theme, o.Config.ASCII), hooks, w, h)
	in := &tap.Tap{File: o.In}
	opts := []tea.ProgramOption{tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(o.Out), tea.WithAltScreen(), tea.WithReportFocus()}
	if o.Config.Mouse {
		opts = append(opts, tea.WithMouseCellMotion())
	}
	p = tea.NewProgram(&asking{Model: m, ask: func() tea.Msg {
		if asks(o.Getenv, o.Config.Theme) {
			_, _ = o.Out.WriteString(tap.Query) // a terminal that is gone is noticed elsewhere
		}
		return nil
	}}, opts...)
	in.Dark = func(dark bool) { go p.Send(darkMsg(dark)) } // the reader must not wait for the loop

	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		feed.Run(ctx)
	}()
	if client != nil {
		q.mu.Lock()
		q.send = func(msg tea.Msg) { p.Send(msg) }
		q.mu.Unlock()
		wg.Add(1)
		go func() {
			defer wg.Done()
			listen(ctx, client)
		}()
	}
	_, err = p.Run()
	cancel()
	wg.Wait()
	if errors.Is(err, tea.ErrInterrupted) || errors.Is(err, context.Canceled) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the dashboard: %w", err)
	}
	return nil
}

// asking is the model with one thing more to do at its start: asking the terminal for its colour,
// once it is in raw mode and its answers are not echoed.
type asking struct {
	*Model
	ask tea.Cmd
}

func (a *asking) Init() tea.Cmd { return tea.Batch(a.Model.Init(), a.ask) }

func (a *asking) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	_, cmd := a.Model.Update(msg)
	return a, cmd
}

// asks reports whether the terminal is asked for its background: not where the theme is fixed, and
// not those that would print the question.
func asks(getenv func(string) string, theme string) bool {
	t := getenv("TERM")
	return (theme == "" || theme == "auto") && t != "" && t != "dumb" && t != "linux"
}

// maxClipboard bounds what is copied; terminals cut or refuse longer OSC 52 sequences.
const maxClipboard = 74_000

// copyOSC52 puts text into the clipboard of whoever sits before the terminal.
func copyOSC52(out *os.File, s string) error {
	b := base64.StdEncoding.EncodeToString([]byte(s))
	if len(b) > maxClipboard {
		return fmt.Errorf("%d bytes are too many for a terminal's clipboard", len(s))
	}
	_, err := out.WriteString("\x1b]52;c;" + b + "\x07")
	return err
}
