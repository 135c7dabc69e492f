package conformance

import (
	"bufio"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/gpu"
	"berth/gpu/nvml/gonvml"
	"berth/gpu/nvmltest"
	"berth/gpu/probe/child"
)

const asChild = "BERTH_TEST_PROBE"

// The test's program is its own probe: each library needs a process of its own, because NVIDIA's bindings
// keep the first one that they loaded.
func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		sources := append([]child.Source{{Name: "go-nvml", Built: gonvml.Built, Open: gonvml.Open}}, child.Portable()...)
		os.Exit(child.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, sources...))
	}
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil { // they mostly wait
		panic(err)
	}
	os.Exit(m.Run())
}

// nvmlSources are the two that must agree in everything.
func nvmlSources(t *testing.T) []string {
	if !gonvml.Built {
		if os.Getenv("BERTH_CI") != "" {
			t.Fatal("NVIDIA's bindings need cgo")
		}
		t.Skip("NVIDIA's bindings need cgo, so there is nothing to compare with")
	}
	return []string{"go-nvml", "nvml"}
}

// reader is a running probe.
type reader struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan gpu.Reading
	err   *strings.Builder
	done  chan error
}

func start(t *testing.T, f *nvmltest.Fake, source string) *reader {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	r := &reader{t: t, cmd: exec.Command(exe), lines: make(chan gpu.Reading, 1000), err: &strings.Builder{},
		done: make(chan error, 1)}
	r.cmd.Env = append(append(os.Environ(), f.Env()...), asChild+"=1", child.SourceVariable+"="+source)
	r.cmd.Stderr = r.err
	in, err := r.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := r.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, r.cmd.Start())
	t.Cleanup(func() { in.Close(); r.cmd.Process.Kill() })
	_, err = in.Write([]byte("every 100ms\n"))
	require.NoError(t, err)
	go func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var v gpu.Reading
			if json.Unmarshal(lines.Bytes(), &v) != nil {
				v.Error = "not JSON: " + lines.Text()
			}
			r.lines <- v
		}
		close(r.lines)
		r.done <- r.cmd.Wait()
	}()
	return r
}

// until waits for a reading that fits.
func (r *reader) until(fits func(gpu.Reading) bool) gpu.Reading {
	r.t.Helper()
	deadline := time.After(2 * time.Minute)
	var last gpu.Reading
	for {
		select {
		case v, ok := <-r.lines:
			if !ok {
				r.t.Fatalf("the probe ended: %v, %q; the last reading was %+v", <-r.done, r.err, last)
			}
			if last = v; fits(v) {
				return v
			}
		case <-deadline:
			r.t.Fatalf("no such reading came; the last was %+v", last)
		}
	}
}

// settled is a reading with what comes from the slow loop.
func settled(s nvmltest.Scenario) func(gpu.Reading) bool {
	return func(r gpu.Reading) bool {
		for i, g := range r.GPUs {
			f := s.GPUs[i].Figures
			_, pcie := f[nvmltest.PCIeRx]
			_, links := f[nvmltest.NVLinkRx]
			if g.Error == "" && (pcie && g.PCIeRx == nil || links && g.NVLinkRx == nil) {
				return false
			}
		}
		return len(s.Topology) == 0 || len(r.Topology) > 0
	}
}

// plain is a reading without what differs by nature.
func plain(r gpu.Reading) gpu.Reading {
	r.At, r.Source = time.Time{}, ""
	r.GPUs = append([]gpu.GPU(nil), r.GPUs...)
	for i := range r.GPUs {
		g := &r.GPUs[i]
		// The rate of a counter that moves between two looks, which are not at the same time: only whether there is one.
		for _, v := range []**int64{&g.NVLinkRx, &g.NVLinkTx} {
			if *v != nil && **v > 0 {
				*v = new(int64)
			}
		}
	}
	return r
}

// scenarios are states of a driver and what is missing from its library.
func scenarios() map[string]struct {
	s       nvmltest.Scenario
	without []string
} {
	type c = struct {
		s       nvmltest.Scenario
		without []string
	}
	pairs := map[[2]int]int{{0, 1}: 10, {0, 2}: 20, {1, 2}: 30, {0, 3}: 50, {1, 3}: 40, {2, 3}: 50}
	hot := nvmltest.A100(0)
	hot.Set(nvmltest.Throttle, 0x7ff)
	hot.Set(nvmltest.RemapPending, 1)
	hot.Set(nvmltest.RemapFailed, 1)
	bare := nvmltest.T4(0)
	bare.Figures = map[nvmltest.Key]uint64{nvmltest.MemoryTotal: 1 << 30, nvmltest.MemoryUsed: 5 << 20}
	odd := nvmltest.RTX(0)
	odd.Samples = []nvmltest.Sample{{PID: 5000, SM: 4_000_000_000, Encoder: 3}, {PID: 999999, SM: 50},
		{PID: 5000, At: 17, SM: 99}, {PID: 0, SM: 1}}
	odd.Processes = append(odd.Processes, nvmltest.Process{PID: 5000, Graphics: true, Memory: 7 << 20})
	many := nvmltest.A100(0)
	for i := range 200 {
		many.Processes = append(many.Processes, nvmltest.Process{PID: 10000 + i, Memory: uint64(i) << 20})
	}
	bridged := []nvmltest.GPU{nvmltest.A100(0), nvmltest.A100(1)}
	bridged[0].NVLinkRemote, bridged[1].NVLinkRemote = bridged[1].PCI, bridged[0].PCI
	fail := func(f map[string]int) nvmltest.Scenario {
		return nvmltest.Scenario{GPUs: nvmltest.A100s(2), Fail: f}
	}
	return map[string]c{
		"none":    {nvmltest.Scenario{}, nil},
		"eight":   {nvmltest.Scenario{GPUs: nvmltest.A100s(8)}, nil},
		"sixteen": {nvmltest.Scenario{GPUs: nvmltest.A100s(16)}, nil},
		"topology": {nvmltest.Scenario{GPUs: []nvmltest.GPU{nvmltest.T4(0), nvmltest.T4(1), nvmltest.RTX(2),
			nvmltest.T4(3)}, Topology: pairs}, nil},
		"bridged": {nvmltest.Scenario{GPUs: bridged}, nil},
		"desk": {nvmltest.Scenario{GPUs: []nvmltest.GPU{nvmltest.RTX(0), nvmltest.T4(1)}, Driver: "535.1",
			CUDA: 12020}, nil},
		"divided": {nvmltest.Scenario{GPUs: []nvmltest.GPU{nvmltest.Divided(0), nvmltest.A100(1), nvmltest.Divided(2)}},
			nil},
		"throttled":   {nvmltest.Scenario{GPUs: []nvmltest.GPU{hot}}, nil},
		"bare":        {nvmltest.Scenario{GPUs: []nvmltest.GPU{bare}, CUDA: -1}, nil},
		"odd samples": {nvmltest.Scenario{GPUs: []nvmltest.GPU{odd}}, nil},
		"many":        {nvmltest.Scenario{GPUs: []nvmltest.GPU{many}}, nil},
		"lost":        {fail(map[string]int{"1:*": nvmltest.GPUIsLost}), nil},
		"reset":       {fail(map[string]int{"0:nvmlDeviceGetUtilizationRates": 16}), nil},
		"forbidden": {fail(map[string]int{"nvmlDeviceGetComputeRunningProcesses_v3": nvmltest.NoPermission,
			"nvmlDeviceGetFanSpeed": nvmltest.NoPermission}), nil},
		"unknown": {fail(map[string]int{"nvmlDeviceGetPowerUsage": nvmltest.Unknown, "nvmlDeviceGetMigMode": 999,
			"0:nvmlDeviceGetEccMode": 21}), nil},
		"all unknown":  {fail(map[string]int{"0:*": nvmltest.Unknown}), nil},
		"no handle":    {fail(map[string]int{"1:nvmlDeviceGetHandleByIndex_v2": nvmltest.GPUIsLost}), nil},
		"mismatch":     {fail(map[string]int{"nvmlInit_v2": nvmltest.VersionMismatch}), nil},
		"not loaded":   {fail(map[string]int{"nvmlInit_v2": nvmltest.DriverNotLoaded}), nil},
		"no rights":    {fail(map[string]int{"nvmlInit_v2": nvmltest.NoPermission}), nil},
		"whole driver": {fail(map[string]int{"nvmlDeviceGetMemoryInfo_v2": 1, "nvmlDeviceGetUtilizationRates": 1}), nil},
		"old": {nvmltest.Scenario{GPUs: []nvmltest.GPU{nvmltest.A100(0), nvmltest.RTX(1)}, Driver: "450.80"}, []string{
			"nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetTemperatureV", "nvmlDeviceGetCurrentClocksEventReasons",
			"nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v3",
			"nvmlDeviceGetNvLinkRemoteDeviceType"}},
		"very old": {nvmltest.Scenario{GPUs: []nvmltest.GPU{nvmltest.T4(0), nvmltest.RTX(1)}, Driver: "390.1"}, []string{
			"nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetTemperatureV", "nvmlDeviceGetCurrentClocksEventReasons",
			"nvmlDeviceGetTotalEnergyConsumption",
			"nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v3",
			"nvmlDeviceGetComputeRunningProcesses_v2", "nvmlDeviceGetGraphicsRunningProcesses_v2",
			"nvmlDeviceGetRemappedRows", "nvmlDeviceGetMigMode", "nvmlDeviceGetMaxMigDeviceCount",
			"nvmlSystemGetCudaDriverVersion_v2", "nvmlDeviceGetFieldValues", "nvmlDeviceGetPciInfo_v3"}},
		"newer": {nvmltest.Scenario{GPUs: nvmltest.A100s(1), Driver: "999.1"}, []string{
			"nvmlDeviceGetTemperature", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetCurrentClocksThrottleReasons",
			"nvmlDeviceGetProcessUtilization"}},
		"no events": {nvmltest.Scenario{GPUs: nvmltest.A100s(1)}, []string{"nvmlEventSetCreate", "nvmlEventSetWait_v2",
			"nvmlEventSetFree", "nvmlDeviceRegisterEvents"}},
	}
}

// TestSourcesAgree wants equal readings of both sources in every state.
func TestSourcesAgree(t *testing.T) {
	sources := nvmlSources(t)
	t.Parallel()
	for name, c := range scenarios() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := nvmltest.New(t, c.s, c.without...)
			a, b := start(t, f, sources[0]), start(t, f, sources[1])
			ra, rb := a.until(settled(c.s)), b.until(settled(c.s))
			require.Equal(t, sources[0], first(ra.Source, sources[0]))
			require.Equal(t, text(t, plain(ra)), text(t, plain(rb)))
			for i, g := range ra.GPUs {
				require.Equal(t, i, g.Index)
			}
		})
	}
}

// text makes differences readable.
func text(t *testing.T, r gpu.Reading) string {
	b, err := json.MarshalIndent(r, "", " ")
	require.NoError(t, err)
	return string(b)
}

func first(v, otherwise string) string {
	if v == "" {
		return otherwise
	}
	return v
}
