package probe

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/gpu"
	"berth/gpu/nvml/loader"
	"berth/gpu/nvmltest"
	"berth/gpu/probe/child"
)

const asChild = "BERTH_TEST_PROBE"

// The test's program plays the child, the true one or a bad one.
func TestMain(m *testing.M) {
	switch part := os.Getenv(asChild); part {
	case "":
		os.Exit(m.Run())
	case "probe":
		os.Exit(child.Main(nil, os.Stdin, os.Stdout, os.Stderr, child.Portable()...))
	case "once-true":
		os.Exit(child.Main([]string{"--once"}, os.Stdin, os.Stdout, os.Stderr, child.Portable()...))
	default:
		os.Exit(badChild(part))
	}
}

// badChild misbehaves in the way that part says, after one reading.
func badChild(part string) int {
	line := func() {
		b, _ := json.Marshal(gpu.Reading{At: time.Now(), Source: "test", GPUs: []gpu.GPU{{Index: 0, Name: part}}})
		os.Stdout.Write(append(b, '\n'))
	}
	switch part {
	case "silent": // never says anything, and ignores its input's end
		time.Sleep(time.Hour)
	case "once": // one reading, then nothing
		line()
		time.Sleep(time.Hour)
	case "symbol": // what the dynamic loader does where a symbol is missing
		fmt.Fprintln(os.Stderr, "symbol lookup error: undefined symbol: nvmlDeviceGetSomething")
		return 127
	case "garbage":
		for {
			fmt.Println("NVRM: not JSON")
		}
	case "long":
		chunk := bytes.Repeat([]byte("x"), 1<<20)
		for range 8 {
			os.Stdout.Write(chunk)
		}
		fmt.Println()
		line()
		time.Sleep(time.Hour)
	case "mixed": // garbage between readings
		for {
			fmt.Println("{\"at\":")
			line()
			time.Sleep(50 * time.Millisecond)
		}
	case "echo": // says which interval it was told
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			b, _ := json.Marshal(gpu.Reading{At: time.Now(), GPUs: []gpu.GPU{{Name: lines.Text()}}})
			os.Stdout.Write(append(b, '\n'))
		}
	}
	return 0
}

func fast() pace {
	return pace{recheck: 50 * time.Millisecond, first: 10 * time.Second, silent: 300 * time.Millisecond,
		kill:    700 * time.Millisecond,
		backoff: 20 * time.Millisecond, maxBackoff: 100 * time.Millisecond, healthy: time.Hour, reap: 2 * time.Second}
}

func options(t *testing.T, part string, env ...string) Options {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	return Options{Commands: [][]string{{exe}}, Env: append(env, asChild+"="+part), Every: 100 * time.Millisecond,
		Present: func() bool { return true }, pace: fast()}
}

func open(t *testing.T, o Options) *Probe {
	t.Helper()
	p := New(o)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

// until waits for a state that fits.
func until(t *testing.T, p *Probe, why string, fits func(State) bool) State {
	t.Helper()
	var s State
	require.Eventually(t, func() bool { s = p.Latest(); return fits(s) }, 2*time.Minute, 5*time.Millisecond,
		"%s; the last state is %s", why, describe{p})
	return s
}

type describe struct{ p *Probe }

func (d describe) String() string { return fmt.Sprintf("%+v", d.p.Latest()) }

func fresh(s State) bool { return s.Reason == "" && !s.Stale && len(s.Reading.GPUs) > 0 }

func driver(t *testing.T, s nvmltest.Scenario) *nvmltest.Fake {
	t.Helper()
	if !loader.Built {
		if os.Getenv("BERTH_CI") != "" {
			t.Fatal("this test's program has no loader of NVML: it needs cgo or the tag nvml")
		}
		t.Skip("this test's program has no loader of NVML: it needs cgo or the tag nvml")
	}
	return nvmltest.New(t, s)
}

func TestFiguresComeAndChange(t *testing.T) {
	f := driver(t, nvmltest.Scenario{GPUs: nvmltest.A100s(2)})
	p := open(t, options(t, "probe", f.Env()...))
	s := until(t, p, "figures", fresh)
	require.Len(t, s.Reading.GPUs, 2)
	require.Equal(t, 61.0, *s.Reading.GPUs[1].Utilization)
	f.Change(func(s *nvmltest.Scenario) { s.GPUs[1].Set(nvmltest.Utilization, 7) })
	until(t, p, "a new figure", func(s State) bool { return fresh(s) && *s.Reading.GPUs[1].Utilization == 7 })
}

// A hung driver makes the figures stale with the reason, costs the child its life, and is got over.
func TestHungDriver(t *testing.T) {
	f := driver(t, nvmltest.Scenario{GPUs: nvmltest.A100s(1)})
	p := open(t, options(t, "probe", f.Env()...))
	before := until(t, p, "figures", fresh)
	f.Change(func(s *nvmltest.Scenario) { s.Hang = []string{"nvmlDeviceGetPowerUsage"} })
	s := until(t, p, "stale figures", func(s State) bool { return s.Stale })
	require.Contains(t, s.Reason, "hang")
	require.Len(t, s.Reading.GPUs, 1, "the last figures stay")
	until(t, p, "another child", func(s State) bool { return s.PID != 0 && s.PID != before.PID })
	f.Change(func(s *nvmltest.Scenario) { s.Hang = nil })
	until(t, p, "figures again", fresh)
}

// The driver is upgraded under a running probe: the old library fails, and a new process says why.
func TestUpgradedDriver(t *testing.T) {
	f := driver(t, nvmltest.Scenario{GPUs: nvmltest.A100s(1), Driver: "550.1"})
	p := open(t, options(t, "probe", f.Env()...))
	until(t, p, "figures", fresh)
	f.Change(func(s *nvmltest.Scenario) {
		s.Driver, s.Fail = "570.1", map[string]int{"*": nvmltest.VersionMismatch, "nvmlInit_v2": nvmltest.VersionMismatch}
	})
	s := until(t, p, "the mismatch", func(s State) bool {
		return strings.Contains(s.Reason, "version mismatch") && s.Restarts > 0
	})
	require.True(t, s.Stale)
	require.Contains(t, s.Reason, "reboot")
	require.Equal(t, "550.1", s.Reading.DriverVersion)
	f.Change(func(s *nvmltest.Scenario) { s.Fail = nil })
	s = until(t, p, "figures of the new driver", fresh)
	require.Equal(t, "570.1", s.Reading.DriverVersion)
}

// A GPU that falls off the bus is shown as lost; the other goes on.
func TestLostGPU(t *testing.T) {
	f := driver(t, nvmltest.Scenario{GPUs: nvmltest.A100s(2)})
	p := open(t, options(t, "probe", f.Env()...))
	until(t, p, "figures", fresh)
	f.Change(func(s *nvmltest.Scenario) {
		s.Fail, s.Events = map[string]int{"0:*": nvmltest.GPUIsLost}, []nvmltest.Event{{GPU: 0, Code: 79}}
	})
	s := until(t, p, "a lost GPU", func(s State) bool {
		return s.Reading.GPUs[0].Error != "" && s.Reading.GPUs[0].LastXID != nil
	})
	require.Empty(t, s.Reason)
	lost, well := s.Reading.GPUs[0], s.Reading.GPUs[1]
	require.Contains(t, lost.Error, "fell off the bus")
	require.Equal(t, nvmltest.A100(0).UUID, lost.UUID)
	require.Nil(t, lost.Utilization)
	require.Equal(t, 79, lost.LastXID.Code)
	require.Contains(t, lost.LastXID.Advice, "reboot")
	require.Empty(t, well.Error)
	require.Equal(t, 61.0, *well.Utilization)
}

func TestKilled100Times(t *testing.T) {
	f := driver(t, nvmltest.Scenario{GPUs: nvmltest.A100s(1)})
	o := options(t, "probe", f.Env()...)
	o.pace.backoff, o.pace.maxBackoff = time.Millisecond, time.Millisecond
	p := open(t, o)
	files := descriptors(t)
	for i := range 100 {
		// Mostly in the middle of its start, sometimes at work.
		s := until(t, p, "a child", func(s State) bool { return s.PID != 0 && s.Restarts >= i && (i%10 != 0 || fresh(s)) })
		require.NoError(t, syscall.Kill(s.PID, syscall.SIGKILL))
		until(t, p, "another child", func(n State) bool { return n.Restarts > s.Restarts })
	}
	s := until(t, p, "figures", fresh)
	require.GreaterOrEqual(t, s.Restarts, 100)
	require.Eventually(t, func() bool { return descriptors(t) <= files+8 }, 2*time.Minute, 10*time.Millisecond,
		"descriptors leak")
}

func descriptors(t *testing.T) int {
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("this system does not list descriptors")
	}
	return len(e)
}

func TestBadChildren(t *testing.T) {
	t.Run("silent after one reading", func(t *testing.T) {
		p := open(t, options(t, "once"))
		s := until(t, p, "staleness", func(s State) bool { return s.Stale && s.Restarts > 1 })
		require.Len(t, s.Reading.GPUs, 1)
	})
	t.Run("silent from the start", func(t *testing.T) {
		o := options(t, "silent")
		o.pace.first = 200 * time.Millisecond
		p := open(t, o)
		s := until(t, p, "a reason", func(s State) bool { return s.Restarts > 1 })
		require.Contains(t, s.Reason, "does not answer")
		require.False(t, s.Stale)
	})
	t.Run("a missing symbol", func(t *testing.T) {
		p := open(t, options(t, "symbol"))
		s := until(t, p, "a reason", func(s State) bool { return s.Restarts > 1 })
		require.Contains(t, s.Reason, "undefined symbol")
	})
	t.Run("garbage", func(t *testing.T) {
		p := open(t, options(t, "garbage"))
		s := until(t, p, "a reason", func(s State) bool { return s.Restarts > 1 })
		require.Contains(t, s.Reason, "nonsense")
	})
	t.Run("a line without an end", func(t *testing.T) {
		p := open(t, options(t, "long"))
		until(t, p, "the reading after it", func(s State) bool { return len(s.Reading.GPUs) == 1 })
	})
	t.Run("garbage between readings", func(t *testing.T) {
		o := options(t, "mixed")
		o.pace.kill = time.Minute
		p := open(t, o)
		first := until(t, p, "readings", fresh)
		s := until(t, p, "more", func(s State) bool { return s.Reading.At.Sub(first.Reading.At) > 300*time.Millisecond })
		require.Zero(t, s.Restarts)
	})
	t.Run("no program", func(t *testing.T) {
		o := options(t, "probe")
		o.Commands = [][]string{{filepath.Join(t.TempDir(), "none")}}
		s := until(t, open(t, o), "a reason", func(s State) bool { return s.Restarts > 1 })
		require.Contains(t, s.Reason, "starting the GPU probe")
	})
}

// A program that can't run here makes place for the next one.
func TestNextCommand(t *testing.T) {
	o := options(t, "mixed")
	o.Commands = [][]string{{filepath.Join(t.TempDir(), "none")}, {"/bin/sh", "-c", "echo no such library >&2; exit 127"},
		o.Commands[0]}
	until(t, open(t, o), "figures of the third", fresh)
}

// What can't run here is not tried again as long as another one answers, be it with a complaint.
func TestBrokenCommandsStayOut(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	o := options(t, "probe", "BERTH_NVML_LIBRARY=/nowhere/libnvidia-ml.so.1", "BERTH_GPU_SOURCE=nvml")
	o.Commands = [][]string{{"/bin/sh", "-c", "echo tried >>" + log + "; exit 127"}, o.Commands[0]}
	s := until(t, open(t, o), "many complaints", func(s State) bool { return s.Restarts > 12 })
	require.NotEmpty(t, s.Reason)
	b, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Equal(t, "tried\n", string(b))
}

// Where there is no driver nothing is started; it is looked for again.
func TestNoDriver(t *testing.T) {
	var mu sync.Mutex
	there := false
	o := options(t, "mixed")
	o.Present = func() bool { mu.Lock(); defer mu.Unlock(); return there }
	commands := o.Commands
	o.Commands, o.Find = nil, func() ([][]string, error) {
		require.True(t, o.Present(), "nothing is looked for without a driver")
		return commands, nil
	}
	p := open(t, o)
	s := until(t, p, "a reason", func(s State) bool { return s.Reason == NoDriver })
	require.Zero(t, s.PID)
	require.Zero(t, s.Restarts)
	mu.Lock()
	there = true
	mu.Unlock()
	until(t, p, "figures", fresh)
}

func TestEvery(t *testing.T) {
	o := options(t, "echo")
	o.Every, o.pace.kill = 10*time.Second, time.Minute
	p := open(t, o)
	told := func(every string) func(State) bool {
		return func(s State) bool { return len(s.Reading.GPUs) == 1 && s.Reading.GPUs[0].Name == "every "+every }
	}
	until(t, p, "the first interval", told("10s"))
	p.Every(time.Second)
	s := until(t, p, "another interval", told("1s"))
	require.False(t, s.Stale)
	p.Every(0)
	until(t, p, "the shortest interval", told("100ms"))
}

func TestNotify(t *testing.T) {
	f := driver(t, nvmltest.Scenario{GPUs: nvmltest.A100s(1)})
	states := make(chan State, 1000)
	o := options(t, "probe", f.Env()...)
	o.Notify = func(s State) {
		select {
		case states <- s:
		default:
		}
	}
	open(t, o)
	deadline := time.After(2 * time.Minute)
	for {
		select {
		case s := <-states:
			if fresh(s) {
				return
			}
		case <-deadline:
			t.Fatal("no state came")
		}
	}
}

// The child ends with its parent, also while a call hangs in the driver.
func TestEndsWithItsParent(t *testing.T) {
	f := driver(t, nvmltest.Scenario{GPUs: nvmltest.A100s(1), Hang: []string{"nvmlDeviceGetPowerUsage"}})
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(append(os.Environ(), f.Env()...), asChild+"=probe")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	in.Close()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(2 * time.Minute):
		cmd.Process.Kill()
		t.Fatal("it lives on")
	}
}

func TestCommands(t *testing.T) {
	dir := t.TempDir()
	exe := filepath.Join(dir, "berth")
	got, err := Commands([]string{exe, "agent", "probe"}, exe, filepath.Join(dir, "bin"))
	require.NoError(t, err)
	require.Equal(t, [][]string{{exe, "agent", "probe"}}, got)
	beside := filepath.Join(dir, "berth-probe")
	require.NoError(t, os.WriteFile(beside, nil, 0o755))
	got, err = Commands([]string{exe, "agent", "probe"}, exe, filepath.Join(dir, "bin"))
	require.NoError(t, err)
	require.Equal(t, [][]string{{beside}, {exe, "agent", "probe"}}, got)
	t.Setenv(CommandVariable, "/x/probe")
	got, err = Commands(nil, exe, dir)
	require.NoError(t, err)
	require.Equal(t, [][]string{{"/x/probe"}}, got)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"at":"2026-01-02T03:04:05Z","source":"nvml","gpus":[{"index":0,"name":"x"}]}`))
	f.Add([]byte(`{"at":"2026-01-02T03:04:05Z","gpus":[{"index":-1}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parse(b)
		if err != nil {
			return
		}
		if r.GPUs == nil || r.At.IsZero() {
			t.Fatalf("accepted %+v", r)
		}
	})
}
