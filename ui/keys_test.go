package ui_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/ui/key"
	"berth/ui/uitest"
)

// TestNoScreenShadowsTheTable walks over all screens: no key of the table has a second meaning on any of them, and no
// key does two things on one.
func TestNoScreenShadowsTheTable(t *testing.T) {
	seen := map[string]bool{}
	for _, sc := range uitest.Scenes() {
		d := sc.Open(uitest.Options{Width: 120, Height: 40, Look: uitest.Plain})
		own, all := d.M.Keys()
		seen[d.M.Topic()] = true
		path, _, _ := strings.Cut(strings.TrimSpace(d.Lines()[0]), "  ")
		for _, part := range strings.Split(path, " › ") { // breadcrumbs have one form: one word each
			require.NotContains(t, part, " ", sc.Name)
			require.NotEmpty(t, part, sc.Name)
		}
		for _, b := range all {
			if b.Do != nil { // what is typed into says only in words what keys do
				require.Empty(t, b.Shadows(), sc.Name)
			}
		}
		taken := map[string]string{}
		for _, b := range own {
			for _, k := range b.Keys {
				if b.Do != nil {
					require.Empty(t, taken[k], "%s: %s does two things", sc.Name, k)
					taken[k] = b.Desc + "."
				}
			}
		}
		d.Close()
	}
	for _, topic := range []string{"fleet", "instance", "top", "attention", "events", "inventory", "create", "adopt"} {
		require.True(t, seen[topic], topic)
	}
}

func TestAShadowIsSeen(t *testing.T) {
	for want, b := range map[string]key.Binding{
		"d is delete on every screen":       {Keys: []string{"d"}, Desc: "Details."},
		"K is kept for kernels":             key.Of("K", "", nil),
		"i is called invert, and inventory": key.Of("i", "", nil).As("invert"),
	} {
		require.Contains(t, b.Shadows(), want)
	}
	b := key.Of("d", "", nil).As("delete")
	require.Empty(t, b.Shadows())
}

// TestTheKeysOfAnInstanceAreTheSameEverywhere presses them on every screen that shows an instance, and looks at what
// comes up.
func TestTheKeysOfAnInstanceAreTheSameEverywhere(t *testing.T) {
	screens := map[string][]string{"fleet": nil, "detail": {"enter"}, "top": {"f"}, "events": {"enter", "e"}, "wall": {"w"},
		"attention": {"!"}, "inventory": {"i"}, "queue": {"Q"}, "snapshots": {"b"}, "console": {"C"}, "ports": {"P"}}
	for name, way := range screens {
		for k, want := range map[string]string{
			"f": "› top", "b": "› snapshots", "i": "› inventory", "Q": "› queue", "P": "› ports", "C": "› console",
			"w": "› wall", "n": "› create", "e": "› events", "!": "› attention", "s": "Stop notebook?", "r": "Restart notebook?", "d": "Delete notebook?",
			"c": "berth ", "A": "What to do with notebook", ":": "a shell on an instance",
		} {
			d := small(t)
			d.To("notebook")
			d.Press(way...)
			for range 40 { // to the notebook's line
				if r := d.M.Subjects(); len(r) == 1 && r[0].Name == "notebook" {
					break
				}
				d.Press("j")
			}
			d.Press(k)
			shown := d.Lines()[0]
			if !strings.HasPrefix(want, "›") {
				shown = d.Screen() + strings.Join(d.Copied, " ")
			}
			require.Contains(t, shown, want, "%s on %s", k, name)
			d.Close()
		}
		d := small(t)
		d.To("notebook")
		d.Press(way...)
		for range 40 {
			if r := d.M.Subjects(); len(r) == 1 && r[0].Name == "notebook" {
				break
			}
			d.Press("j")
		}
		d.Press("t")
		require.Equal(t, []string{"notebook"}, d.Shells, "t on %s", name)
		for _, k := range []string{"K", "D"} { // of what is to come
			was := d.Lines()[0]
			d.Press(k)
			require.Equal(t, was, d.Lines()[0], "%s on %s", k, name)
			require.Contains(t, d.Screen(), k+" is kept for", "%s on %s", k, name)
		}
		d.Close()
	}
}

// small is a fleet with figures and events, so that every screen has a line of each instance.
func small(t *testing.T) *uitest.Driver {
	t.Helper()
	list := uitest.Small(uitest.Epoch)
	for i := range list {
		list[i].Capabilities.Snapshots, list[i].Capabilities.Console = true, true
	}
	o := uitest.Options{Width: 120, Height: 40, Look: uitest.Plain}
	for range 3 {
		o.Past = append(o.Past, api.Event{Time: uitest.Epoch, Level: "info", InstanceID: "i-0002", Instance: "notebook",
			Message: "is now running"})
	}
	d := uitest.Drive(o, list...)
	t.Cleanup(d.Close)
	d.WS.Measure(uitest.Epoch)
	d.Settle()
	return d
}

// The help is searched: keys of the screen and paragraphs of all pages that have the words.
func TestTheHelpIsSearched(t *testing.T) {
	d := small(t)
	d.Press("?", "/")
	d.Type("unknown owner")
	require.Contains(t, d.Screen(), "berth set vision owner=me")
	require.NotContains(t, d.Screen(), "Draw the screen anew")
	d.Press("enter")
	require.Contains(t, d.Screen(), "search unknown owner")
	d.Press("esc", "/")
	d.Type("snapshots")
	require.Contains(t, d.Screen(), "Its snapshots: take one, go back to one, delete one.", "a key of the screen")
	require.Contains(t, d.Screen(), "(instance)", "and a page")
	d.Press("esc", "/")
	d.Type("frobnicate")
	require.Contains(t, d.Screen(), "Nothing in the help matches.")
	d.Press("esc", "q")
	require.Contains(t, d.Lines()[0], "fleet")
	require.NotContains(t, d.Lines()[0], "help")
}

// TestTheCursorWalksAsDetailsAreDrawn walks over every value of every kind of instance at 80x24: in the order in which
// a page that is high enough for all shows them, and with G to the last one, whatever the page's height.
func TestTheCursorWalksAsDetailsAreDrawn(t *testing.T) {
	for _, sc := range uitest.Scenes() {
		if !strings.HasPrefix(sc.Name, "detail") {
			continue
		}
		tall := sc.Open(uitest.Options{Width: 80, Height: 120, Look: uitest.Plain})
		tall.Press("g")
		var want []string
		for y, last := 0, -1; ; {
			row := tall.Row()
			for i, l := range tall.Lines() {
				if l == row {
					y = i
				}
			}
			if y == last {
				break
			}
			require.Greater(t, y, last, "%s: down is down: %s", sc.Name, row)
			want, last = append(want, row), y
			tall.Press("j")
		}
		require.NotContains(t, tall.Screen(), "↓", sc.Name)
		tall.Close()

		d := sc.Open(uitest.Options{Width: 80, Height: 24, Look: uitest.Plain})
		d.Press("g")
		for i, w := range want {
			require.Equal(t, strings.Fields(w), strings.Fields(strings.TrimRight(d.Row(), "↑↓ ")), "%s, step %d", sc.Name, i)
			if i == 0 && len(want) > 22 {
				require.Contains(t, d.Screen(), "↓", sc.Name)
			}
			d.Press("j")
		}
		d.Press("g", "G")
		require.Contains(t, d.Row(), strings.TrimSpace(want[len(want)-1]), sc.Name)
		d.Close()
	}
}

// TestNoKeyIsSilent presses every key on every screen: what has an effect shows it, and what has none says why.
func TestNoKeyIsSilent(t *testing.T) {
	named := []string{"tab", "shift+tab", "left", "right", "shift+left", "enter", "esc", "f1", "f5", "delete", "ctrl+r", "alt+x"}
	for _, sc := range uitest.Scenes() {
		switch sc.Name {
		case "fleet", "first", "many", "detail", "detail-failed", "top", "top-gpu", "history", "wall", "attention", "events",
			"inventory", "snapshots", "snapshots-none", "console", "help", "queue", "queue-none", "job", "top-stopped", "attention-none":
		default:
			continue
		}
		open := func() *uitest.Driver { return sc.Open(uitest.Options{Width: 80, Height: 24, Look: uitest.Plain}) }
		d := open()
		_, all := d.M.Keys()
		moves := map[string]bool{}
		for _, b := range all {
			for _, k := range b.Keys {
				if b.Group == key.Moving && b.Why == "" {
					moves[k] = true
				}
			}
		}
		keys := named
		for c := ' '; c < 0x7f; c++ {
			keys = append(keys, string(c))
		}
		for _, k := range keys {
			if moves[k] || (k == "R" || k == "ctrl+r") && strings.HasPrefix(sc.Name, "snapshots") { // it says so while it looks
				continue
			}
			was, before := d.Screen(), len(d.Copied)+len(d.Shells)
			d.Press(k)
			if d.Screen() == was && len(d.Copied)+len(d.Shells) == before && !d.Quit {
				t.Errorf("%s on %s does nothing and says nothing", k, sc.Name)
			}
			d.Close()
			d = open()
		}
		d.Close()
	}
}
