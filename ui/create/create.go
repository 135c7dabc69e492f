package create

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/ui/dialog"
	"berth/ui/draw"
	"berth/ui/form"
	"berth/ui/key"
	"berth/ui/money"
	"berth/ui/screen"
)

// The fields, in order.
const (
	fName = iota
	fBackend
	fSize
	fImage
	fSSH
	fNetwork
	fProfiles
	fSetup
	fShell
)

// debounce is how long typing must rest before the service is asked about a name.
const debounce = 250 * time.Millisecond

// Create is the screen.
type Create struct {
	e        *screen.Env
	f        form.Form
	backends []api.BackendInfo
	sizes    map[string][]api.Size
	images   map[string][]api.Image
	token    string // makes a repeated request the same request
	sending  bool
	wanted   bool // submitted, before what was asked of the service has come
	numbered int  // the number of the suggested name
	err      *api.Error
	told     bool // err stands below the form
	ctx      context.Context
	cancel   context.CancelFunc
}

type (
	backendsMsg struct {
		list []api.BackendInfo
		err  error
	}
	offersMsg struct {
		backend string
		sizes   []api.Size
		images  []api.Image
		err     error
	}
	restMsg    struct{ backend, name string }
	checkedMsg struct {
		backend, name string
		err           error
	}
	pickedMsg struct{ field, at int }
	sentMsg   struct {
		op  api.Operation
		err error
	}
)

// New makes the form; arg is a name to begin with.
func New(e *screen.Env, arg string) screen.Screen {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	c := &Create{e: e, sizes: map[string][]api.Size{}, images: map[string][]api.Image{}, token: hex.EncodeToString(b[:])}
	c.ctx, c.cancel = context.WithCancel(e.Ctx)
	c.f.Button = "Create"
	c.f.Fields = []*form.Field{
		{Name: "name"},
		{Name: "backend", IsList: true},
		{Name: "size", IsList: true},
		{Name: "image", IsList: true},
		{Name: "ssh", Switch: true, OnText: "open to others, by key only",
			OffText: "closed; Berth's own line is there all the same"},
		{Name: "network"},
		{Name: "profiles"},
		{Name: "set-up"},
		{Name: "shell", Switch: true, OnText: "opens when it is ready", OffText: "not opened by itself; t opens it"},
	}
	c.f.Fields[fName].Input.Hint = "3 to 24 letters, digits and -"
	c.f.Fields[fNetwork].Input.Hint = "the backend's own choice"
	c.f.Fields[fProfiles].Input.Hint = "what to install, as pytorch,r; may stay empty"
	c.f.Fields[fSetup].Input.Hint = "path of a script to run once; may stay empty"
	if !e.CanShell {
		c.f.Fields[fShell].Off = "there is no terminal to give to a shell"
	}
	if arg == "" {
		c.suggest()
	} else {
		c.f.Fields[fName].Input.Set(arg)
	}
	return c
}

// Close ends what the form waits for.
func (c *Create) Close() { c.cancel() }

// Init implements screen.Screen.
func (c *Create) Init() tea.Cmd {
	return tea.Batch(func() tea.Msg {
		list, err := c.e.WS.Backends(c.ctx)
		return backendsMsg{list, err}
	}, c.nameEdited())
}

// Title implements screen.Screen.
func (c *Create) Title() string { return "create" }

// Topic implements screen.Screen.
func (c *Create) Topic() string { return "create" }

// Typing implements screen.Typer.
func (c *Create) Typing() bool { return true }

func (c *Create) backend() string { return c.f.Fields[fBackend].Value() }

// Update implements screen.Screen.
func (c *Create) Update(msg tea.Msg) tea.Cmd {
	switch m := msg.(type) {
	case tea.KeyMsg:
		c.wanted = false
		if m.String() == "ctrl+y" {
			return c.e.Send(screen.Copy{What: "the command line", Text: c.Command()})
		}
		return c.did(c.f.Update(m))
	case screen.Changed:
		return c.changed()
	case backendsMsg:
		return tea.Batch(c.gotBackends(m), c.goOn())
	case offersMsg:
		c.gotOffers(m)
		return c.goOn()
	case restMsg:
		if m.name == c.f.Fields[fName].Value() && m.backend == c.backend() {
			return func() tea.Msg {
				return checkedMsg{m.backend, m.name, c.e.WS.CheckName(c.ctx, m.backend, m.name)}
			}
		}
	case checkedMsg:
		return tea.Batch(c.checked(m), c.goOn())
	case pickedMsg:
		c.f.Fields[m.field].At = m.at
		c.f.Focus = m.field
		return c.edited()
	case sentMsg:
		if !c.sending {
			return nil
		}
		c.sending = false
		if m.err != nil {
			c.err = api.AsError(m.err)
			return nil
		}
		c.e.Send(screen.Back{})
		c.e.Send(screen.Open{Name: "detail", Arg: m.op.InstanceID})
		if c.shell() {
			c.e.Send(screen.ShellWhenReady{ID: m.op.InstanceID, OperationID: m.op.ID})
		}
		return nil
	}
	return nil
}

func (c *Create) did(ev form.Event) tea.Cmd {
	switch ev {
	case form.Cancel:
		return c.e.Send(screen.Back{})
	case form.Edited:
		c.err = nil
		return c.edited()
	case form.Choose:
		return c.pick()
	case form.Submit:
		return c.submit()
	}
	return nil
}

// edited follows up on the field in focus.
func (c *Create) edited() tea.Cmd {
	switch c.f.Focus {
	case fName:
		return c.nameEdited()
	case fBackend:
		c.note(fBackend)
		return tea.Batch(c.offers(), c.nameEdited())
	case fSize, fImage:
		c.note(c.f.Focus)
	case fSetup, fProfiles, fNetwork:
		c.f.Fields[c.f.Focus].Note = ""
	case fShell:
		if c.e.ShellAfter == nil {
			c.e.ShellAfter = map[string]bool{}
		}
		c.e.ShellAfter[c.backend()] = c.f.Fields[fShell].On
	}
	return nil
}

// pick opens the list of the field in focus.
func (c *Create) pick() tea.Cmd {
	i := c.f.Focus
	x := c.f.Fields[i]
	m := &dialog.Menu{Title: "Choose the " + x.Name, At: x.At}
	for j, o := range x.Options {
		m.Items = append(m.Items, dialog.Item{Label: o.Label, Detail: o.Detail, Do: screen.Send(pickedMsg{i, j})})
	}
	return c.e.Send(screen.Show{Dialog: m})
}

func (c *Create) gotBackends(m backendsMsg) tea.Cmd {
	x := c.f.Fields[fBackend]
	if m.err != nil {
		x.Note, x.Hint, x.Bad, x.None = api.AsError(m.err).Message, api.AsError(m.err).Hint, true, "not known"
		return nil
	}
	was := x.Value()
	c.backends, x.Options = nil, nil
	for _, b := range m.list {
		if !b.Capabilities.Create {
			continue
		}
		c.backends = append(c.backends, b)
		x.Options = append(x.Options, form.Option{Value: b.Name, Label: b.Name, Detail: b.Title})
	}
	if len(x.Options) == 0 {
		x.Note, x.Bad, x.None = "no backend here can make an instance", true, "none"
		x.Hint = "berth doctor says why"
		return nil
	}
	if !x.Pick(was) && !x.Pick(c.e.Config.Defaults.Backend) {
		x.At = 0
	}
	c.note(fBackend)
	return tea.Batch(c.offers(), c.nameEdited())
}

// offers fetches sizes and images of the chosen backend, once.
func (c *Create) offers() tea.Cmd {
	b := c.backend()
	if _, ok := c.sizes[b]; ok || b == "" {
		c.fillOffers()
		return nil
	}
	c.f.Fields[fSize].Options, c.f.Fields[fImage].Options = nil, nil
	for _, i := range []int{fSize, fImage} {
		x := c.f.Fields[i]
		x.Note, x.Bad, x.None = "", false, ""
	}
	return func() tea.Msg {
		s, err := c.e.WS.Sizes(c.ctx, b)
		if err != nil {
			return offersMsg{backend: b, err: err}
		}
		i, err := c.e.WS.Images(c.ctx, b)
		return offersMsg{b, s, i, err}
	}
}

func (c *Create) gotOffers(m offersMsg) {
	if m.err != nil {
		if m.backend == c.backend() {
			c.unanswered(m)
		}
		return
	}
	c.sizes[m.backend], c.images[m.backend] = m.sizes, m.images
	c.fillOffers()
}

// unanswered says below the backend, once, why it tells no sizes or images, and what to do about it.
func (c *Create) unanswered(m offersMsg) {
	e, x := api.AsError(m.err), c.f.Fields[fBackend]
	x.Note, x.Hint, x.Bad = e.Message, cmp.Or(e.Hint, "berth doctor looks at what is wrong"), true
	for _, i := range []int{fSize, fImage} {
		f := c.f.Fields[i]
		f.Options, f.Note, f.Bad, f.None = nil, "", true, "not known: "+m.backend+" does not tell"
	}
}

func (c *Create) fillOffers() {
	b := c.backend()
	size, image := c.f.Fields[fSize], c.f.Fields[fImage]
	size.Options, image.Options, size.Bad, image.Bad = nil, nil, false, false
	size.None, image.None = "none is offered", "none is offered"
	for i, s := range c.sizes[b] {
		size.Options = append(size.Options, form.Option{Value: s.Name, Label: s.Name, Detail: sizeText(s)})
		if s.Default {
			size.At = i
		}
	}
	for i, m := range c.images[b] {
		image.Options = append(image.Options, form.Option{Value: m.Name, Label: m.Name, Detail: m.Description})
		if m.Default {
			image.At = i
		}
	}
	size.Pick(c.e.Config.Defaults.Size)
	image.Pick(c.e.Config.Defaults.Image)
	c.note(fSize)
}

func sizeText(s api.Size) string {
	parts := []string{}
	if s.VCPUs > 0 {
		parts = append(parts, fmt.Sprintf("%d vCPU", s.VCPUs))
	}
	if s.MemoryBytes > 0 {
		parts = append(parts, money.Size(s.MemoryBytes))
	}
	if len(s.GPUs) > 0 {
		parts = append(parts, money.GPUs(s.GPUs))
	}
	if s.PriceUSD != nil {
		parts = append(parts, money.USD(*s.PriceUSD)+"/h")
	}
	if len(parts) == 0 {
		return s.Description
	}
	return strings.Join(parts, ", ")
}

// note says below a list what its choice means.
func (c *Create) note(i int) {
	x := c.f.Fields[i]
	x.Note, x.Bad, x.Hint = "", false, ""
	switch i {
	case fBackend:
		for _, b := range c.backends {
			if b.Name == x.Value() && b.Error != nil {
				x.Note, x.Hint, x.Bad = b.Error.Message, b.Error.Hint, true
			}
		}
		ssh := c.f.Fields[fSSH]
		ssh.Off = ""
		if x.Value() == "local" {
			ssh.Off = "not on this computer: berth ssh goes straight in"
		}
		network, profiles := c.f.Fields[fNetwork], c.f.Fields[fProfiles]
		network.Off, profiles.Off = "", ""
		for _, b := range c.backends {
			if b.Name != x.Value() {
				continue
			}
			if !b.Capabilities.Subnets {
				network.Off = cmp.Or(b.Capabilities.Why["subnets"], "there is none to choose here")
			}
			if !b.Capabilities.Profiles {
				profiles.Off = cmp.Or(b.Capabilities.Why["profiles"], "not here: they need root on the instance")
			}
		}
		on, chosen := c.e.ShellAfter[x.Value()]
		c.f.Fields[fShell].On = on || !chosen && quick(x.Value())
	case fSize:
		for _, s := range c.sizes[c.backend()] {
			if s.Name == x.Value() {
				x.Note = s.Description
			}
		}
	}
}

// Keys implements screen.Screen.
func (c *Create) Keys() []key.Binding {
	const g = "The form"
	enter := "create"
	if x := c.f.Current(); x != nil && x.IsList {
		enter = "choose"
	}
	return []key.Binding{
		{Keys: []string{"enter"}, Label: enter, Group: g, Desc: "Make the instance; on a list, open it."},
		{Keys: []string{"tab"}, Label: "next", Group: g, Desc: "To the next field; shift+tab goes back."},
		{Keys: []string{"left"}, Show: "← →", Label: "change", Group: g, Desc: "Another value of a list or switch."},
		{Keys: []string{"ctrl+s"}, Group: g, Desc: "Make the instance, from any field."},
		{Keys: []string{"ctrl+y"}, Group: g, Desc: "Copy the command line that does the same."},
		{Keys: []string{"f1"}, Label: "help", Group: g, Desc: "This help."},
		{Keys: []string{"esc"}, Label: "cancel", Group: g, Desc: "Leave; nothing is made."},
	}
}

// Mouse implements screen.Mouser.
func (c *Create) Mouse(m tea.MouseMsg) tea.Cmd {
	if m.Action == tea.MouseActionPress && m.Button == tea.MouseButtonLeft {
		return c.did(c.f.Click(m.Y))
	}
	return nil
}

// Draw implements screen.Screen.
func (c *Create) Draw(p *draw.Page) {
	t := c.e.Theme
	if p.Height() >= 14 {
		p.Blank(1)
	}
	c.f.Button = "Create"
	if c.sending || c.wanted {
		c.f.Button = "Asking" + t.Ellipsis
	}
	c.f.Draw(p, t)
	c.told = c.err != nil && p.Left() > 1
	if c.told {
		p.Blank(1)
		form.Error(p, t, c.err.Message, c.err.Hint)
	}
}

// Status implements screen.Stater.
func (c *Create) Status(l *draw.Line) {
	if c.err != nil && !c.told {
		l.Text(c.e.Theme.Bad, c.err.Message)
	}
}
