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
				switch {
				case strings.HasPrefix(n, "-"):
					return screen.Warn(n + " is an option of the command line, which is not taken here")
				case r == nil:
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
			v.Why = "read-only (L switches it off)"
		}
		return v
	}
	open := func(name, to, desc string, args func() []string) palette.Verb {
		return palette.Verb{Name: name, Desc: desc, Args: args, Do: func(arg string) tea.Cmd { return m.open(to, arg) }}
	}
	// making takes, besides instances, what is to be made in the words of the command line.
	making := func(v palette.Verb, split func(arg string) (name, of string)) palette.Verb {
		ask := v.Do
		v.Rest = true
		v.Do = func(arg string) tea.Cmd {
			name, of := split(arg)
			r := e.Store.ByName(of)
			if r == nil || name == "" || e.Store.ByName(name) != nil {
				return ask(arg)
			}
			return action.Make(e, v.Name, r, name)
		}
		return v
	}
	rest := func(v palette.Verb) palette.Verb { v.Rest = true; return v }
	freely := func(v palette.Verb) palette.Verb { v.Free = true; return v }
	verbs := []palette.Verb{
		entry(action.Shell, "a shell on an instance"),
		{Name: "show", Desc: "everything about an instance", Args: names, Do: on(func(rows []*data.Row) tea.Cmd {
			return e.Send(screen.Open{Name: "detail", Arg: rows[0].ID})
		})},
		{Name: "top", Desc: "figures of an instance: GPUs, processes, disks, history", Args: names,
			Do: on(func(rows []*data.Row) tea.Cmd {
				return e.Send(screen.Open{Name: "top", Arg: rows[0].ID})
			})},
		freely(open("wall", "wall", "all GPUs of the fleet", nil)),
		freely(open("attention", "attention", "what wants attention, and what to do", nil)),
		entry(action.Start, "start instances"),
		entry(action.Stop, "stop instances"),
		entry(action.Restart, "restart instances"),
		entry(action.Delete, "delete instances, or forget adopted ones"),
		entry(action.Console, "the console's last output"),
		entry(action.Setup, "go on with a set-up that failed"),
		entry(action.LetGo, "do without a set-up that failed"),
		entry(action.Snapshot, "keep the disk of an instance as it is now"),
		making(entry(action.Clone, "make another instance with a copy of the disk; its name may follow"), instanceFirst),
		making(entry(action.Image, "make an image of an instance"), imageFirst),
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
		{Name: "queue", Desc: "the jobs of an instance; without a name those of all", Args: names, Do: func(arg string) tea.Cmd {
			if r := e.Store.ByName(arg); r != nil {
				return e.Send(screen.Open{Name: "queue", Arg: r.ID})
			} else if arg != "" {
				return screen.Warn("there is no instance " + arg)
			}
			return e.Send(screen.Open{Name: "queue"})
		}},
		{Name: "ports", Desc: "what listens on an instance: forward it here, open it", Args: names,
			Do: on(func(rows []*data.Row) tea.Cmd {
				return e.Send(screen.Open{Name: "ports", Arg: rows[0].ID})
			})},
		freely(open("create", "create", "make an instance; its name may follow", nil)),
		rest(open("adopt", "adopt", "take in a machine that exists", func() []string { return []string{"local"} })),
		open("events", "events", "what happened", names),
		open("help", "help", "help, by page", assets.HelpTopics),
		{Name: "refresh", Desc: "ask the provider how instances are", Args: names,
			Do: on(func(rows []*data.Row) tea.Cmd { return action.Refresh(e, rows) })},
		{Name: "copy", Desc: "copy a value of an instance", Args: names,
			Do: on(func(rows []*data.Row) tea.Cmd { return action.CopyMenu(e, rows[0]) })},
		{Name: "sort", Desc: "sort the fleet by a column; - turns it round", Args: sortNames,
			Do: m.onFleet(func(f *fleet.Fleet, arg string) tea.Cmd {
				if !f.SortByColumn(arg) {
					return screen.Warn("there is no column " + arg + ": " + strings.Join(fleet.ColumnNames(), ", "))
				}
				return nil
			})},
		{Name: "filter", Desc: "show only what matches; nothing shows all", Free: true,
			Args: func() []string { return nil },
			Do:   m.onFleet(func(f *fleet.Fleet, arg string) tea.Cmd { f.Filter(arg); return nil })},
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
	return append(verbs, m.shellVerbs(verbs)...)
}

// shellVerbs are the commands of the command line that the dashboard does not do itself: they are given to copy.
func (m *Model) shellVerbs(done []palette.Verb) []palette.Verb {
	var out []palette.Verb
	for _, c := range m.e.Config.Commands {
		does := func(v palette.Verb) bool { return v.Name == c.Path || slices.Contains(v.Also, c.Path) }
		if slices.ContainsFunc(done, does) {
			continue
		}
		out = append(out, palette.Verb{Name: c.Path, Desc: "only from a shell, copied for it: " + c.Desc, Shell: true, Free: true,
			Do: func(arg string) tea.Cmd {
				return screen.Send(screen.Copy{What: "the command line", Text: strings.TrimSpace("berth " + c.Path + " " + arg)})
			}})
	}
	return out
}

// instanceFirst splits "INSTANCE NEW".
func instanceFirst(arg string) (name, of string) {
	if f := strings.Fields(arg); len(f) == 2 {
		return f[1], f[0]
	}
	return "", ""
}

// imageFirst splits "IMAGE --from INSTANCE".
func imageFirst(arg string) (name, of string) {
	f := strings.Fields(strings.ReplaceAll(arg, "--from=", "--from "))
	if len(f) == 3 && f[1] == "--from" {
		return f[0], f[2]
	}
	if len(f) == 3 && f[0] == "--from" {
		return f[2], f[1]
	}
	return "", ""
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
	action.Clone:    {"duplicate", "copy-disk", "fork"},
	action.Image:    {"image", "build", "template", "bake"},
	"snapshots":     {"snapshot ls", "snapshot restore", "snapshot rm", "restore", "rollback", "revert", "undo"},
	"inventory":     {"packages", "versions", "software", "cuda", "driver", "compare", "diff"},
	"queue":         {"jobs", "job", "job ls", "job logs", "job show", "squeue", "tasks"},
	"ports":         {"forward", "port", "tunnel", "listen", "sockets", "browser"},
	"create":        {"new", "add", "launch", "make"},
	"adopt":         {"import", "register", "take"},
	"events":        {"log", "logs", "audit", "journal"},
	"help":          {"man", "manual", "docs", "keys"},
	"refresh":       {"reload", "update", "sync"},
	"copy":          {"clipboard", "yank"},
	"sort":          {"order", "cost", "costs", "money", "price", "spend", "bill"},
	"filter":        {"ls", "list", "search", "find", "grep", "mine"},
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
