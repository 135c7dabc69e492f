package ui_test

import (
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/gpu"
	"berth/ui/screen"
	"berth/ui/uitest"
)

// sampleOf is what an instance of Small measures, to be changed.
func sampleOf(name string) gpu.Sample {
	_, s := uitest.FiguresOf(at(uitest.Small(uitest.Epoch), name), uitest.Epoch)
	return *s
}

// topOf opens the figures of an instance.
func topOf(t *testing.T, name string, w, h int) *uitest.Driver {
	t.Helper()
	d := measured(t, w, h)
	d.To(name)
	d.Press("f")
	return d
}

func TestTopShowsAndFollows(t *testing.T) {
	for _, z := range [][2]int{{80, 24}, {120, 40}, {200, 60}} {
		d := topOf(t, "train-1", z[0], z[1])
		s := d.Screen()
		for _, want := range []string{"driver 570.86.15", "26/40 GiB", "309/400 W", "✗ GPU is lost", "XID 79", "held: ",
			"load 48", "and cache 426 GiB", "/share", "python train.py"} {
			require.Contains(t, s, want, "%v", z)
		}
		v := sampleOf("train-1")
		v.SampledAt = v.SampledAt.Add(time.Second)
		*v.GPUs[0].Utilization = 7
		d.WS.PutSample("i-0001", v)
		d.Settle()
		require.Contains(t, d.Row(), "  7% ")
	}
}

// Figures that are not those of now say so, with the reason, and come back.
func TestTopSaysHowOldItsFiguresAre(t *testing.T) {
	d := topOf(t, "train-1", 120, 30)
	require.NotContains(t, d.Screen(), "figures of")
	d.Pass(9 * time.Second)
	require.Contains(t, d.Screen(), "figures of 9s ago: nothing has come since")
	d.Pass(3 * time.Minute)
	require.Contains(t, d.Screen(), "figures of 3m ago: nothing has come since")
	d.WS.PutSample("i-0001", sampleOf("train-1"))
	d.Settle()
	require.NotContains(t, d.Screen(), "figures of")

	// It is stopped, and started again.
	in := at(uitest.Small(uitest.Epoch), "train-1")
	in.State = api.StateStopped
	d.WS.Put(in)
	d.Settle()
	require.Contains(t, d.Screen(), "train-1 is stopped")
	in.State = api.StateRunning
	d.WS.Put(in)
	d.Settle()
	require.NotContains(t, d.Screen(), "is stopped")

	d = topOf(t, "gpu-lab", 120, 30)
	require.Contains(t, d.Screen(), "GPU figures of 3m ago: the NVIDIA driver has not answered for 3 minutes")
	d = topOf(t, "archive", 120, 30)
	require.Contains(t, d.Screen(), "figures of 9d ago: archive is stopped")
	require.Contains(t, d.Row(), "A10G")
	d.Press("enter")
	require.Contains(t, d.Screen(), "not known", "what the fleet does not know is not called unsupported")
	require.NotContains(t, d.Screen(), "not supported")
	d = topOf(t, "old-box", 120, 30)
	require.Contains(t, d.Screen(), "figures of 25m ago: old-box is unknown")
	d = topOf(t, "big-one", 120, 30)
	require.Contains(t, d.Screen(), "There are no figures: big-one is create failed")
}

// It may be opened by name before the fleet has come.
func TestTopBeforeTheFleet(t *testing.T) {
	d := uitest.Drive(uitest.Options{Width: 120, Height: 30, Look: uitest.Plain, Unloaded: true},
		uitest.Small(uitest.Epoch)...)
	d.WS.Measure(uitest.Epoch)
	d.Send(screen.Open{Name: "top", Arg: "Train-1"})
	d.Send(screen.Open{Name: "top", Arg: "nobody"})
	require.Contains(t, d.Screen(), "the fleet has not come yet")
	d.Feed.Add(api.Change{Snapshot: uitest.Small(uitest.Epoch), Complete: true})
	d.Settle()
	require.Contains(t, d.Screen(), "there is no instance nobody")
	d.Press("esc")
	require.Contains(t, d.Screen(), "XID 79")
	require.Contains(t, d.Lines()[0], "train-1 › top")
}

func TestTopOfAHostWithoutGPUs(t *testing.T) {
	d := topOf(t, "notebook", 100, 30)
	v := sampleOf("notebook")
	v.GPUs, v.GPUError = []gpu.GPU{}, "there is no NVIDIA driver here; install one with berth setup"
	d.WS.PutSample("i-0002", v)
	d.Settle()
	require.Contains(t, d.Screen(), "no GPUs: there is no NVIDIA driver here")
	require.Contains(t, d.Screen(), "MEM")
}

// While the terminal is not looked at less is asked for, and it is not called old.
func TestTopIsSlowWhileNobodyLooks(t *testing.T) {
	d := topOf(t, "train-1", 120, 30)
	d.Send(tea.BlurMsg{})
	d.Pass(12 * time.Second)
	require.NotContains(t, d.Screen(), "figures of")
	d.Send(tea.FocusMsg{})
	require.NotContains(t, d.Screen(), "figures of")
}

func TestEverythingOfAGPU(t *testing.T) {
	d := topOf(t, "train-1", 200, 60)
	d.Press("enter")
	for _, want := range []string{"fan              not supported", "by NV12          1 2 3 4 5 6 7 (NVLink)",
		"corrected ever   3", "GPU-i-0001-0", "52.8 kWh", "generation 4, 16 lanes", "12 links up", "4100 ubuntu"} {
		require.Contains(t, d.Screen(), want)
	}
	d.Press("esc", "j", "j", "j", "j", "j", "enter")
	for _, want := range []string{"GPU is lost", "79: the GPU has fallen off the bus, 4m ago", "restart the instance"} {
		require.Contains(t, d.Screen(), want)
	}
	d = topOf(t, "scratch", 120, 40)
	d.Press("j", "enter")
	for _, want := range []string{"utilisation      not supported", "MIG              on", "0 3g.24gb"} {
		require.Contains(t, d.Screen(), want)
	}
	d.Press("esc")
	require.Contains(t, d.Row(), "not supported")
	require.NotContains(t, d.Row(), " 0%")
}

// A GPU that shares the host's memory is marked wherever its memory stands, and has no bus.
func TestUnifiedMemory(t *testing.T) {
	v := sampleOf("notebook")
	g := &v.GPUs[0]
	*g = gpu.GPU{UUID: g.UUID, Name: "NVIDIA GB10", Unified: true, Utilization: g.Utilization, Temperature: g.Temperature,
		MemoryUsed: v.MemoryUsed, MemoryTotal: v.MemoryTotal}
	for _, z := range [][2]int{{80, 24}, {120, 40}, {200, 60}} {
		d := topOf(t, "notebook", z[0], z[1])
		d.WS.PutSample(at(uitest.Small(uitest.Epoch), "notebook").ID, v)
		d.Settle()
		require.Regexp(t, `NVIDIA GB|GB10`, d.Row())
		require.Regexp(t, `[0-9.]+/\d+ GiB u .* unified( memory)?$`, strings.TrimRight(d.Row(), " "), "%v", z)
		require.NotContains(t, d.Screen(), "PCIE")
		d.Press("enter")
		require.Contains(t, d.Screen(), "unified: the host's")
		require.NotContains(t, d.Screen(), "PCIe")
		for range 10 {
			d.Press("v")
			require.NotContains(t, d.Screen(), "PCIe")
		}
	}
}

// Of a lost GPU the driver may not even tell the name: it keeps its place, and no other's history is taken for its own.
func TestALostGPUWithoutAName(t *testing.T) {
	d := topOf(t, "train-1", 120, 40)
	d.Press("j", "j")
	v := sampleOf("train-1")
	v.GPUs[2] = gpu.GPU{Index: 2, Error: "lost: it fell off the bus"}
	v.GPUs[5] = gpu.GPU{Index: 5, Error: "lost too"}
	d.WS.PutSample("i-0001", v)
	d.Settle()
	require.Contains(t, d.Row(), "lost: it fell off the bus")
	require.Contains(t, d.Screen(), "does not say any more which GPU this is")
	d.Press("enter")
	require.Contains(t, d.Screen(), "UUID             not known")
	d.Press("esc", "j", "j", "j", "enter")
	require.Contains(t, d.Screen(), "lost too")
	for _, c := range d.WS.Log() {
		require.NotContains(t, c, "#")
		require.NotRegexp(t, `^history .* $`, c)
	}
}

func TestHostDiskAndProcessPages(t *testing.T) {
	d := topOf(t, "notebook", 120, 40)
	d.Press("tab", "enter")
	for _, want := range []string{"cores 0-1", "some waited: CPU 3.2%", "nvme0n1", "cache"} {
		require.Contains(t, d.Screen(), want)
	}
	d.Press("esc", "tab")
	require.Contains(t, d.Row(), "full in 5h", "what is full first is first")
	d.Press("enter")
	for _, want := range []string{"for root only    6.0 GiB", "full in          5h if it goes on", "growth           400 KiB/s", "rw,relatime"} {
		require.Contains(t, d.Screen(), want)
	}
	d.Press("esc", "tab", "enter")
	require.Contains(t, d.Screen(), "kernel 資料探索.ipynb")
	v := sampleOf("notebook")
	v.Processes = nil
	d.WS.PutSample("i-0002", v)
	d.Settle()
	require.Contains(t, d.Screen(), "This process is gone")
}

func TestProcesses(t *testing.T) {
	d := topOf(t, "train-1", 120, 40)
	d.Press("/")
	d.Type("tensorboard")
	d.Press("enter")
	require.Contains(t, d.Screen(), "1 of 412")
	d.Press("esc", "/")
	d.Type("!train.py")
	d.Press("enter")
	require.NotContains(t, d.Screen(), "--local-rank")
	d.Press("esc", "tab", "tab", "tab")
	require.Contains(t, d.Row(), "4105")
	d.Press("S", "S") // by CPU
	require.Contains(t, lineWith(t, d, "COMMAND"), "CPU↓")
	require.Contains(t, d.Row(), "4105", "the cursor stays on its process")
	d.Press("tab", "tab", "tab", "tab")
	require.Contains(t, d.Row(), "4107")
	d.Press("I")
	require.Contains(t, lineWith(t, d, "COMMAND"), "CPU↑")
	d.Press("I", "T", "g")
	require.Contains(t, d.Screen(), "└ ")
	d.Press("/")
	d.Type("zombie")
	d.Press("enter")
	require.Contains(t, d.Screen(), "zombie: its GPU memory is held")
}

// The filter finds processes that are not among those that an agent sends by itself.
func TestTheFilterSearchesAllProcesses(t *testing.T) {
	d := topOf(t, "train-1", 120, 40)
	d.WS.PutBeside("i-0001", gpu.Process{PID: 31337, User: "eve", Command: "sleep 86400", State: "sleeping"})
	d.Press("/")
	d.Type("eve sleep")
	require.NotContains(t, d.Screen(), "31337")
	d.Pass(time.Second)
	require.Contains(t, d.Screen(), "31337")
	d.Press("esc")
	d.Pass(time.Second)
	require.NotContains(t, d.Screen(), "31337")
	require.Contains(t, d.Screen(), "python train.py")
}

func TestSignals(t *testing.T) {
	d := topOf(t, "train-1", 120, 40)
	d.Press("x")
	require.Contains(t, d.Screen(), "GPU 0: job 17 (resnet50) has it; end it in the queue (Q)")
	signals := func() []string {
		var out []string
		for _, c := range d.WS.Log() {
			if strings.HasPrefix(c, "signal") {
				out = append(out, c)
			}
		}
		return out
	}
	d.Press("tab", "tab", "tab", "x")
	require.Contains(t, d.Screen(), "A signal to 4105")
	d.Press("enter")
	require.Contains(t, d.Screen(), "Send TERM to 4105?")
	require.Contains(t, d.Screen(), "job 17")
	d.Press("enter") // the default is no
	require.Empty(t, signals())
	d.Press("x", "down", "enter", "y")
	require.Equal(t, []string{"signal train-1 4105 INT other=false"}, signals())
	require.Contains(t, d.Screen(), "INT was sent to 4105")

	// Another user's wants its PID typed, and says whose it is.
	d.Press("/")
	d.Type("tensorboard")
	d.Press("enter", "G", "x", "down", "down", "enter")
	require.Contains(t, d.Screen(), "a process of grace, not of ubuntu")
	d.Press("y", "enter")
	require.Len(t, signals(), 1)
	d.Press("esc", "x", "down", "down", "enter")
	d.Type("3122")
	d.Press("enter")
	require.Equal(t, "signal train-1 3122 KILL other=true", signals()[1])

	// Process 1 is never signalled, nor is anything where nothing may be changed.
	d.Press("esc", "/")
	d.Type("/sbin/init")
	d.Press("enter", "G", "x")
	require.Contains(t, d.Screen(), "never signalled")
	d.Press("esc", "G", "L", "x")
	require.Contains(t, d.Screen(), "read-only")
	require.Len(t, signals(), 2)
}

// A GPU that an idle kernel keeps, or a program of one's own, is freed after a question; nobody else's is touched.
func TestFreeingAGPU(t *testing.T) {
	d := topOf(t, "notebook", 120, 40)
	log := len(d.WS.Log())
	d.Press("g", "x")
	require.Contains(t, d.Screen(), "Free GPU 0?")
	require.Contains(t, d.Screen(), "9021 python -m ipykernel_launcher")
	require.Contains(t, d.Screen(), "410 MiB of its memory")
	d.Press("enter") // the default is no
	require.Len(t, d.WS.Log(), log)
	d.Press("x", "y")
	require.Equal(t, "signal notebook 9021 TERM other=false", d.WS.Log()[log])
	require.Contains(t, d.Screen(), "1 process on GPU 0 was asked to end")
}

func TestHistory(t *testing.T) {
	d := topOf(t, "train-1", 100, 30)
	require.Empty(t, d.WS.Log(), "where no graph is seen none is asked for")
	d.Press("h")
	require.Contains(t, d.WS.Log(), "history train-1 [gpu_utilization_percent] GPU-i-0001-0")
	require.Contains(t, d.Screen(), "GPU 0 utilisation")
	require.Contains(t, d.Screen(), "100%┤")
	require.Contains(t, d.Screen(), "10:20")
	d.Press("left", "left")
	require.Regexp(t, `10:29:\d\d  mean \d+%  max \d+%`, d.Screen())
	for range 6 {
		d.Press("shift+left")
	}
	for range 30 {
		if strings.Contains(d.Screen(), "not measured") {
			break
		}
		d.Press("right")
	}
	require.Contains(t, d.Screen(), "not measured", "a gap is a gap")
	d.Press("2")
	require.Contains(t, d.Screen(), "[2 6 h]")
	require.Contains(t, d.Screen(), "06:00")
	d.Press("3", "v")
	require.Contains(t, d.Screen(), "GPU 0 memory")
	require.Contains(t, d.Screen(), "40 GiB┤")
	require.Contains(t, d.Screen(), "Mar 1")
	d.Press("j")
	require.Contains(t, d.Screen(), "GPU 1 memory")
	require.Contains(t, d.WS.Log(), "history train-1 [gpu_memory_used_bytes] GPU-i-0001-1")

	// Seconds are added as they are measured, and nothing is asked for again.
	d.Press("1", "v", "v", "v", "v", "v", "v", "v", "v", "v")
	n := len(d.WS.Log())
	for i := range 40 {
		v := sampleOf("train-1")
		v.SampledAt = uitest.Epoch.Add(time.Duration(i+1) * time.Second)
		*v.GPUs[1].Utilization = 3
		d.Pass(time.Second)
		d.WS.PutSample("i-0001", v)
		d.Settle()
	}
	require.Len(t, d.WS.Log(), n)
	d.Press("left")
	require.Regexp(t, `10:30:\d\d  mean 3%  max 3%`, d.Screen())

	d.WS.HistoryErr = api.Errorf(api.CodeUnreachable, "the agent has no history: its disk is full")
	d.Press("j")
	require.Contains(t, d.Screen(), "its disk is full")
	d.Press("esc")
	require.Contains(t, d.Lines()[0], "train-1 › top")
	d.Press("esc", "esc")
	require.NotContains(t, d.Lines()[0], "top")

	// Of what does not run there is none to ask for.
	d = topOf(t, "archive", 100, 40)
	d.Press("h")
	require.Contains(t, d.Screen(), "its history is kept on the instance: archive is stopped")
}

// What is called anything from outside can't harm the terminal, nor shear the frame.
func FuzzFigures(f *testing.F) {
	f.Add("\x1b[31mred\x1b]0;pwned\x07\x1b]52;c;ZXZpbA==\x07\r\n\u202eevil\u00ad\u200b\ufe0f\x9b1m\x00", uint8(3))
	f.Add("python 資料.py 👩🏽‍🔬 \xff\xfe e\u0301\u0301\u0301\u0301\u0301\u0301", uint8(200))
	f.Fuzz(func(t *testing.T, s string, n uint8) {
		d := uitest.Drive(uitest.Options{Width: 100, Height: 34, Look: uitest.Plain}, uitest.Small(uitest.Epoch)...)
		d.WS.Measure(uitest.Epoch)
		d.Settle()
		v := sampleOf("train-1")
		v.DriverVersion, v.CUDAVersion, v.GPUSource = s, s, s
		g := &v.GPUs[0]
		g.Name, g.PCI, g.PerformanceState, g.ComputeMode, g.Throttle = s, s, s, s, []string{s}
		g.LastXID = &gpu.XID{Code: int(n), Meaning: s, Advice: s, At: uitest.Epoch}
		g.MIG = []gpu.MIG{{Profile: s}}
		v.GPUs[1].Error = s
		v.Topology[0].Kind = s
		v.Networks[0].Name, v.Devices[0].Name = s, s
		v.Disks[0].Mount, v.Disks[0].Device, v.Disks[0].Filesystem, v.Disks[0].Options = s, s, s, s
		p := &v.Processes[0]
		p.User, p.Command, p.State, p.Note, p.Owner = s, s, s, s, gpu.Owner{Kind: s, ID: s, Name: s}
		v.Attention = []gpu.Finding{{ID: s, Rule: s, Severity: s, Subject: s, Text: s, Advice: s}}
		d.WS.PutSample("i-0001", v)
		l := figuresOf("train-1")
		l.Why, l.Summary.Disk, l.Summary.GPUError = s, s, s
		l.Summary.GPUs[0].Name, l.Summary.GPUs[1].Error, l.Summary.GPUs[0].User = s, s, s
		l.Attention = []api.Attention{{Finding: v.Attention[0]}}
		d.WS.PutFigures(l)
		d.Settle()
		d.To("train-1")
		look := func() {
			t.Helper()
			frame := d.M.View()
			fits(t, frame, 100, 34)
			for _, r := range frame {
				require.False(t, r != '\n' && (r < 0x20 || r >= 0x7f && r < 0xa0) || r == 0x202e || r == 0xad, "%U in %q", r, frame)
			}
		}
		look()
		for _, k := range []string{"f", "enter", "esc", "h", "esc", "tab", "enter", "esc", "tab", "enter", "esc", "tab",
			"enter", "esc", "x", "enter", "esc", "T", "esc", "w", "enter", "esc", "esc", "!", "m", "esc", "a"} {
			d.Press(k)
			look()
		}
	})
}
