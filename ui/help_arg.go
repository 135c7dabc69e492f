package ui

import (
	"encoding/json"

	"github.com/charmbracelet/x/ansi"

	"berth/ui/help"
	"berth/ui/key"
)

// helpArg describes the screen on top for the help screen.
func (m *Model) helpArg() string {
	s := m.top()
	seen := map[string]bool{}
	doc := help.Doc{Title: s.Title(), Topic: s.Topic()}
	for _, bs := range [][]key.Binding{s.Keys(), m.instanceKeys(), m.globals()} {
		for i := range bs {
			if bs[i].Desc != "" && !seen[bs[i].Keys[0]] { // the screen's own go first
				seen[bs[i].Keys[0]] = true
				doc.Keys = append(doc.Keys, help.Key{Name: bs[i].Name(), Desc: bs[i].Desc, Group: bs[i].Group, Why: bs[i].Why})
			}
		}
	}
	b, _ := json.Marshal(doc) // a document of strings always encodes
	return string(b)
}

// lineWidth is the width of a drawn line.
func lineWidth(s string) int { return ansi.StringWidth(s) }
