package ui

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"sync"
	"syscall"

	tea "github.com/charmbracelet/bubbletea"
	"golang.org/x/term"

	"berth/ui/renderer"
)

// terminal is the user's terminal while the dashboard has it: raw, and painted by a Renderer instead
// of bubbletea's renderer.
type terminal struct {
	in, out *os.File
	*renderer.Renderer

	mu  sync.Mutex
	old *term.State // how it was; nil while it is not raw
}

// take puts the terminal into raw mode.
func (t *terminal) take() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.old != nil {
		return nil
	}
	old, err := term.MakeRaw(int(t.in.Fd()))
	if err != nil {
		return fmt.Errorf("putting the terminal into raw mode: %w", err)
	}
	t.old = old
	return nil
}

// give puts the terminal back as it was.
func (t *terminal) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.old != nil {
		_ = term.Restore(int(t.in.Fd()), t.old) // a terminal that is gone needs no restoring
		t.old = nil
	}
}

// The messages by which a model asks bubbletea's renderer for something; they are the Renderer's.
var (
	mouseOnMsg  = reflect.TypeOf(tea.EnableMouseCellMotion())
	mouseOffMsg = reflect.TypeOf(tea.DisableMouse())
	clearMsg    = reflect.TypeOf(tea.ClearScreen())
)

// filter takes the messages that are meant for the renderer.
func (t *terminal) filter(_ tea.Model, msg tea.Msg) tea.Msg {
	switch msg.(type) {
	case tea.SuspendMsg:
		t.Pause()
		t.give()
		return msg
	case tea.ResumeMsg:
		_ = t.take() // it worked before; if it fails, keys come line by line
		t.Resume()
		return msg
	}
	switch reflect.TypeOf(msg) {
	case mouseOnMsg:
		t.Mouse(true)
	case mouseOffMsg:
		t.Mouse(false)
	case clearMsg:
		t.Repaint()
	}
	return msg
}

// watchSize tells the program when the terminal's size changes, until ctx ends.
func (t *terminal) watchSize(ctx context.Context, send func(tea.Msg)) {
	winch := make(chan os.Signal, 1)
	signal.Notify(winch, syscall.SIGWINCH, syscall.SIGCONT)
	defer signal.Stop(winch)
	for {
		select {
		case <-ctx.Done():
			return
		case <-winch:
		}
		if w, h, err := term.GetSize(int(t.out.Fd())); err == nil {
			send(tea.WindowSizeMsg{Width: w, Height: h})
		}
	}
}

// maxClipboard bounds what is copied; terminals cut or refuse longer OSC 52 sequences.
const maxClipboard = 74_000

// copy puts text into the clipboard of whoever sits before the terminal (OSC 52).
func (t *terminal) copy(s string) error {
	b := base64.StdEncoding.EncodeToString([]byte(s))
	if len(b) > maxClipboard {
		return fmt.Errorf("%d bytes are too many for a terminal's clipboard", len(s))
	}
	return t.Write("\x1b]52;c;" + b + "\x07")
}

// painted is the model as it runs on a terminal: each frame goes to the painter.
type painted struct {
	*Model
	t *terminal
}

// Init implements tea.Model.
func (p *painted) Init() tea.Cmd {
	defer p.onPanic()
	cmd := p.Model.Init()
	p.t.Frame(p.frame, p.w, p.h)
	return cmd
}

// Update implements tea.Model.
func (p *painted) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	defer p.onPanic()
	_, cmd := p.Model.Update(msg)
	p.t.Frame(p.frame, p.w, p.h)
	return p, cmd
}

// View implements tea.Model; nobody draws what it returns.
func (p *painted) View() string { return "" }

// onPanic gives the screen back before bubbletea prints where the panic came from.
func (p *painted) onPanic() {
	if r := recover(); r != nil {
		p.t.Pause()
		p.t.give()
		panic(r)
	}
}
