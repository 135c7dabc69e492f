package key

import (
	"slices"

	tea "github.com/charmbracelet/bubbletea"
)

// Groups are the headings of the keys that all screens have.
const (
	Moving     = "Moving"
	Looking    = "Looking"
	Instance   = "The instance"
	Everywhere = "Everywhere"
)

// entry is what a key means on every screen that has it. Labels are the words that it may have in the footer; nil:
// what it does depends on what is under the cursor.
type entry struct {
	keys   []string
	show   string
	labels []string
	desc   string
	group  string
}

// table is the one table of the keys that mean the same on all screens. A screen adds keys, never a second meaning.
var table = []entry{
	{[]string{"j", "down"}, "↓ j", []string{"down"}, "Down.", Moving},
	{[]string{"k", "up"}, "↑ k", []string{"up"}, "Up.", Moving},
	{[]string{"g", "home"}, "", []string{"top"}, "To the first.", Moving},
	{[]string{"G", "end"}, "", []string{"end", "follow"}, "To the last.", Moving},
	{[]string{"/"}, "", []string{"filter", "search"}, "Show only what matches: words, ! before one that must not occur.",
		Looking},
	{[]string{"S"}, "", []string{"sort"}, "Sort by something else.", Looking},
	{[]string{"I"}, "", []string{"reverse"}, "Turn the order round.", Looking},
	{[]string{" "}, "", []string{"mark"}, "Mark it, or take the mark away; actions are for all that are marked.", Looking},
	{[]string{"*"}, "", []string{"mark all"}, "Mark all that are shown, or none.", Looking},
	{[]string{"enter"}, "", nil, "Open what is under the cursor.", Looking},
	{[]string{"y"}, "", []string{"copy"}, "Copy what is under the cursor.", Looking},
	{[]string{"c", "Y"}, "c", []string{"command"}, "Show, to copy it, the command line that does the same.", Looking},

	{[]string{"t"}, "", []string{"shell"}, "Give this terminal to a shell on the instance; enter ~ . comes back.",
		Instance},
	{[]string{"f"}, "", []string{"figures"}, "Its GPUs, processes, disks and their history, live.", Instance},
	{[]string{"s"}, "", []string{"start", "stop"}, "Start what is stopped, stop what runs.", Instance},
	{[]string{"r"}, "", []string{"restart"}, "Restart the instance.", Instance},
	{[]string{"d"}, "", []string{"delete", "forget"},
		"Delete the instance and its disk, or forget an adopted one; asks first.", Instance},
	{[]string{"b"}, "", []string{"snapshots"}, "Its snapshots: take one, go back to one, delete one.", Instance},
	{[]string{"i"}, "", []string{"inventory"}, "What is really installed on it, against what its profiles promise.",
		Instance},
	{[]string{"C"}, "", []string{"console"}, "The last output of its console or supervisor.", Instance},
	{[]string{"Q"}, "", []string{"queue"}, "Its jobs: what runs, what waits and why, and how the others ended.", Instance},
	{[]string{"P"}, "", []string{"ports"}, "What listens on it, to forward it here or open it.", Instance},
	{[]string{"o"}, "", []string{"open"}, "Open it in the browser.", Instance},
	// Of features that are to come: no screen uses their keys for anything else.
	{[]string{"K"}, "", []string{"kernels"}, "", Instance},
	{[]string{"D"}, "", []string{"disks"}, "", Instance},

	{[]string{"n"}, "", []string{"new"}, "Make an instance.", Everywhere},
	{[]string{"w"}, "", []string{"wall"}, "All GPUs of the fleet on one screen.", Everywhere},
	{[]string{"e"}, "", []string{"events"}, "What happened, as it happens: to the instance, or to all.", Everywhere},
	{[]string{"!"}, "", []string{"attention"}, "What wants attention, and what to do about it.", Everywhere},
	{[]string{"R", "ctrl+r"}, "R", []string{"refresh"}, "Ask how it is now, without waiting for the next look.", Everywhere},
	{[]string{":"}, "", []string{"command"}, "Type a command.", Everywhere},
	{[]string{"?", "f1"}, "?", []string{"help"}, "Help on this screen.", Everywhere},
	{[]string{"M"}, "", []string{"mouse"},
		"Let the mouse go, so that the terminal selects text; again takes it back.", Everywhere},
	{[]string{"esc"}, "", nil, "Take filter and marks away, then back.", Everywhere},
	{[]string{"q"}, "", nil, "Back; from the fleet, leave.", Everywhere},
}

func find(k string) *entry {
	i := slices.IndexFunc(table, func(e entry) bool { return slices.Contains(e.keys, k) })
	if i < 0 {
		return nil
	}
	return &table[i]
}

// Of binds a key of the table; why is set where it can't be done now.
func Of(k, why string, do func() tea.Cmd) Binding {
	e := find(k)
	if e == nil {
		panic("key: " + k + " is not in the table")
	}
	return Binding{Keys: e.keys, Show: e.show, Desc: e.desc, Group: e.group, Why: why, Do: do, of: e}
}

// As gives a binding a label for the footer; empty: none. What the label is not worth saying again is kept.
func (b Binding) As(label string) Binding {
	b.Label = label
	return b
}

// Saying gives a binding the sentence that is right on its screen.
func (b Binding) Saying(desc string) Binding {
	b.Desc = desc
	return b
}

// Shadows says how a binding gives a key of the table a second meaning, or "".
func (b *Binding) Shadows() string {
	for _, k := range b.Keys {
		e := find(k)
		switch {
		case e == nil:
		case e != b.of:
			return k + " is " + e.name() + " on every screen"
		case e.desc == "":
			return k + " is kept for " + e.name()
		case b.Label != "" && e.labels != nil && !slices.Contains(e.labels, b.Label):
			return k + " is called " + b.Label + ", and " + e.name() + " on every other screen"
		}
	}
	return ""
}

// Idle says why a key that no binding has does nothing.
func Idle(k string) string {
	const keys = "; ? lists the keys that do something here"
	e := find(k)
	switch {
	case e == nil || e.labels == nil:
		return Pretty(k) + " does nothing on this screen" + keys
	case e.desc == "":
		return Pretty(k) + " is kept for " + e.name() + ", which is still to come" + keys
	}
	return Pretty(k) + " (" + e.name() + ") does nothing on this screen" + keys
}

func (e *entry) name() string {
	if len(e.labels) > 0 {
		return e.labels[0]
	}
	return e.desc
}
