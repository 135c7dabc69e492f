package screen

import (
	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/ui/data"
	"berth/ui/draw"
	"berth/ui/key"
)

// Screen is one page of the dashboard. Its methods are called in the dashboard's loop only.
type Screen interface {
	// Init is called once, when the screen is put on the stack.
	Init() tea.Cmd
	// Update takes messages that are not keys of the screen's bindings.
	Update(msg tea.Msg) tea.Cmd
	// Draw fills the page, whose size is the screen's.
	Draw(p *draw.Page)
	// Keys returns what keys do now.
	Keys() []key.Binding
	// Title is the screen's place in the path on top: one word, its name; empty where About says all.
	Title() string
	// Topic is the help page that belongs to the screen.
	Topic() string
}

// Typer is a screen that is, at times, typed into: then only ctrl-c and the like are taken before it.
type Typer interface{ Typing() bool }

// Mouser is a screen that takes the mouse. Coordinates are those of its page.
type Mouser interface {
	Mouse(m tea.MouseMsg) tea.Cmd
}

// Subject is a screen that is about instances: those that actions from the palette are meant for.
type Subject interface{ Subjects() []*data.Row }

// Pointer is a screen of many instances: Row is the one under the cursor, or nil.
type Pointer interface{ Row() *data.Row }

// About is a screen about one instance: its name stands in the path before the title.
type About interface{ About() string }

// Maker makes a screen; arg is what the screen is about and may be empty.
type Maker func(e *Env, arg string) Screen

// The messages by which screens ask the root for something.
type (
	// Open puts a registered screen on the stack.
	Open struct{ Name, Arg string }
	// Back takes the screen off the stack.
	Back struct{}
	// Toast shows one line in the footer. Level is "info", "warn" or "error".
	Toast struct{ Level, Text string }
	// Show opens a dialog over the screen.
	Show struct{ Dialog Dialog }
	// Shell gives the terminal to a shell on the instance.
	Shell struct{ ID string }
	// ShellWhenReady opens a shell on an instance as soon as the operation on it has succeeded,
	// unless the user does something else meanwhile or it takes too long.
	ShellWhenReady struct{ ID, OperationID string }
	// Copy puts text into the clipboard of the terminal's user. What names it for the footer.
	Copy struct{ What, Text string }
	// Changed follows each delta that was applied to the store. Fresh are the new rows.
	Changed struct{ Fresh []*data.Row }
	// Measured follows each delta of figures that was applied to the store.
	Measured struct{}
	// Amend changes, in the dashboard's loop, what an open dialog shows.
	Amend struct{ Do func() }
	// Act does something in the dashboard's loop: what a dialog leads to.
	Act struct{ Do func() tea.Cmd }
	// Looked follows a change of Env.Blurred.
	Looked struct{}
	// Done ends an action: what it was, and its error.
	Done struct {
		Verb, Ref string
		Op        api.Operation
		Err       error
	}
)

// Dialog is a box over the screen. It takes all keys until it is done.
type Dialog interface {
	// Update returns done when the dialog is to be closed.
	Update(msg tea.Msg) (done bool, cmd tea.Cmd)
	// Box draws the dialog in at most w by h cells, each line of the same width.
	Box(e *Env, w, h int) []string
}

// Send wraps a message into a command that is run later: what a dialog does when it is answered. What
// is to be done now is sent by Env.Send.
func Send(m tea.Msg) tea.Cmd { return func() tea.Msg { return m } }

// Info, Warn are toasts.
func Info(s string) tea.Cmd { return Send(Toast{"info", s}) }

// Warn shows why something was not done.
func Warn(s string) tea.Cmd { return Send(Toast{"warn", s}) }

// Stater is a screen that has something to say in the status line.
type Stater interface{ Status(l *draw.Line) }

// Commander is a form: Command is the command line that does the same, shown below it.
type Commander interface{ Command() string }

// Selecter is a screen with a cursor that can be put on an instance: on the one that the screen above
// it was about.
type Selecter interface{ Select(id string) }
