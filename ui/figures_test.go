package ui_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/gpu"
	"berth/ui/data"
	"berth/ui/uitest"
)

// measured drives a small fleet whose figures have come.
func measured(t *testing.T, w, h int) *uitest.Driver {
	t.Helper()
	d := uitest.Drive(uitest.Options{Width: w, Height: h, Look: uitest.Plain}, uitest.Small(uitest.Epoch)...)
	t.Cleanup(d.Close)
	d.WS.Measure(uitest.Epoch)
	d.Settle()
	return d
}

func lineWith(t *testing.T, d *uitest.Driver, s string) string {
	t.Helper()
	for _, l := range d.Lines() {
		if strings.Contains(l, s) {
			return l
		}
	}
	require.Fail(t, "no line has it", "%q in\n%s", s, d.Screen())
	return ""
}

func at(list []api.Instance, name string) api.Instance {
	return list[slices.IndexFunc(list, func(in api.Instance) bool { return in.Name == name })]
}

// figuresOf is the fleet's line of an instance of Small, to be changed.
func figuresOf(name string) api.FleetFigures {
	l, _ := uitest.FiguresOf(at(uitest.Small(uitest.Epoch), name), uitest.Epoch)
	return *l
}

func TestTheFleetShowsFigures(t *testing.T) {
	for _, z := range [][2]int{{80, 24}, {120, 30}, {200, 60}} {
		d := measured(t, z[0], z[1])
		require.Regexp(t, `▲ train-1 .*[▁▂▃▄▅▆▇█]{5}✗[▁▂▃▄▅▆▇█]{2}`, lineWith(t, d, "train-1"))
		require.Regexp(t, `▲ notebook .*93% (full )?5h`, lineWith(t, d, "notebook"))
		require.Regexp(t, `△ old-box .* 25m`, lineWith(t, d, "old-box"))
		require.Regexp(t, `archive .* 1x A10G .* - `, lineWith(t, d, "archive"))
		require.Regexp(t, `gpu-lab .*▁▁▁▁ old`, lineWith(t, d, "gpu-lab"))
		require.Contains(t, d.Lines()[0], "▲ 2")
	}
	d := measured(t, 200, 60)
	require.Contains(t, d.Lines()[0], "GPUs 8 busy 1 idle 1 lost", "what a driver that hangs said is not counted")
	require.Contains(t, d.Lines()[0], "idle $1.03/h, $4.42+? today")
	require.Contains(t, d.Lines()[0], "kW")
	require.Contains(t, lineWith(t, d, "train-1"), "/280 GiB")
}

// TestUnifiedMemoryInTheFleet is marked in the list, in the details and on the wall, and counts once an instance.
func TestUnifiedMemoryInTheFleet(t *testing.T) {
	d := measured(t, 200, 60)
	l := figuresOf("notebook")
	g := &l.Summary.GPUs[0]
	g.Unified, g.MemoryUsed, g.MemoryTotal = true, l.Summary.MemoryUsed, l.Summary.Memory
	l.Summary.GPUs = append(l.Summary.GPUs, *g)
	l.Summary.GPUs[1].Index = 1
	d.WS.PutFigures(l)
	d.Settle()
	require.Regexp(t, `notebook .* 6.6/16 GiB u `, lineWith(t, d, "notebook"))
	require.NotContains(t, lineWith(t, d, "train-1"), "Gu ")
	d.To("notebook")
	d.Press("enter")
	require.Contains(t, d.Screen(), "6.6 GiB of 16 GiB, unified with the host's")
	d.Press("esc", "w")
	require.Regexp(t, `notebook:0 .* u4\d%`, lineWith(t, d, "notebook:0"))
	d.Press("/")
	d.Type("notebook")
	d.Press("enter")
	require.Contains(t, d.Screen(), "unified memory", "what u means is said of the tile under the cursor")
	require.Contains(t, d.Screen(), " 2 GPUs ")
	d = measured(t, 80, 24)
	d.Press("w", "/")
	d.Type("notebook")
	d.Press("enter")
	require.Contains(t, d.Screen(), " 1 GPU ")
}

func TestManyGPUsAreShownInEightCells(t *testing.T) {
	d := uitest.Drive(uitest.Options{Width: 160, Height: 24, Look: uitest.Plain}, uitest.Cluster(uitest.Epoch, 1, 16)...)
	d.WS.Measure(uitest.Epoch)
	d.Settle()
	require.Regexp(t, ` [▁▂▃▄▅▆▇█]{8} 16x H`, lineWith(t, d, "h100-01"))
}

// An order by figures follows them, and the cursor its row.
func TestSortingByFigures(t *testing.T) {
	o := uitest.Options{Width: 120, Height: 30, Look: uitest.Plain}
	o.Config.Sort = "-disk"
	d := uitest.Drive(o, uitest.Small(uitest.Epoch)...)
	d.WS.Measure(uitest.Epoch)
	d.Settle()
	d.Pass(2 * time.Second)
	l := figuresOf("scratch")
	*l.Summary.DiskPercent = 99
	d.To("notebook")
	d.WS.PutFigures(l)
	d.Settle()
	require.Contains(t, d.Lines()[2], "archive", "what is not known is at one end")
	rows := d.Lines()[2:10]
	i := slices.IndexFunc(rows, func(s string) bool { return strings.Contains(s, "scratch") })
	j := slices.IndexFunc(rows, func(s string) bool { return strings.Contains(s, "notebook") })
	require.Equal(t, i+1, j, "%s", strings.Join(rows, "\n"))
	require.Contains(t, d.Row(), "notebook")
	// A row that goes and one that comes find their places in that order too.
	d.WS.Remove(l.Instance)
	in := uitest.Small(uitest.Epoch)[0]
	in.ID, in.Name = "new", "newborn"
	d.WS.Put(in)
	d.Settle()
	require.NotContains(t, d.Screen(), "scratch")
	require.Contains(t, d.Screen(), "newborn")
	require.Contains(t, d.Row(), "notebook")
	for _, c := range []string{"gpus", "gpumem", "-idle", "idle"} {
		d.Press(":")
		d.Type("sort " + c)
		d.Press("enter")
		require.Contains(t, d.Row(), "notebook", c)
	}
}

func TestFiguresThatStopComing(t *testing.T) {
	d := measured(t, 200, 60)
	require.Contains(t, d.Lines()[0], "8 busy")
	d.Send(data.FigureDelta{Err: errors.New("gone")})
	require.NotContains(t, d.Lines()[0], "busy", "sums over old figures are no sums of now")
	require.Contains(t, lineWith(t, d, "train-1"), "✗")
	d.Pass(3 * time.Minute)
	require.Contains(t, lineWith(t, d, "train-1"), "3m ago")
	d.WS.Measure(d.Now())
	d.Settle()
	require.Contains(t, d.Lines()[0], "busy")
}

func TestAttention(t *testing.T) {
	d := measured(t, 120, 30)
	d.Press("!")
	require.Contains(t, d.Row(), "train-1")
	require.Contains(t, d.Screen(), "What to do: stop what runs on it")
	require.Contains(t, d.Screen(), "▲ 2 critical  △ 2 warning  · 1 to know")
	d.Press(".", "a", "g")
	require.Contains(t, d.Screen(), "▲ 1 critical  △ 2 warning  · 1 to know  1 acknowledged or muted")
	d.Press("G", "a", ".", "g", "a")
	require.Contains(t, d.WS.Log(), "attend train-1 gpu-xid:GPU-i-0001-5 ack=true mute=0")
	require.NotContains(t, d.Screen(), "XID 79")
	require.Contains(t, d.Lines()[0], "▲ 1")
	d.Press("g")
	require.Contains(t, d.Screen(), "1 acknowledged or muted")
	require.Contains(t, d.Row(), "notebook")
	d.Press("m", "down", "enter")
	require.Contains(t, d.WS.Log(), "attend notebook disk-full:/ ack=false mute=28800")
	require.NotContains(t, d.Screen(), "full in 5 hours")
	d.Press(".")
	require.Contains(t, d.Screen(), "acknowledged XID 79")
	require.Contains(t, d.Screen(), "muted 93 % used")
	d.Press("G", "k")
	require.Contains(t, d.Screen(), "a take back")
	d.Press("a")
	require.Contains(t, d.WS.Log(), "attend train-1 gpu-xid:GPU-i-0001-5 ack=false mute=0")
	d.Press("esc", "/")
	d.Type("old-box")
	d.Press("enter")
	require.Contains(t, d.Row(), "△ 25m")
	d.Press("enter")
	require.Contains(t, d.Lines()[0], "attention › old-box")
	d.Press("esc", "f")
	require.Contains(t, d.Lines()[0], "attention › old-box › top")
	d.Press("esc", "esc", "L", "a")
	require.Contains(t, d.Screen(), "read-only")
	// When the time is over it wants attention again.
	d.Press("L", "esc", "g")
	d.Pass(9 * time.Hour)
	d.WS.PutFigures(func() api.FleetFigures {
		l := figuresOf("notebook")
		until := uitest.Epoch.Add(8 * time.Hour)
		l.Attention[0].MutedUntil = &until
		return l
	}())
	d.Settle()
	d.Press("!")
	require.Contains(t, d.Screen(), "full in 5 hours")
}

// What several instances find of the host that they share is one row, which names them.
func TestAttentionOfOneHost(t *testing.T) {
	d := measured(t, 120, 30)
	for i, name := range []string{"scratch", "notebook"} {
		l := figuresOf(name)
		l.Attention = []api.Attention{{Finding: gpu.Finding{ID: "disk-full:/data", Rule: "disk-full", Severity: "critical",
			Subject: "/data", Text: "99% full", Since: uitest.Epoch.Add(time.Duration(i) * time.Second)}, Host: "this"}}
		d.WS.PutFigures(l)
	}
	d.Settle()
	d.Press("!")
	require.Contains(t, d.Row(), "notebook, scratch  /data")
	require.Equal(t, 2, strings.Count(d.Screen(), "99% full"), "the row, and what stands whole at the bottom")
	require.Contains(t, d.Screen(), "▲ 2 critical")
	require.Contains(t, d.Lines()[0], "▲ 2")
	d.Press("/")
	d.Type("/data")
	d.Press("enter", "a")
	require.Contains(t, d.WS.Log(), "attend notebook disk-full:/data ack=true mute=0")
	require.NotContains(t, d.Screen(), "99% full")
	require.Contains(t, d.Lines()[0], "▲ 1")
}

func TestAttentionThatCanNotBeSaid(t *testing.T) {
	d := measured(t, 120, 30)
	d.Press("!")
	d.WS.Remove("i-0001")
	d.Press("a")
	require.Contains(t, d.Screen(), "there is no instance")
}

// Whoever does not look is told of a new critical finding, once, in the way that the configuration names.
func TestNewCriticalFindingsRingOnce(t *testing.T) {
	evil := "\x1b]52;c;ZXZpbA==\a;x\x1b[31m full"
	for how, want := range map[string][]string{
		"": nil, "none": nil, "nonsense": nil, "bell": {"\a"},
		"osc9": {"\x1b]9;scratch, /: ;x full\a"}, "osc777": {"\x1b]777;notify;Berth;scratch, /: ,x full\a"},
	} {
		o := uitest.Options{Width: 120, Height: 30, Look: uitest.Plain}
		o.Config.Notify = how
		d := uitest.Drive(o, uitest.Small(uitest.Epoch)...)
		d.WS.Measure(uitest.Epoch)
		d.Settle()
		require.Empty(t, d.Rung, "what was there before somebody looked rings not")
		l := figuresOf("scratch")
		l.Attention = []api.Attention{{Finding: gpu.Finding{ID: "disk-full:/", Rule: "disk-full",
			Severity: "critical", Subject: "/", Text: evil, Since: uitest.Epoch}}}
		for range 3 {
			d.WS.PutFigures(l)
			d.Settle()
		}
		require.Equal(t, want, d.Rung, how)
		require.Contains(t, d.Screen(), "! shows what to do")
	}
}

// The service finds what is idle and paid for; the wall has no limit of its own.
func TestTheWallShowsWhatTheServiceFinds(t *testing.T) {
	d := measured(t, 80, 24)
	say := func(found bool) string {
		in := uitest.Small(uitest.Epoch)[1]
		require.Equal(t, "notebook", in.Name)
		l, _ := uitest.FiguresOf(in, uitest.Epoch)
		require.NotNil(t, l.Summary.GPUIdleSince, "idle for 47 minutes")
		if !found {
			l.Attention = nil
		}
		d.Pass(6 * time.Second) // tiles that jump can't be read
		d.Meter.Add(*l)
		d.Settle()
		return lineWith(t, d, "notebook:0")
	}
	d.Press("w")
	require.NotContains(t, say(false), "$ notebook:0")
	require.Contains(t, say(true), "$ notebook:0")
}

// What idle GPUs cost today is said when none is idle now, and what is not known of it.
func TestIdleCostOfToday(t *testing.T) {
	d := measured(t, 200, 60)
	require.Contains(t, d.Lines()[0], "idle $1.03/h, $4.42+? today")
	d.Press("/")
	d.Type("notebook")
	d.Press("enter", "enter")
	require.Contains(t, d.Screen(), "2.2 GPU hours today, $2.23")
	d.Press("esc", "esc")
	for _, in := range uitest.Small(uitest.Epoch) {
		l, _ := uitest.FiguresOf(in, uitest.Epoch)
		if l == nil || l.Summary == nil {
			continue
		}
		in.State = api.StateStopped
		d.Meter.Add(*l)
		d.Feed.Add(api.Change{Instance: &in})
	}
	d.Settle()
	require.Regexp(t, `  idle \$4\.42\+\? today`, d.Lines()[0])
}

func TestTheWall(t *testing.T) {
	d := measured(t, 80, 24)
	d.Press("w")
	require.Regexp(t, `✗ train-1:5 +GPU is lost`, d.Row())
	require.Contains(t, d.Screen(), "17 GPUs")
	require.Contains(t, d.Screen(), "XID 79")
	d.Press("j")
	require.Contains(t, d.Row(), "△ train-1:3")
	d.Press("f")
	require.Contains(t, d.Lines()[0], "wall › train-1 › top")
	require.Contains(t, d.Row(), "3 A100", "the cursor is on the GPU")
	d.Press("esc", "/")
	d.Type("idle and paid")
	d.Press("enter")
	require.Contains(t, d.Row(), "$ notebook:0")
	require.Contains(t, d.Screen(), "idle for 47m")
	d.Press("esc", "/")
	d.Type("no such")
	require.Contains(t, d.Screen(), "Nothing matches")
	d.Press("esc", "S")
	require.Contains(t, d.Screen(), "by name")
	require.Contains(t, lineWith(t, d, "by name"), "/17")
	d.Press("g", "enter")
	require.Contains(t, d.Lines()[0], "wall › archive")
}

func TestTwoHundredAndFiftySixGPUsAreSeenAtOnce(t *testing.T) {
	d := uitest.Drive(uitest.Options{Width: 200, Height: 60, Look: uitest.Plain}, uitest.Cluster(uitest.Epoch, 32, 8)...)
	d.WS.Measure(uitest.Epoch)
	d.Settle()
	d.Press("w")
	s := d.Screen()
	for i := range 32 {
		for k := range 8 {
			require.Contains(t, s, fmt.Sprintf("h100-%02d:%d ", i+1, k))
		}
	}
	d.Press("l", "l", "l", "l")
	require.Contains(t, s, "h100-32:7")
	d.Press("G")
	require.Contains(t, lineWith(t, d, "by attention"), "256/256")
	d.Resize(60, 10)
	fits(t, d.M.View(), 60, 10)
	require.Contains(t, d.Row(), "h100-32:7")
}

func TestPaletteOpensFigures(t *testing.T) {
	d := measured(t, 120, 30)
	for cmd, want := range map[string]string{"top train-1": "train-1 › top", "wall": "› wall", "attention": "› attention"} {
		d.Press(":")
		d.Type(cmd)
		d.Press("enter")
		require.Contains(t, d.Lines()[0], want)
		d.Press("esc")
	}
}

func TestFiguresWithTheMouse(t *testing.T) {
	d := measured(t, 120, 40)
	d.Press("w")
	require.True(t, d.Click("scratch:0"))
	require.Contains(t, d.Row(), "scratch:0")
	d.Press("esc", "!")
	require.True(t, d.Click("old-box"))
	require.Contains(t, d.Row(), "old-box")
	d.Press("esc")
	d.To("train-1")
	d.Press("f")
	require.True(t, d.Click("27/40 GiB"))
	require.Contains(t, d.Row(), " 1 A100")
	require.True(t, d.Click("27/40 GiB"), "a second click opens it")
	require.Contains(t, d.Screen(), "GPU-i-0001-1")
	d.Press("esc")
	require.True(t, d.Click("/scratch "))
	require.Contains(t, d.Row(), "/scratch")
	for _, k := range []string{"w", "!"} {
		d.Press("esc", "esc", k)
		d.Send(tea.MouseMsg{Button: tea.MouseButtonWheelDown})
		d.Send(tea.MouseMsg{Button: tea.MouseButtonWheelUp})
		d.Send(tea.MouseMsg{X: 119, Y: 37, Action: tea.MouseActionPress, Button: tea.MouseButtonLeft})
	}
}

// TestWhatIsStoppedHasNoFigures: of two stopped instances both cells say the same, measured before or not.
func TestWhatIsStoppedHasNoFigures(t *testing.T) {
	list := uitest.Small(uitest.Epoch)
	for i := range list[:2] { // as archive, which was measured when it ran
		list[i].State, list[i].Size, list[i].GPUs = api.StateStopped, list[3].Size, list[3].GPUs
	}
	for _, w := range []int{80, 120, 200} {
		d := uitest.Drive(uitest.Options{Width: w, Height: 24, Look: uitest.Plain}, list...)
		d.WS.PutFigures(figuresOf("archive"))
		d.Settle()
		require.NotNil(t, d.E.Store.Figures("i-0004"))
		cells := func(name string) string {
			_, after, _ := strings.Cut(lineWith(t, d, name), list[3].Size)
			f := strings.Fields(after)
			return strings.Join(f[:min(len(f), 3)], " ") // GPUS, and DISK or GPU MEM
		}
		require.Equal(t, cells("notebook"), cells("archive"), "at %d", w)
		require.NotContains(t, lineWith(t, d, "archive"), "%")
		d.Press(":")
		d.Type("sort disk")
		d.Press("enter")
		require.NotContains(t, lineWith(t, d, "archive"), "%")
		d.Close()
	}
}
