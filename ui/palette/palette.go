package palette

import (
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/base/plaintext"
	"berth/ui/draw"
	"berth/ui/form"
	"berth/ui/list"
	"berth/ui/screen"
	"berth/ui/text"
	"berth/ui/theme"
)

// Verb is one command. Also are other words that it is found by. Args lists what may follow it, for completion; nil:
// nothing follows. Why says why it can't be done now.
type Verb struct {
	Name, Usage, Desc string
	Also              []string
	Args              func() []string
	Free              bool // any words may follow; with Args, some must
	Rest              bool // after the first of Args any words may follow
	Shell             bool // it is only done from a shell: found by its letters, and not listed before there are any
	Why               string
	Do                func(arg string) tea.Cmd
}

// Palette is the dialog.
type Palette struct {
	verbs []Verb
	in    form.Input
	at    int
	top   int
	n, y  int
	said  string
}

// New makes a palette of verbs.
func New(verbs []Verb) *Palette {
	p := &Palette{verbs: verbs}
	p.in.Hint = "a command"
	return p
}

// choice is one line of what fits to what was typed.
type choice struct {
	text, detail, why string
	full              bool // it may be run as it stands
}

// leastWord is how many letters of another word for a command are needed.
const leastWord = 2

// maxChoices bounds the completions that are looked at; a fleet may have thousands of names.
const maxChoices = 200

func (p *Palette) choices() []choice {
	typed := strings.TrimLeft(p.in.Value(), " :")
	v, rest := p.find(typed)
	named := p.named(strings.ToLower(typed))
	switch {
	case v == nil || !strings.HasSuffix(typed, " "+rest): // the name is still typed
		return named
	case v.Args == nil && strings.TrimSpace(rest) == "", v.Free, v.Rest && strings.Contains(strings.TrimSpace(rest), " "):
		line := strings.TrimSpace(v.Name + " " + strings.TrimSpace(rest))
		return append([]choice{{text: line, detail: v.Desc, why: v.Why, full: true}}, named...)
	case v.Args == nil:
		return named
	}
	var out []choice
	// The last word is completed; those before it stay.
	before := ""
	if i := strings.LastIndexByte(rest, ' '); i >= 0 {
		before, rest = strings.TrimLeft(rest[:i+1], " "), rest[i+1:]
	}
	rest = strings.ToLower(rest)
	for _, pass := range []bool{true, false} { // first those that begin with it
		for _, a := range v.Args() {
			l := strings.ToLower(a)
			if begins := strings.HasPrefix(l, rest); begins != pass || !begins && !strings.Contains(l, rest) {
				continue
			}
			out = append(out, choice{text: v.Name + " " + before + a, why: v.Why, full: true})
			if len(out) >= maxChoices {
				return out
			}
		}
	}
	return append(out, named...)
}

// named are the verbs whose name, or another word for them, begins so: those that are called so first.
func (p *Palette) named(begin string) []choice {
	var out []choice
	for _, v := range p.verbs {
		if strings.HasPrefix(v.Name, begin) && (!v.Shell || len(begin) >= leastWord) {
			out = append(out, choice{text: v.Name, detail: v.Desc, why: v.Why, full: v.Args == nil})
		}
	}
	if len(begin) < leastWord {
		return out
	}
	for _, v := range p.verbs {
		i := slices.IndexFunc(v.Also, func(s string) bool { return strings.HasPrefix(s, begin) })
		if i >= 0 && !strings.HasPrefix(v.Name, begin) {
			out = append(out, choice{text: v.Name, detail: v.Also[i] + ": " + v.Desc, why: v.Why, full: v.Args == nil})
		}
	}
	return out
}

// find returns the verb that a line begins with, and what follows. A name may have several words: the longest counts,
// before any other word for a verb of the same length.
func (p *Palette) find(line string) (v *Verb, rest string) {
	most := 0
	for _, also := range []bool{false, true} {
		for i := range p.verbs {
			names := p.verbs[i].Also
			if !also {
				names = []string{p.verbs[i].Name}
			}
			for _, n := range names {
				if len(n) > most && len(line) >= len(n) && strings.EqualFold(line[:len(n)], n) &&
					(len(line) == len(n) || line[len(n)] == ' ') {
					most, v, rest = len(n), &p.verbs[i], strings.TrimPrefix(line[len(n):], " ")
				}
			}
		}
	}
	return v, rest
}

// Update implements screen.Dialog.
func (p *Palette) Update(msg tea.Msg) (bool, tea.Cmd) {
	list := p.choices()
	switch m := msg.(type) {
	case tea.MouseMsg:
		i := p.top + m.Y - p.y
		if m.Action == tea.MouseActionPress && m.Button == tea.MouseButtonLeft && i >= p.top && i < min(len(list),
			p.top+p.n) {
			p.at = i
			return p.take(list)
		}
	case tea.KeyMsg:
		switch m.String() {
		case "esc":
			return true, nil
		case "enter":
			return p.enter(list)
		case "tab":
			if len(list) > 0 {
				p.complete(list[min(p.at, len(list)-1)])
			}
		case "up", "ctrl+p":
			p.at = max(0, p.at-1)
		case "down", "ctrl+n":
			p.at = min(p.at+1, max(0, len(list)-1))
		case "backspace":
			if p.in.Len() == 0 {
				return true, nil
			}
			p.in.Update(m)
			p.at, p.said = 0, ""
		default:
			if p.in.Update(m) {
				p.at, p.said = 0, ""
			}
		}
	}
	return false, nil
}

// complete puts a choice into the line.
func (p *Palette) complete(c choice) {
	s := c.text
	if !c.full {
		s += " "
	}
	p.in.Set(s)
	p.at = 0
}

// take completes a choice and runs it if it is whole.
func (p *Palette) take(list []choice) (bool, tea.Cmd) {
	c := list[p.at]
	p.complete(c)
	if !c.full {
		return false, nil
	}
	return p.run(c.text)
}

func (p *Palette) enter(list []choice) (bool, tea.Cmd) {
	typed := strings.TrimSpace(strings.TrimLeft(p.in.Value(), " :"))
	if typed == "" && p.at == 0 {
		return true, nil
	}
	v, arg := p.find(typed)
	// What was typed whole is meant as it stands, unless another line was chosen.
	if v != nil && p.at == 0 && (v.Args == nil || strings.TrimSpace(arg) != "") {
		if arg == "" || v.Free || len(list) == 0 || hasArg(v, strings.TrimSpace(arg)) {
			return p.run(typed)
		}
	}
	if len(list) > 0 {
		p.at = min(p.at, len(list)-1)
		if v != nil && strings.EqualFold(list[p.at].text, v.Name) {
			return p.run(typed) // a verb alone: it takes what is under the cursor
		}
		return p.take(list)
	}
	return p.run(typed)
}

// misfit says why there is nothing to choose from.
func (p *Palette) misfit() string {
	typed := strings.TrimLeft(p.in.Value(), " :")
	v, rest := p.find(typed)
	switch {
	case v == nil:
		return "there is no command " + first(typed)
	case v.Args == nil:
		return "nothing follows " + v.Name
	}
	words := strings.Fields(rest)
	if len(words) == 0 {
		return v.Name + " has nothing to choose from here"
	}
	return v.Name + " knows nothing called " + words[len(words)-1] + "; enter tries it all the same"
}

func first(line string) string {
	word, _, _ := strings.Cut(line, " ")
	return word
}

func hasArg(v *Verb, arg string) bool {
	for _, a := range v.Args() {
		if strings.EqualFold(a, arg) {
			return true
		}
	}
	return false
}

func (p *Palette) run(line string) (bool, tea.Cmd) {
	v, arg := p.find(line)
	switch {
	case v == nil:
		p.said = "there is no command " + first(line)
		return false, nil
	case v.Why != "":
		p.said = v.Why
		return false, nil
	}
	return true, v.Do(strings.TrimSpace(arg))
}

// Box implements screen.Dialog.
func (p *Palette) Box(e *screen.Env, w, h int) []string {
	t := e.Theme
	bw := max(1, min(w-2, 72))
	shown := p.choices()
	p.at = max(0, min(p.at, len(shown)-1))
	p.n = max(1, min(12, h-4))
	p.top = list.Scroll(p.top, p.at, p.n, len(shown))
	var pg draw.Page
	pg.Reset(t, bw, p.n+4)
	rule := func(l, r string) {
		pg.Line(theme.Ground).Glyph(t.Border, l).Repeat(t.Border, t.H, bw-2).Glyph(t.Border, r)
	}
	side := func(f func(l *draw.Line)) {
		l := pg.Line(theme.Ground).Glyph(t.Border, t.V).Space(1)
		l.Limit(bw - 2)
		f(l)
		l.Back(theme.Ground)
		l.Limit(bw)
		l.To(bw-1).Glyph(t.Border, t.V)
	}
	rule(t.TL, t.TR)
	side(func(l *draw.Line) {
		l.Text(t.Key, ": ")
		p.in.Draw(l, t, l.Room(), true)
	})
	rule(t.LT, t.RT)
	p.y = pg.Len()
	nameW := 12
	for i := p.top; i < len(shown) && i < p.top+p.n; i++ {
		c := shown[i]
		side(func(l *draw.Line) {
			if i == p.at {
				l.Back(theme.Sel)
				l.Glyph(t.Accent, t.Cursor)
			} else {
				l.Space(1)
			}
			st := t.Text
			if c.why != "" {
				st = t.Dim
			}
			edge := 0 // with room for the mark
			if p.n < len(shown) {
				edge = 2
			}
			l.Limit(l.Col() + l.Room() - edge)
			l.Cell(st, c.text, max(nameW, text.Width(plaintext.Clean(c.text))), false).Space(1)
			d := c.detail
			if c.why != "" {
				d = t.Cross + " " + c.why
			}
			l.Text(t.Dim, d)
			if i == p.at {
				l.Space(l.Room())
			}
			l.Limit(l.Col() + l.Room() + edge)
			list.More(l, t, i-p.top, p.n, p.top > 0, p.top+p.n < len(shown))
		})
	}
	switch {
	case p.said != "":
		side(func(l *draw.Line) { l.Text(t.Bad, p.said) })
	case len(shown) == 0:
		side(func(l *draw.Line) { l.Text(t.Dim, p.misfit()) })
	}
	rule(t.BL, t.BR)
	return pg.Drawn()
}
