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
	"berth/ui/data"
	"berth/ui/dialog"
	"berth/ui/key"
	"berth/ui/list"
	"berth/ui/screen"
	"berth/ui/text"
)

// Snapshots is the screen.
type Snapshots struct {
	e *screen.Env
	list.List
	id, name string
	all      []api.Snapshot  // all there are
	rows     []api.Snapshot  // those that are shown
	dropping map[string]bool // those that are being deleted
	want     string          // the one that the cursor goes to when it is there

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
	s.Begin(list.Of{Len: func() int { return len(s.rows) }, ID: func(i int) string { return s.rows[i].Name }, Lay: s.lay,
		By: func() []string { return []string{"taken", "name"} }, Went: func(int) tea.Cmd { s.want = ""; return nil }}, "")
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
func (s *Snapshots) Title() string { return "snapshots" }

// About implements screen.About.
func (s *Snapshots) About() string { return s.name }

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
	case tea.KeyMsg:
		return s.Type(m)
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
	first := !s.loaded
	s.loaded, s.all = true, m.list
	s.Keep(s.lay)
	switch {
	case s.want != "" && s.To(s.want):
		s.want = ""
	case first: // the newest
		s.At = max(0, len(s.rows)-1)
	}
}

// lay lists the snapshots that match, in order.
func (s *Snapshots) lay() {
	match := list.Match(s.Words())
	s.rows = nil
	for _, x := range s.all {
		if match == nil || match(x.Name, x.Name+" "+x.Description) {
			s.rows = append(s.rows, x)
		}
	}
	if s.Sort == "name" {
		slices.SortStableFunc(s.rows, func(a, b api.Snapshot) int { return text.Natural(a.Name, b.Name) })
	}
	if s.Down {
		slices.Reverse(s.rows)
	}
}

// here reports whether there is a snapshot under the cursor.
func (s *Snapshots) here() bool { return s.At >= 0 && s.At < len(s.rows) }

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
	if !s.here() {
		return "there is no snapshot here"
	}
	if n := s.rows[s.At].Name; s.dropping[n] {
		return n + " is being deleted"
	}
	return ""
}

// Keys implements screen.Screen.
func (s *Snapshots) Keys() []key.Binding {
	if s.Typing() {
		return s.List.Keys()
	}
	none, gone := "", ""
	if !s.here() {
		none = "there is no snapshot here"
	}
	if s.row() == nil {
		gone = s.name + " is gone"
	}
	bs := []key.Binding{
		key.Of("enter", s.why(action.Restore), s.restore).As("restore").Saying("Go back to the snapshot; asks first."),
		{Keys: []string{"a"}, Label: "add one", Group: key.Looking, Desc: "Keep the instance as it is now; asks for a name.",
			Why: s.why(action.Snapshot), Do: s.take},
		{Keys: []string{"x", "delete"}, Label: "remove", Group: key.Looking, Desc: "Delete the snapshot; asks first.",
			Why: s.why(action.DropSnapshot), Do: s.drop},
		key.Of("y", none, func() tea.Cmd {
			return s.e.Send(screen.Copy{What: "the name", Text: s.rows[s.At].Name})
		}).As("copy").Saying("Copy the snapshot's name."),
		key.Of("c", gone, func() tea.Cmd {
			return s.e.Send(screen.Copy{What: "the command line", Text: action.Command(s.e, "snapshot ls", s.Subjects())})
		}),
		key.Of("R", gone, s.ask).Saying("Ask for the list again."),
	}
	return append(bs, s.List.Keys()...)
}

// propose makes a name of the time that no snapshot has.
func (s *Snapshots) propose() string {
	base := "snap-" + s.e.Now().Local().Format("20060102-1504")
	name := base
	for n := 2; s.find(s.all, name) >= 0; n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	return name
}

// fault says what is wrong with the name of a new snapshot, or "".
func (s *Snapshots) fault(name string) string {
	switch {
	case name == "":
		return "it needs a name"
	case s.find(s.all, name) >= 0:
		return "there is a snapshot " + name + " already"
	}
	return action.NameFault(name)
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
	x, r := s.rows[s.At], s.row()
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
	x := s.rows[s.At]
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

// when writes a time as the command line does.
func when(t time.Time) string { return strings.TrimSpace(t.Local().Format("2006-01-02 15:04")) }
