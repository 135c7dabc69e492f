package ui

import (
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/assets"
	"berth/ui/action"
	"berth/ui/data"
	"berth/ui/fleet"
	"berth/ui/palette"
	"berth/ui/screen"
	"berth/ui/theme"
)

func (m *Model) newPalette() *palette.Palette { return palette.New(m.verbs()) }

// verbs are the commands. Those about an instance take its name, or what the screen is about.
func (m *Model) verbs() []palette.Verb {
	e := m.e
	names := func() []string {
		var out []string
		e.Store.Each(func(r *data.Row) { out = append(out, e.Store.Ref(r)) })
		slices.Sort(out)
		return out
	}
	on := func(f func(rows []*data.Row) tea.Cmd) func(string) tea.Cmd {
		return func(arg string) tea.Cmd {
			if arg == "" {
				if s, ok := m.top().(screen.Subject); ok && len(s.Subjects()) > 0 {
					return f(s.Subjects())
				}
				return screen.Warn("which instance? write its name after the command")
			}
			var rows []*data.Row
			for n := range strings.FieldsSeq(arg) {
				r := e.Store.ByName(n)
				if r == nil {
					return screen.Warn("there is no instance " + n)
				}
				rows = append(rows, r)
			}
			return f(rows)
		}
	}
	entry := func(verb, desc string) palette.Verb {
		v := palette.Verb{Name: verb, Desc: desc, Args: names,
			Do: on(func(rows []*data.Row) tea.Cmd { return action.Do(e, verb, rows) })}
		if e.ReadOnly && verb != action.Shell && verb != action.Console {
			v.Why = "read-only (R switches it off)"
		}
		return v
	}
	open := func(name, to, desc string, args func() []string) palette.Verb {
		return palette.Verb{Name: name, Desc: desc, Args: args, Do: func(arg string) tea.Cmd { return m.open(to, arg) }}
	}
	free := func() []string { return nil }
	verbs := []palette.Verb{
		entry(action.Shell, "a shell on an instance"),
		{Name: "show", Desc: "everything about an instance", Args: names, Do: on(func(rows []*data.Row) tea.Cmd {
			return e.Send(screen.Open{Name: "detail", Arg: rows[0].ID})
		})},
		{Name: "top", Desc: "figures of an instance: GPUs, processes, disks, history", Args: names,
			Do: on(func(rows []*data.Row) tea.Cmd {
				return e.Send(screen.Open{Name: "top", Arg: rows[0].ID})
			})},
		open("wall", "wall", "all GPUs of the fleet", free),
		open("attention", "attention", "what wants attention, and what to do", free),
		entry(action.Start, "start instances"),
		entry(action.Stop, "stop instances"),
		entry(action.Restart, "restart instances"),
		entry(action.Delete, "delete instances, or forget adopted ones"),
		entry(action.Console, "the console's last output"),
		entry(action.Setup, "go on with a set-up that failed"),
		entry(action.LetGo, "do without a set-up that failed"),
		entry(action.Snapshot, "keep the disk of an instance as it is now"),
		{Name: "snapshots", Desc: "the snapshots of an instance: take, restore, delete", Args: names,
			Do: on(func(rows []*data.Row) tea.Cmd {
				return e.Send(screen.Open{Name: "snapshots", Arg: rows[0].ID})
			})},
		{Name: "inventory", Desc: "what is installed on an instance, or on two", Args: names,
			Do: on(func(rows []*data.Row) tea.Cmd {
				arg := rows[0].ID
				if len(rows) > 1 {
					arg += " " + rows[1].ID
				}
				return e.Send(screen.Open{Name: "inventory", Arg: arg})
			})},
		open("create", "create", "make an instance", free),
		open("adopt", "adopt", "take in a machine that exists", func() []string { return []string{"local"} }),
		open("events", "events", "what happened", names),
		open("help", "help", "help, by page", assets.HelpTopics),
		{Name: "refresh", Desc: "ask the provider how instances are", Args: names,
			Do: on(func(rows []*data.Row) tea.Cmd { return action.Refresh(e, rows) })},
		{Name: "copy", Desc: "copy a value of an instance", Args: names,
			Do: on(func(rows []*data.Row) tea.Cmd { return action.CopyMenu(e, rows[0]) })},
		{Name: "sort", Desc: "sort the fleet by a column; - turns it round", Args: sortNames,
			Do: m.onFleet(func(f *fleet.Fleet, arg string) tea.Cmd {
				if !f.SortBy(arg) {
					return screen.Warn("there is no column " + arg + ": " + strings.Join(fleet.ColumnNames(), ", "))
				}
				return nil
			})},
		{Name: "filter", Desc: "show only what matches; nothing shows all", Args: free,
			Do: m.onFleet(func(f *fleet.Fleet, arg string) tea.Cmd { f.Filter(arg); return nil })},
		{Name: "theme", Desc: "colours for a dark or light background, or none",
			Args: func() []string { return []string{"dark", "light", "none"} }, Do: m.setTheme},
		{Name: "readonly", Desc: "switch read-only on or off", Why: m.readOnlyFixed(),
			Do: func(string) tea.Cmd { return m.toggleReadOnly() }},
		{Name: "mouse", Desc: "let the mouse go, or take it", Do: func(string) tea.Cmd { return m.toggleMouse() }},
		{Name: "quit", Desc: "leave; what runs goes on running", Do: func(string) tea.Cmd { return m.quit() }},
	}
	for i := range verbs {
		verbs[i].Also = otherWords[verbs[i].Name]
	}
	return verbs
}

// otherWords are what people call the commands who know other tools.
var otherWords = map[string][]string{
	action.Shell: {"shell", "terminal", "bash", "attach", "connect", "login"},
	"show":       {"details", "info", "describe", "address", "ip"},
	"top": {"htop", "gpu", "nvtop", "nvitop", "nvidia-smi", "df", "ps", "figures", "metrics", "monitor",
		"history", "graph", "processes", "kill", "signal", "cpu", "memory", "disk", "usage"},
	"wall":          {"gpus", "all", "grid", "idle"},
	"attention":     {"alerts", "alarms", "problems", "warnings", "findings", "acknowledge", "mute"},
	action.Start:    {"run", "boot", "resume", "up"},
	action.Stop:     {"halt", "shutdown", "deallocate", "pause", "down"},
	action.Restart:  {"reboot", "reset"},
	action.Delete:   {"delete", "remove", "terminate", "destroy", "forget"},
	action.Console:  {"serial", "dmesg", "bootlog", "output"},
	action.Setup:    {"install", "profiles", "provision"},
	action.LetGo:    {"dismiss", "abandon"},
	action.Snapshot: {"backup", "save"},
	"snapshots":     {"restore", "rollback", "revert", "undo"},
	"inventory":     {"packages", "versions", "software", "cuda", "driver", "compare", "diff"},
	"create":        {"new", "add", "launch", "make"},
	"adopt":         {"import", "register", "take"},
	"events":        {"log", "logs", "audit", "journal"},
	"help":          {"man", "manual", "docs", "keys"},
	"refresh":       {"reload", "update", "sync"},
	"copy":          {"clipboard", "yank"},
	"sort":          {"order", "cost", "costs", "money", "price", "spend", "bill"},
	"filter":        {"search", "find", "grep", "mine"},
	"theme":         {"colours", "colors", "dark", "light"},
	"readonly":      {"safe", "lock"},
	"mouse":         {"select"},
	"quit":          {"exit", "leave", "bye"},
}

func sortNames() []string {
	var out []string
	for _, n := range fleet.ColumnNames() {
		out = append(out, n, "-"+n)
	}
	return out
}

func (m *Model) readOnlyFixed() string {
	if m.e.Config.ReadOnly {
		return "the configuration says read-only"
	}
	return ""
}

// onFleet goes back to the fleet and does something to it.
func (m *Model) onFleet(f func(*fleet.Fleet, string) tea.Cmd) func(string) tea.Cmd {
	return func(arg string) tea.Cmd {
		for len(m.stack) > 1 {
			m.back()
		}
		return f(m.stack[0].(*fleet.Fleet), arg)
	}
}

func (m *Model) setTheme(arg string) tea.Cmd {
	switch arg {
	case "dark", "light":
		m.look.Dark, m.look.NoColor = arg == "dark", false
	case "none":
		m.look.NoColor = true
	default:
		return screen.Warn("a theme is dark, light or none")
	}
	m.e.Theme = theme.New(m.look)
	return nil
}
