package snapshots

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/ui/action"
	"berth/ui/create"
	"berth/ui/data"
	"berth/ui/dialog"
	"berth/ui/key"
	"berth/ui/screen"
)

// Snapshots is the screen.
type Snapshots struct {
	e        *screen.Env
	id, name string
	list     []api.Snapshot
	dropping map[string]bool // those that are being deleted
	want     string          // the one that the cursor goes to when it is there
	at, top  int
	view     int
	first    int // the line on which the list begins, for the mouse

	loaded    bool
	err       error
	asked     time.Time // when the question under way was put; zero: there is none
	seq       int       // of that question: older ones are answered too late
	ended     string    // the last operation that ended
	supported bool
	connected bool

	ctx    context.Context
	cancel context.CancelFunc
	stop   context.CancelFunc // gives up the question under way
}

type (
	gotMsg struct {
		of   *Snapshots
		seq  int
		list []api.Snapshot
		err  error
	}
	// meantMsg is what a dialog was answered with.
	meantMsg struct {
		of         *Snapshots
		verb, name string
	}
	droppedMsg struct {
		of   *Snapshots
		name string
		err  error
	}
)

// New makes the screen of the instance with the id arg.
func New(e *screen.Env, arg string) screen.Screen {
	s := &Snapshots{e: e, id: arg, name: arg, dropping: map[string]bool{}, connected: e.Store.Connected}
	s.ctx, s.cancel = context.WithCancel(e.Ctx)
	if r := s.row(); r != nil {
		s.name, s.supported = r.Name, action.NoSnapshots(r) == ""
	}
	if op := e.Store.Op(arg); op != nil && op.State.Done() {
		s.ended = op.ID
	}
	return s
}

// Close ends what the screen waits for.
func (s *Snapshots) Close() { s.cancel() }

// Init implements screen.Screen.
func (s *Snapshots) Init() tea.Cmd { return s.ask() }

// Title implements screen.Screen.
func (s *Snapshots) Title() string { return "snapshots of " + s.name }

// Topic implements screen.Screen.
func (s *Snapshots) Topic() string { return "instance" }

// Subjects implements screen.Subject.
func (s *Snapshots) Subjects() []*data.Row {
	if r := s.row(); r != nil {
		return []*data.Row{r}
	}
	return nil
}

func (s *Snapshots) row() *data.Row { return s.e.Store.Row(s.id) }

// ask fetches the list. A question that was not answered yet is given up: its answer may be old.
func (s *Snapshots) ask() tea.Cmd {
	r := s.row()
	if r == nil || action.NoSnapshots(r) != "" {
		return nil
	}
	if s.stop != nil {
		s.stop()
	}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(s.ctx)
	s.seq++
	s.asked = s.e.Now()
	seq, ref := s.seq, s.e.Store.Ref(r)
	return func() tea.Msg {
		list, err := s.e.WS.Snapshots(ctx, ref)
		return gotMsg{s, seq, list, err}
	}
}

// Update implements screen.Screen.
func (s *Snapshots) Update(msg tea.Msg) tea.Cmd {
	switch m := msg.(type) {
	case gotMsg:
		if m.of == s && m.seq == s.seq {
			s.got(m)
		}
	case screen.Changed:
		return s.changed()
	case meantMsg:
		if m.of == s {
			return s.meant(m)
		}
	case droppedMsg:
		if m.of == s {
			delete(s.dropping, m.name)
			return s.ask()
		}
	}
	return nil
}

func (s *Snapshots) got(m gotMsg) {
	s.stop()
	s.asked, s.err = time.Time{}, m.err
	if m.err != nil {
		return
	}
	was := s.want
	if s.find(m.list, was) < 0 && s.at < len(s.list) {
		was = s.list[s.at].Name
	}
	first := !s.loaded
	s.list, s.loaded = m.list, true
	switch i := s.find(s.list, was); {
	case i >= 0:
		s.at = i
		if was == s.want {
			s.want = ""
		}
	case first: // the newest
		s.at = len(s.list) - 1
	}
	s.move(0)
}

func (s *Snapshots) find(list []api.Snapshot, name string) int {
	return slices.IndexFunc(list, func(x api.Snapshot) bool { return x.Name == name })
}

// changed asks again where the list may be another now.
func (s *Snapshots) changed() tea.Cmd {
	again := s.e.Store.Connected && !s.connected // what ended meanwhile was not told
	s.connected = s.e.Store.Connected
	if op := s.e.Store.Op(s.id); op != nil && op.State.Done() && op.ID != s.ended {
		s.ended, again = op.ID, true
	}
	if r := s.row(); r != nil {
		s.name = r.Name
		can := action.NoSnapshots(r) == ""
		again = again || can && !s.supported
		s.supported = can
	}
	if again {
		return s.ask()
	}
	return nil
}

// why says why a verb can't be done now, or "".
func (s *Snapshots) why(verb string) string {
	r := s.row()
	if r == nil {
		return s.name + " is gone"
	}
	if w := action.Why(s.e, r, verb); w != "" {
		return w
	}
	if verb == action.Snapshot {
		return ""
	}
	if s.at >= len(s.list) {
		return "there is no snapshot here"
	}
	if n := s.list[s.at].Name; s.dropping[n] {
		return n + " is being deleted"
	}
	return ""
}

// Keys implements screen.Screen.
func (s *Snapshots) Keys() []key.Binding {
	const acts, look, move = "Acting", "Looking", "Moving"
	step := func(n int) func() tea.Cmd { return func() tea.Cmd { s.move(n); return nil } }
	none, gone := "", ""
	if s.at >= len(s.list) {
		none = "there is no snapshot here"
	}
	if s.row() == nil {
		gone = s.name + " is gone"
	}
	return []key.Binding{
		{Keys: []string{"n"}, Label: "take one", Group: acts, Desc: "Keep the instance as it is now; asks for a name.",
			Why: s.why(action.Snapshot), Do: s.take},
		{Keys: []string{"enter", "r"}, Show: "enter", Label: "restore", Group: acts,
			Desc: "Go back to the snapshot; asks first.", Why: s.why(action.Restore), Do: s.restore},
		{Keys: []string{"d"}, Label: "delete", Group: acts, Desc: "Delete the snapshot; asks first.",
			Why: s.why(action.DropSnapshot), Do: s.drop},
		{Keys: []string{"y"}, Label: "copy", Group: look, Desc: "Copy the snapshot's name.", Why: none, Do: func() tea.Cmd {
			return s.e.Send(screen.Copy{What: "the name", Text: s.list[s.at].Name})
		}},
		{Keys: []string{"c", "Y"}, Show: "c", Group: look, Desc: "Copy the command line that shows the same.", Why: gone,
			Do: func() tea.Cmd {
				return s.e.Send(screen.Copy{What: "the command line", Text: action.Command(s.e, "snapshot ls", s.Subjects())})
			}},
		{Keys: []string{"ctrl+r"}, Group: look, Desc: "Ask for the list again.", Why: gone, Do: s.ask},
		{Keys: []string{"down", "j"}, Show: "↓ j", Group: move, Desc: "Down.", Do: step(1)},
		{Keys: []string{"up", "k"}, Show: "↑ k", Group: move, Desc: "Up.", Do: step(-1)},
		{Keys: []string{"g", "home"}, Show: "g", Group: move, Desc: "To the oldest.", Do: step(-1 << 30)},
		{Keys: []string{"G", "end"}, Show: "G", Group: move, Desc: "To the newest.", Do: step(1 << 30)},
		{Keys: []string{"pgdown", "ctrl+f"}, Show: "pgdn", Group: move, Desc: "A page down.",
			Do: func() tea.Cmd { s.move(max(1, s.view)); return nil }},
		{Keys: []string{"pgup", "ctrl+b"}, Show: "pgup", Group: move, Desc: "A page up.",
			Do: func() tea.Cmd { s.move(-max(1, s.view)); return nil }},
	}
}

func (s *Snapshots) move(n int) {
	if n != 0 {
		s.want = ""
	}
	s.at = max(0, min(s.at+n, len(s.list)-1))
}

// propose makes a name of the time that no snapshot has.
func (s *Snapshots) propose() string {
	base := "snap-" + s.e.Now().Local().Format("20060102-1504")
	name := base
	for n := 2; s.find(s.list, name) >= 0; n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	return name
}

// fault says what is wrong with the name of a new snapshot, or "".
func (s *Snapshots) fault(name string) string {
	switch {
	case name == "":
		return "it needs a name"
	case s.find(s.list, name) >= 0:
		return "there is a snapshot " + name + " already"
	}
	return create.NameFault(name)
}

// meantBy has the screen do a verb when a dialog was answered with it.
func (s *Snapshots) meantBy(verb, name string) tea.Cmd {
	return screen.Send(meantMsg{s, verb, name})
}

func (s *Snapshots) take() tea.Cmd {
	r := s.row()
	p := &dialog.Prompt{Title: "Take a snapshot of " + s.name, Label: "name", Verb: "Take it", Fault: s.fault,
		Text: "Its disk is kept as it is now.", Do: func(name string) tea.Cmd { return s.meantBy(action.Snapshot, name) }}
	if r.State != api.StateStopped {
		p.Text = "Its disk is kept as it is now, and its memory where it runs: it stands still until that is written."
	}
	if w := r.Capabilities.Why["snapshots"]; w != "" { // it can have some, but not always
		p.Text += "\nMind: " + w + "."
	}
	p.Suggest(s.propose())
	return s.e.Send(screen.Show{Dialog: p})
}

func (s *Snapshots) restore() tea.Cmd {
	x, r := s.list[s.at], s.row()
	since := "it was taken"
	if !x.CreatedAt.IsZero() {
		since = when(x.CreatedAt)
	}
	c := &dialog.Confirm{Title: "Take " + s.name + " back to " + x.Name + "?", Verb: "Restore", Danger: true,
		Lost:    []string{"Everything that was written since " + since + " is lost for good."},
		Command: action.SnapshotCommand(s.e, action.Restore, r, x.Name), Do: s.meantBy(action.Restore, x.Name)}
	if r.State != api.StateStopped {
		c.Lost = append(c.Lost, "What runs there now ends: shells, kernels, jobs.")
	}
	if x.Memory {
		c.Kept = append(c.Kept, "It runs afterwards as it ran then.")
	} else {
		c.Kept = append(c.Kept, "It is stopped afterwards; start it again.")
	}
	c.Kept = append(c.Kept, "Its snapshots stay. One taken now would keep what is lost.")
	return s.e.Send(screen.Show{Dialog: c})
}

func (s *Snapshots) drop() tea.Cmd {
	x := s.list[s.at]
	return s.e.Send(screen.Show{Dialog: &dialog.Confirm{Title: "Delete the snapshot " + x.Name + "?", Verb: "Delete",
		Danger:  true,
		Lost:    []string{"There is no going back to " + x.Name + " any more."},
		Kept:    []string{s.name + " and its other snapshots stay as they are."},
		Command: action.SnapshotCommand(s.e, action.DropSnapshot, s.row(), x.Name), Do: s.meantBy(action.DropSnapshot,
			x.Name)}})
}

// meant does what was confirmed, if that can still be done: what the dialog was about may have gone.
func (s *Snapshots) meant(m meantMsg) tea.Cmd {
	r := s.row()
	if r == nil {
		return screen.Warn(s.name + " is gone")
	}
	if w := action.Why(s.e, r, m.verb); w != "" {
		return screen.Warn(w)
	}
	var then func(error) tea.Msg
	switch m.verb {
	case action.Snapshot:
		s.want = m.name
	case action.DropSnapshot:
		s.dropping[m.name] = true
		then = func(err error) tea.Msg { return droppedMsg{s, m.name, err} }
	}
	return action.OnSnapshot(s.e, m.verb, r, m.name, then)
}

// Mouse implements screen.Mouser.
func (s *Snapshots) Mouse(m tea.MouseMsg) tea.Cmd {
	i := s.top + m.Y - s.first
	switch {
	case m.Button == tea.MouseButtonWheelDown:
		s.move(3)
	case m.Button == tea.MouseButtonWheelUp:
		s.move(-3)
	case m.Action == tea.MouseActionPress && m.Button == tea.MouseButtonLeft && m.Y >= s.first && m.Y < s.first+s.view &&
		i < len(s.list):
		s.move(i - s.at)
	}
	return nil
}

// when writes a time as the command line does.
func when(t time.Time) string { return strings.TrimSpace(t.Local().Format("2006-01-02 15:04")) }
