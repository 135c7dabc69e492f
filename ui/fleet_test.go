package ui_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/ui/uitest"
)

func drive(t *testing.T, list ...api.Instance) *uitest.Driver {
	t.Helper()
	d := uitest.Drive(uitest.Options{Width: 120, Height: 30, Look: uitest.Plain}, list...)
	t.Cleanup(d.Close)
	return d
}

func TestCursorStaysOnItsRow(t *testing.T) {
	d := drive(t, uitest.Many(uitest.Epoch, 200)...)
	d.To("node-00100")
	at := func() int {
		_, y, ok := d.Find("▌")
		require.True(t, ok)
		return y
	}
	y := at()
	require.Contains(t, d.Row(), "node-00100")

	// An instance that comes before it, and one that goes: the row stays, at its place on the screen.
	in := uitest.Many(uitest.Epoch, 1)[0]
	in.ID, in.Name = "x", "aaa-first"
	d.WS.Put(in)
	d.Settle()
	require.Contains(t, d.Row(), "node-00100")
	require.Equal(t, y, at())
	d.WS.Remove("x")
	d.Settle()
	require.Contains(t, d.Row(), "node-00100")
	require.Equal(t, y, at())

	// Another order.
	d.Press("2")
	require.Contains(t, d.Row(), "node-00100")
	d.Press("1", "I")
	require.Contains(t, d.Row(), "node-00100")

	// The row itself goes: the one after it takes its place.
	d.Press("I")
	y = at()
	d.WS.Remove(d.M.Subjects()[0].ID)
	d.Settle()
	require.Contains(t, d.Row(), "node-00101")
	require.Equal(t, y, at())
}

func TestMovingAndSorting(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	require.Contains(t, d.Row(), "archive")
	d.Press("j", "j")
	require.Contains(t, d.Row(), "gpu-lab")
	d.Press("k")
	require.Contains(t, d.Row(), "big-one")
	d.Press("G")
	require.Contains(t, d.Row(), "train-2")
	d.Press("g")
	require.Contains(t, d.Row(), "archive")
	// Keys typed in one go are keys one by one.
	d.Press("jjjk")
	require.Contains(t, d.Row(), "gpu-lab")

	require.True(t, d.Click("$/HOUR"))
	require.True(t, d.Click("$/HOUR"), "again turns it round")
	require.Contains(t, d.Screen(), "↓$/HOUR")
	d.Press("g")
	d.Press(">")
	require.Contains(t, d.Screen(), "↑TODAY")
	d.Press("<", "<")
	require.Contains(t, d.Screen(), "OWNER↑")
}

func TestNaturalOrder(t *testing.T) {
	list := uitest.Many(uitest.Epoch, 4)
	for i, n := range []string{"gpu-10", "gpu-2", "GPU-1", "gpu-02a"} {
		list[i].Name = n
	}
	d := drive(t, list...)
	var got []string
	for range list {
		got = append(got, strings.Fields(strings.TrimPrefix(d.Row(), "▌"))[0])
		d.Press("j")
	}
	require.Equal(t, []string{"GPU-1", "gpu-2", "gpu-02a", "gpu-10"}, got)
}

func TestFilter(t *testing.T) {
	for q, want := range map[string]int{"train": 2, "running": 4, "a10g ec2": 4, "~nb": 1, "!running": 4, "zzz": 0,
		"!": 8, "project=vision stopped": 1, "a10g !stopped ec2": 3, "!stopped a10g": 3, "!a10g !running": 1} {
		d := drive(t, uitest.Small(uitest.Epoch)...)
		d.Press("/")
		d.Type(q)
		require.Contains(t, d.Screen(), fmt.Sprintf("%d of 8", want), q)
		d.Press("enter")
		if want == 0 {
			require.Contains(t, d.Screen(), "Nothing matches")
		}
		d.Press("esc")
		require.NotContains(t, d.Screen(), "filter "+q)
	}
}

func TestAFilterHoldsForWhatComesLater(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.Press("/")
	d.Type("stopped")
	d.Press("enter")
	require.NotContains(t, d.Screen(), "notebook")
	in := uitest.Small(uitest.Epoch)[1]
	in.State = api.StateStopped
	d.WS.Put(in)
	d.Settle()
	require.Contains(t, d.Screen(), "notebook")
	in.State = api.StateStarting
	d.WS.Put(in)
	d.Settle()
	require.NotContains(t, d.Screen(), "notebook")
}

func TestMineOnly(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	require.Contains(t, d.Screen(), "archive")
	d.Press("m")
	require.NotContains(t, d.Screen(), "archive")
	require.Contains(t, d.Screen(), "mine only")
	d.Press("m")
	require.Contains(t, d.Screen(), "archive")
}

func TestColumnsFromTheConfiguration(t *testing.T) {
	o := uitest.Options{Width: 120, Height: 30, Look: uitest.Plain}
	o.Config.Columns = []string{"name", "price", "nonsense", "State"}
	o.Config.Sort = "-price"
	d := uitest.Drive(o, uitest.Small(uitest.Epoch)...)
	require.Equal(t, []string{"NAME", "↓$/HOUR", "STATE"}, strings.Fields(d.Lines()[1]))
}

func TestWidthsDropTheLeastImportantColumns(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	for w := 1; w <= 220; w++ {
		d.Resize(w, 24)
		fits(t, d.M.View(), w, 24)
	}
	d.Resize(40, 24)
	require.Contains(t, d.Lines()[1], "STATE")
	require.NotContains(t, d.Lines()[1], "SEEN")
}

func TestManyRows(t *testing.T) {
	for _, n := range []int{0, 1, 10, 10_000} {
		d := drive(t, uitest.Many(uitest.Epoch, n)...)
		fits(t, d.M.View(), 120, 30)
		d.Press("G", "g", "pgdown", "pgup", "/")
		d.Type("node")
		d.Press("enter", "1", "2", "*", "esc", "esc")
		fits(t, d.M.View(), 120, 30)
		require.Equal(t, n, d.E.Store.Len())
	}
}

func TestMouse(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	require.True(t, d.Click("notebook"))
	require.Contains(t, d.Row(), "notebook")
	d.Pass(time.Second)
	require.True(t, d.Click("notebook"))
	require.Contains(t, d.Row(), "notebook", "two slow clicks are no double click")
	d.Click("notebook")
	require.Contains(t, d.Lines()[0], "fleet › notebook")
	d.Click("Berth")
	require.NotContains(t, d.Lines()[0], "› notebook")
	d.Press("M")
	require.Contains(t, d.Other, "tea.enableMouseCellMotionMsg")
	d.Press("M")
	require.Contains(t, d.Other, "tea.disableMouseMsg")
}

func TestHostileText(t *testing.T) {
	evil := "\x1b[31mred\x1b]0;pwned\x07\x1b]52;c;ZXZpbA==\x07\r\n\u202eevil\u00ad\u200b\ufe0f\x9b1m\x00"
	list := uitest.Small(uitest.Epoch)
	in := &list[0]
	in.Name, in.Backend, in.Size, in.Owner, in.AssignedTo, in.Region, in.Address, in.Image, in.User = evil, evil,
		evil, evil, evil, evil, evil, evil, evil
	in.State, in.StateReason, in.Workdir, in.ProviderID, in.ProviderName = api.State(evil), evil, evil, evil, evil
	in.Notes, in.Tags, in.GPUs = []string{evil}, map[string]string{evil: evil}, []api.GPU{{Name: evil}}
	in.Capabilities.Why = map[string]string{"start": evil, "stop": evil, "exec": evil}
	in.Capabilities.Start, in.Capabilities.Stop, in.Capabilities.Exec = false, false, false
	in.Agent = &api.AgentStatus{State: evil, Reason: evil, AfterReboot: evil, Version: evil}
	now := uitest.Epoch
	in.Operation = &api.Operation{Kind: evil, Instance: evil, InstanceID: in.ID, State: api.OpFailed,
		CreatedAt: now, Error: &api.Error{Message: evil, Hint: evil}, Steps: []api.Step{{Title: evil, Message: evil,
			State: api.OpFailed}}}
	harmless := func(d *uitest.Driver) {
		t.Helper()
		frame := d.M.View()
		fits(t, frame, 120, 30)
		require.NotContains(t, frame, "\x1b")
		for _, r := range frame {
			require.False(t, r != '\n' && (r < 0x20 || r >= 0x7f && r < 0xa0) || r == 0x202e || r == 0xad, "%U in %q", r, frame)
		}
	}
	d := drive(t, list...)
	d.WS.Text = evil
	d.WS.Emit(api.Event{Level: evil, Kind: evil, Instance: evil, InstanceID: in.ID, Actor: evil, Message: evil})
	d.WS.Fail = func(string, string) error { return api.Errorf(api.CodeRefused, "%s", evil).WithHint("%s", evil) }
	d.Settle()
	d.Select(in.ID)
	harmless(d)
	for _, keys := range [][]string{{"s"}, {"d"}, {"esc"}, {"y"}, {"esc"}, {"c"}, {"esc"}, {"enter"}, {"G"}, {"?"},
		{"esc"}, {"o"}, {"esc"}, {"esc"}, {"e"}, {"g"}, {"esc"}, {":", "s", "s", "h", " "}, {"esc"}, {"n"}, {"esc"},
		{"r", "y"}} {
		d.Press(keys...)
		harmless(d)
	}
	d.Connect(evil)
	harmless(d)
	d.Ask(api.Question{Kind: "text", Title: evil, Text: evil})
	harmless(d)
}
