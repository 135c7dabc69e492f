package smi

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/gpu"
	"berth/gpu/nvml"
	"berth/gpu/nvmltest"
)

// script is an nvidia-smi that a test writes itself.
func script(t *testing.T, text string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nvidia-smi")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755))
	t.Setenv(PathVariable, path)
}

func open(t *testing.T) gpu.Source {
	t.Helper()
	s, err := Open()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// until reads until a reading fits.
func until(t *testing.T, s gpu.Source, fits func(gpu.Reading, error) bool) (r gpu.Reading, err error) {
	t.Helper()
	require.Eventually(t, func() bool { r, err = s.Read(t.Context()); return fits(r, err) }, 2*time.Minute,
		20*time.Millisecond)
	return r, err
}

func TestStream(t *testing.T) {
	f := nvmltest.New(t, nvmltest.Scenario{GPUs: nvmltest.A100s(3)})
	f.Setenv(t)
	s := open(t)
	r, err := s.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, "nvidia-smi", r.Source)
	require.Equal(t, "570.86.15", r.DriverVersion)
	require.Len(t, r.GPUs, 3)
	require.Equal(t, 62.0, *r.GPUs[2].Utilization)
	require.Equal(t, int64(22<<30), *r.GPUs[2].MemoryUsed)
	require.Equal(t, 252.5, *r.GPUs[2].Power)
	require.Nil(t, r.GPUs[2].Fan)
	require.Equal(t, []string{}, r.GPUs[2].Throttle)
	require.Equal(t, int64(12), *r.GPUs[2].ECC.AggregateCorrected)
	until(t, s, func(r gpu.Reading, err error) bool { return err == nil && len(r.Processes) == 3 })
	f.Change(func(s *nvmltest.Scenario) { s.GPUs[2].Set(nvmltest.Utilization, 3) })
	until(t, s, func(r gpu.Reading, err error) bool { return err == nil && *r.GPUs[2].Utilization == 3 })
	f.Change(func(s *nvmltest.Scenario) { s.Fail = map[string]int{"1:*": nvmltest.GPUIsLost} })
	r, _ = until(t, s, func(r gpu.Reading, err error) bool { return err == nil && r.GPUs[1].Error != "" })
	require.Len(t, r.GPUs, 3)
	require.Contains(t, r.GPUs[1].Error, "GPU is lost")
	require.Equal(t, nvmltest.A100(1).UUID, r.GPUs[1].UUID)
	require.Nil(t, r.GPUs[1].Utilization)
	require.Empty(t, r.GPUs[2].Error)
	f.Change(func(s *nvmltest.Scenario) { s.Fail = map[string]int{"nvmlInit_v2": nvmltest.VersionMismatch} })
	_, err = until(t, s, func(_ gpu.Reading, err error) bool { return err != nil })
	require.ErrorIs(t, err, nvml.ErrMismatch)
}

// A GPU that shares the host's memory reports none, and warnings among the rows are no rows.
func TestUnifiedMemory(t *testing.T) {
	path, err := filepath.Abs("testdata/nvidia-smi-unified")
	require.NoError(t, err)
	t.Setenv(PathVariable, path)
	s := open(t)
	r, _ := until(t, s, func(r gpu.Reading, err error) bool { return err == nil && len(r.Processes) == 1 })
	require.Len(t, r.GPUs, 1)
	g := r.GPUs[0]
	require.Equal(t, "NVIDIA GB10", g.Name)
	require.True(t, g.Unified)
	require.Empty(t, g.Error)
	require.Equal(t, 37.0, *g.Utilization)
	require.Nil(t, g.MemoryTotal)
	require.Nil(t, g.MemoryUsed)
	require.Equal(t, int64(19135)<<20, *r.Processes[0].Memory)

	for value, want := range map[string]bool{"[N/A]": true, "N/A": true, "[Not Supported]": true, "[Unknown Error]": false,
		"[Insufficient Permissions]": false, "": false, "81920": false} {
		cols := []column{columns[0], columns[1], columns[2], columns[6], columns[8]}
		r, err := parseLine("0, 1, GPU-1, 5, "+value, cols)
		require.NoError(t, err)
		require.Equal(t, want, r.gpu.Unified, "%q", value)
		r, err = parseLine("0, 1, GPU-1, [N/A], "+value, cols)
		require.NoError(t, err)
		require.False(t, r.gpu.Unified, "nothing at all is known of it")
	}
}

// The tool ends at once where there are no GPUs: that is an answer, and it is asked again.
func TestNoGPUs(t *testing.T) {
	f := nvmltest.New(t, nvmltest.Scenario{})
	f.Setenv(t)
	s := open(t)
	r, err := s.Read(t.Context())
	require.NoError(t, err)
	require.Empty(t, r.GPUs)
	require.NotNil(t, r.GPUs)
	f.Change(func(s *nvmltest.Scenario) { s.GPUs = nvmltest.A100s(1) })
	until(t, s, func(r gpu.Reading, err error) bool { return err == nil && len(r.GPUs) == 1 })
}

// An older nvidia-smi does not know all columns: they are left out one after another.
func TestOlderTool(t *testing.T) {
	f := nvmltest.New(t, nvmltest.Scenario{GPUs: nvmltest.A100s(1)})
	f.Setenv(t)
	script(t, `for c in memory.reserved utilization.encoder mig.mode.current; do
  case "$*" in *"$c"*) echo "Field \"$c\" is not a valid field to query."; echo; exit 2;; esac
done
exec `+f.SMI+` "$@"
`)
	s := open(t)
	r, err := s.Read(t.Context())
	require.NoError(t, err)
	require.Nil(t, r.GPUs[0].MemoryReserved)
	require.Nil(t, r.GPUs[0].Encoder)
	require.Nil(t, r.GPUs[0].MIGEnabled)
	require.Equal(t, 60.0, *r.GPUs[0].Utilization)
}

func TestComplaints(t *testing.T) {
	for words, want := range map[string]error{
		"Failed to initialize NVML: Driver/library version mismatch":                                                                         nvml.ErrMismatch,
		"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is installed": nvml.ErrNotLoaded,
		"Failed to initialize NVML: Insufficient Permissions":                                                                                nvml.ErrPermission,
		"Failed to initialize NVML: GPU access blocked by the operating system":                                                              nvml.ErrPermission,
		"Failed to initialize NVML: Unknown Error":                                                                                           nvml.ErrDriver,
		"what is this, a line?": gpu.ErrAnswer,
	} {
		t.Run(words, func(t *testing.T) {
			script(t, "echo \""+words+"\"; exit 9\n")
			_, err := Open()
			require.ErrorIs(t, err, want)
		})
	}
}

func TestNoTool(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := os.Stat("/usr/lib/wsl/lib/nvidia-smi"); err == nil {
		t.Skip("WSL has its own")
	}
	_, err := Open()
	require.ErrorIs(t, err, gpu.ErrNoTool)
}

// A line that never ends is not kept; the tool is ended with the source.
func TestEndlessLine(t *testing.T) {
	script(t, "exec cat /dev/zero\n")
	_, err := Open()
	require.ErrorIs(t, err, gpu.ErrAnswer)
}

func TestEndsWithTheSource(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	f := nvmltest.New(t, nvmltest.Scenario{GPUs: nvmltest.A100s(1)})
	f.Setenv(t)
	script(t, "case \"$*\" in *-lms*) echo $$ >"+pid+";; esac\nexec "+f.SMI+" \"$@\"\n")
	s, err := Open()
	require.NoError(t, err)
	b, err := os.ReadFile(pid)
	require.NoError(t, err)
	require.DirExists(t, "/proc/"+strings.TrimSpace(string(b)))
	require.NoError(t, s.Close())
	require.NoDirExists(t, "/proc/"+strings.TrimSpace(string(b)))
}

// The tool is told how often it is read, and starts anew when that changes.
func TestPace(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	f := nvmltest.New(t, nvmltest.Scenario{GPUs: nvmltest.A100s(1)})
	f.Setenv(t)
	script(t, "case \"$*\" in *-lms*) echo \"${@##*-lms }\" | sed 's/.* //' >>"+log+";; esac\nexec "+f.SMI+" \"$@\"\n")
	s := open(t)
	s.(*source).Every(10 * time.Second)
	require.Eventually(t, func() bool { b, _ := os.ReadFile(log); return string(b) == "1000\n10000\n" }, 2*time.Minute,
		20*time.Millisecond)
	_, err := s.Read(t.Context())
	require.NoError(t, err)
	s.(*source).Every(10 * time.Millisecond) // as often as ever
	f.Change(func(s *nvmltest.Scenario) { s.GPUs[0].Set(nvmltest.Utilization, 3) })
	until(t, s, func(r gpu.Reading, err error) bool { return err == nil && *r.GPUs[0].Utilization == 3 })
}

// line is what nvidia-smi prints of an A100.
func line(index string) string {
	v := make([]string, len(columns))
	for i, c := range columns {
		switch c.field {
		case "index":
			v[i] = index
		case "count":
			v[i] = "2"
		case "uuid", "name", "pci.bus_id", "driver_version":
			v[i] = c.field + index
		default:
			v[i] = "[N/A]"
		}
	}
	return strings.Join(v, ", ")
}

func TestParseLine(t *testing.T) {
	r, err := parseLine(line("1"), columns)
	require.NoError(t, err)
	require.Equal(t, gpu.GPU{Index: 1, UUID: "uuid1", Name: "name1", PCI: "pci.bus_id1"}, r.gpu)
	require.Equal(t, 2, r.count)
	few := columns[:8]
	r, err = parseLine(`0, 1, GPU-1, "Odd, name", 0000, 570, 100, 7`, few)
	require.NoError(t, err)
	require.Equal(t, "Odd, name", r.gpu.Name)
	require.Equal(t, 100.0, *r.gpu.Utilization)
	r, err = parseLine("0, 1, GPU-1, n, 0000, 570, [GPU requires reset], [N/A]", few)
	require.NoError(t, err)
	require.Contains(t, r.gpu.Error, "requires reset")
	for _, bad := range []string{"", "0, 1, GPU-1, n, 0000, 570, 100", "x, 1, GPU-1, n, 0000, 570, 1, 1",
		"-1, 1, GPU-1, n, 0000, 570, 1, 1",
		"0, 1, GPU-1, n, 0000, 570, 1e99, 1", "0, 1, GPU-1, n, 0000, 570, NaN, 1", "[N/A], 1, GPU-1, n, 0000, 570, 1, 1",
		"0, 1, GPU-1, n, 0000, 570, 1, 1, 1",
		"0, 1, GPU-1, n, 0000, 5", strings.Repeat("x", maxLine+1)} {
		_, err := parseLine(bad, few)
		require.Error(t, err, "%.40q", bad)
	}
}

// Rounds are put together whatever is missing between.
func TestRounds(t *testing.T) {
	var b builder
	_, complete := b.add(line("0"), columns)
	require.False(t, complete)
	_, complete = b.add("garbage", columns)
	require.False(t, complete)
	r, complete := b.add(line("1"), columns)
	require.True(t, complete)
	require.Len(t, r.gpus, 2)
	_, complete = b.add(line("0"), columns)
	require.False(t, complete)
	r, complete = b.add(line("0"), columns) // the second was cut off
	require.True(t, complete)
	require.Len(t, r.gpus, 2)
	require.Contains(t, r.gpus[1].Error, "says nothing")
	require.Equal(t, "uuid1", r.gpus[1].UUID)
}

func TestParseApps(t *testing.T) {
	got := parseApps("GPU-a, 12, 100\nGPU-b, 13, [N/A]\nGPU-c, 14, 5\nGPU-a, x, 5\nGPU-a, -1, 5\nGPU-a, 15\n",
		map[string]int{"GPU-a": 0, "GPU-b": 1})
	memory := int64(100 << 20)
	require.Equal(t, []gpu.GPUProcess{{PID: 12, GPU: 0, Kind: "compute", Memory: &memory},
		{PID: 13, GPU: 1, Kind: "compute"}}, got)
}

func FuzzParseLine(f *testing.F) {
	f.Add(line("0"))
	f.Add("0, 1, GPU-1, \"Odd, name\", 0000, 570, 100, 7")
	f.Add("Unable to determine the device handle for GPU0000:07:00.0: GPU is lost.")
	f.Fuzz(func(t *testing.T, text string) {
		var b builder
		for l := range strings.Lines(text) {
			l = strings.TrimSpace(l)
			complaint(l)
			unknownField(l)
			r, complete := b.add(l, columns)
			if !complete {
				continue
			}
			for _, g := range r.gpus {
				if g.Index < 0 || g.Index >= maxGPUs || g.MemoryUsed != nil && *g.MemoryUsed < 0 {
					t.Fatalf("accepted %+v", g)
				}
			}
		}
	})
}

func FuzzParseApps(f *testing.F) {
	f.Add("GPU-a, 12, 100\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, p := range parseApps(text, map[string]int{"GPU-a": 0}) {
			if p.PID <= 0 || p.Memory != nil && *p.Memory < 0 {
				t.Fatalf("accepted %+v", p)
			}
		}
	})
}
