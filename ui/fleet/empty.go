package fleet

import (
	"strings"

	"berth/backend/base/plaintext"
	"berth/ui/draw"
	"berth/ui/text"
	"berth/ui/theme"
)

// drawEmpty is the first thing a newcomer sees: what this is and what to press.
func (f *Fleet) drawEmpty(p *draw.Page) {
	t := f.e.Theme
	w := min(p.Width()-4, 68)
	x := max(0, (p.Width()-w)/2)
	if !f.e.Store.Loaded {
		p.Blank(max(0, p.Height()/2-1))
		s := "Looking at the fleet" + t.Ellipsis
		if err := f.e.Store.Err; err != nil {
			s = "The service does not answer yet; trying again" + t.Ellipsis
			p.Line(theme.Ground).To(x).Text(t.Warn, s)
			for _, l := range text.Wrap(plaintext.Clean(err.Error()), w) {
				p.Line(theme.Ground).To(x).Text(t.Dim, l)
			}
			return
		}
		p.Line(theme.Ground).To(x).Text(t.Dim, s)
		return
	}
	type way struct{ key, what, more string }
	ways := []way{
		{"n enter", "a workstation on this computer, and its shell",
			"n shows what it will be, enter makes it; in the shell, enter ~ . comes back"},
		{"a", "adopt a machine", "one that you can ssh to, or this computer itself; your files stay as they are"},
		{"?", "help", "what every key does, and a page for each screen"},
		{"q", "leave", "whatever runs goes on running"},
	}
	if b := f.e.Config.Defaults.Backend; b != "" && b != "local" {
		ways[0] = way{"n", "make a workstation", "with a shell and an agent of its own, by " + b + " or on this computer"}
	}
	if f.e.LocalGPUs {
		ways[0], ways[1] = way{"a enter", "this computer itself, and a shell on it",
			"it has GPUs: adopt it, and work with your own home, as you are logged in now"}, ways[0]
	}
	if f.e.ReadOnly {
		ways = ways[2:]
	}
	const inset = 11
	need := 4 + 3*len(ways)
	wide := p.Height() >= need
	if wide {
		p.Blank(max(0, (p.Height()-need)/2))
	}
	p.Line(theme.Ground).To(x).Text(t.Title, "Welcome to Berth")
	for _, l := range text.Wrap("Your fleet of workstations is empty. This is how it begins:", w) {
		p.Line(theme.Ground).To(x).Text(t.Text, l)
	}
	for _, y := range ways {
		if wide {
			p.Blank(1)
		}
		what := y.what
		if w-inset < len(what) { // a narrow screen: the first half says enough
			what, _, _ = strings.Cut(what, " on this")
		}
		p.Line(theme.Ground).To(x+2).Text(t.Key, y.key).To(x+inset).Text(t.Bold, what)
		if wide {
			for _, l := range text.Wrap(y.more, w-inset) {
				p.Line(theme.Ground).To(x+inset).Text(t.Dim, l)
			}
		}
	}
}
