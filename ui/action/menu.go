package action

import (
	"cmp"
	"crypto/rand"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/backend/base/shellquote"
	"berth/ui/data"
	"berth/ui/dialog"
	"berth/ui/screen"
)

// Menu offers all that can be done to an instance; what can't be done has the reason beside it.
func Menu(e *screen.Env, r *data.Row) tea.Cmd {
	m := &dialog.Menu{Title: "What to do with " + r.Name}
	rows := []*data.Row{r}
	for _, x := range []struct{ verb, label, what string }{
		{Shell, "shell", "a terminal on it"}, {Toggle(r), Toggle(r), ""}, {Restart, "restart", ""},
		{Snapshot, "snapshot", "keep its disk as it is now"}, {Clone, "clone", "another instance with a copy of its disk"},
		{Image, "make an image", "of its disk, for instances to come"}, {Setup, "go on with the set-up", "from where it failed"},
		{LetGo, "let go of the set-up", "use it as it is"}, {Console, "console", "its last output"},
		{Delete, "delete", "with its disk; asks first"},
	} {
		why := Why(e, r, x.verb)
		if (x.verb == Setup || x.verb == LetGo) && r.State != api.StateSetupFailed {
			continue
		}
		it := dialog.Item{Label: x.label, Detail: x.what,
			Do: screen.Send(screen.Act{Do: func() tea.Cmd { return Do(e, x.verb, rows) }})}
		switch {
		case x.verb != Delete:
		case r.Adopted:
			it.Label, it.Detail = "forget", "the machine itself stays as it is"
		case r.Backend == "local": // it has no disk of its own
			it.Detail = "with its folder; asks first"
		}
		if why != "" {
			it.Detail, it.Do = e.Theme.Cross+" "+why, screen.Warn(why)
		}
		m.Items = append(m.Items, it)
	}
	return e.Send(screen.Show{Dialog: m})
}

// askName asks for the name of what a verb makes of an instance.
func askName(e *screen.Env, verb string, r *data.Row) tea.Cmd {
	p := &dialog.Prompt{Title: "Clone " + r.Name, Label: "name of the new instance", Verb: "Clone",
		Text: "Another instance is made, with a copy of its disk as it is now."}
	if verb == Image {
		p.Title, p.Label, p.Verb = "Make an image of "+r.Name, "name of the image", "Make it"
		p.Text = "Its disk is copied, so that the next instance starts with what is installed on it."
		if r.State == api.StateRunning {
			p.Text += " It is stopped meanwhile, and started again."
		}
	}
	p.Fault = func(name string) string {
		switch {
		case name == "":
			return "it needs a name"
		case verb == Clone && e.Store.ByName(name) != nil:
			return "there is an instance " + name + " already"
		}
		return NameFault(name)
	}
	p.Do = func(name string) tea.Cmd { return makeFrom(e, verb, r, name) }
	return e.Send(screen.Show{Dialog: p})
}

// Make makes a clone or an image of an instance, with a name.
func Make(e *screen.Env, verb string, r *data.Row, name string) tea.Cmd {
	if why := cmp.Or(Why(e, r, verb), NameFault(name)); why != "" {
		return screen.Warn(why)
	}
	return makeFrom(e, verb, r, name)
}

// makeFrom makes a clone or an image of an instance.
func makeFrom(e *screen.Env, verb string, r *data.Row, name string) tea.Cmd {
	ref, id := e.Store.Ref(r), rand.Text()
	line := "berth clone " + shellquote.Word(ref) + " " + shellquote.Word(name)
	if verb == Image {
		line = "berth image build " + shellquote.Word(name) + " --from " + shellquote.Word(ref)
	}
	return tea.Sequence(screen.Info(doing(verb, []*data.Row{r})+" "+r.Name+"   $ "+line), func() tea.Msg {
		d := screen.Done{Verb: verb, Ref: ref}
		if verb == Image {
			d.Op, d.Err = e.BuildImage(e.Ctx, api.ImageRequest{Name: name, From: ref, RequestID: id})
		} else {
			d.Op, d.Err = e.WS.Create(e.Ctx, api.CreateRequest{Name: name, From: ref, RequestID: id})
		}
		return d
	})
}
