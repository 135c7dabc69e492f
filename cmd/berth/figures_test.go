package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/gpu"
	"berth/gpu/nvmltest"
)

// TestFigures goes the way of somebody who wants to know what an instance does: once, live, its past, for
// Prometheus. The driver is a fake one with two GPUs.
func TestFigures(t *testing.T) {
	t.Parallel()
	fake := nvmltest.New(t, nvmltest.Scenario{GPUs: nvmltest.A100s(2)})
	w := newWorld(t)
	w.env = fake.Env()
	w.ok("create", "vision")
	var s gpu.Sample
	require.Eventually(t, func() bool {
		require.NoError(t, json.Unmarshal([]byte(w.ok("top", "vision", "--once", "--json")), &s))
		return len(s.GPUs) == 2
	}, 2*time.Minute, 100*time.Millisecond)

	// The names that scripts read.
	var doc map[string]any
	require.NoError(t, json.Unmarshal([]byte(w.ok("top", "vision", "--once", "--json")), &doc))
	for _, name := range []string{"sampled_at", "gpus", "processes", "cpu_percent", "load1", "memory_used_bytes",
		"memory_total_bytes", "disks"} {
		require.Contains(t, doc, name)
	}
	require.NotContains(t, doc, "gpu_error")
	for _, name := range []string{"index", "uuid", "name", "utilization_percent", "memory_used_bytes",
		"memory_total_bytes", "temperature_celsius", "power_watts", "power_limit_watts"} {
		require.Contains(t, doc["gpus"].([]any)[1], name)
	}
	for _, name := range []string{"mount", "device", "filesystem", "total_bytes", "used_bytes", "available_bytes"} {
		require.Contains(t, doc["disks"].([]any)[0], name)
	}
	text := w.ok("top", "vision")
	require.Contains(t, text, "A100")
	require.Contains(t, text, "DISK")

	// A search finds each process, and prints nothing else.
	me := strconv.Itoa(os.Getpid())
	require.NoError(t, json.Unmarshal([]byte(w.ok("top", "vision", "--once", "--json", "--pid", me)), &s))
	require.Len(t, s.Processes, 1)
	require.Equal(t, os.Getpid(), s.Processes[0].PID)
	text = w.ok("top", "vision", "--once", "--filter", me)
	require.Contains(t, text, "\n"+me+" ")

	// Live: what changes is seen.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := w.cmd(ctx, "top", "vision", "--watch", "--json")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	require.True(t, lines.Scan())
	fake.Change(func(s *nvmltest.Scenario) { s.GPUs[1].Set(nvmltest.Temperature, 88) })
	seen := false
	for !seen && lines.Scan() {
		var s gpu.Sample
		require.NoError(t, json.Unmarshal(lines.Bytes(), &s), "a document a line")
		seen = *s.GPUs[1].Temperature == 88
	}
	require.True(t, seen)
	cancel()
	_ = cmd.Wait()

	rows, err := csv.NewReader(strings.NewReader(w.ok("history", "vision", "--metric", "gpu_temperature_celsius",
		"--since", "10m", "--csv"))).ReadAll()
	require.NoError(t, err)
	require.Equal(t, []string{"time", "metric", "subject", "gpu_index", "mean", "max"}, rows[0])
	hottest := 0.0
	for _, r := range rows[1:] {
		v, err := strconv.ParseFloat(r[5], 64)
		require.NoError(t, err)
		hottest = max(hottest, v)
	}
	require.InDelta(t, 88, hottest, 0.1)
	require.Contains(t, w.ok("history", "vision", "--since", "1h"), "cpu_percent")
	var series []gpu.Series
	require.NoError(t, json.Unmarshal([]byte(w.ok("history", "vision", "--metric", "cpu_percent", "--json")), &series))
	require.NotEmpty(t, series[0].Points)

	metrics := w.ok("metrics")
	require.Regexp(t, regexp.MustCompile(`DCGM_FI_DEV_GPU_TEMP\{gpu="1",UUID="GPU-[^"]+".*berth_instance="vision".*\} 88\n`), metrics)
	require.Contains(t, metrics, `berth_up{Hostname="vision",berth_instance="vision"} 1`)
	w.servesMetrics(t)
	require.Regexp(t, `ok +figures +vision +2 GPUs by nvml, driver`, w.ok("doctor"))
	fake.Change(func(s *nvmltest.Scenario) { s.Fail = map[string]int{"1:*": nvmltest.GPUIsLost} })
	require.Eventually(t, func() bool { return strings.Contains(w.ok("top", "vision", "--once"), "critical: GPU 1") },
		2*time.Minute, 100*time.Millisecond)
	require.Regexp(t, `critical +vision +GPU 1 `, w.ok("attention"))
	var found []attentionRow
	require.NoError(t, json.Unmarshal([]byte(w.ok("attention", "vision", "--json")), &found))
	id := found[0].ID
	require.Equal(t, "gpu-lost", found[0].Rule)
	require.NotEmpty(t, found[0].Advice)
	w.ok("attention", "vision", "--ack", id)
	require.NotContains(t, w.ok("attention"), id)
	require.Contains(t, w.ok("attention", "--all"), id)
	require.Equal(t, 3, w.run("attention", "vision", "--ack", "nothing").code)
	require.Equal(t, 2, w.run("attention", "--ack", id).code)

	w.ok("stop", "vision")
	require.Contains(t, w.ok("metrics"), `berth_up{Hostname="vision",berth_instance="vision"} 0`)
	for _, bad := range []struct {
		code int
		says string
		args []string
	}{
		{6, "stopped", []string{"top", "vision", "--once"}},
		{6, "stopped", []string{"history", "vision"}},
		{3, "no instance", []string{"top", "nobody", "--once"}},
		{2, "at least 1s", []string{"top", "vision", "--watch", "--every", "10ms"}},
		{2, "exclude", []string{"top", "vision", "--watch", "--once"}},
		{2, "span", []string{"history", "vision", "--since", "yesterday"}},
		{2, "exclude", []string{"history", "vision", "--csv", "--json"}},
		{2, "--listen", []string{"metrics", "--listen", "nowhere"}},
	} {
		r := w.run(bad.args...)
		require.Equal(t, bad.code, r.code, "%v: %s", bad.args, r.err)
		require.Contains(t, r.err+r.out, bad.says, bad.args)
	}
	w.ok("start", "vision")
	r := w.run("history", "vision", "--metric", "happiness")
	require.Equal(t, 2, r.code, r.err)
	require.NotEmpty(t, w.ok("history", "vision", "--metric", "gpu_temperature_celsius", "--csv"),
		"the past outlives a stop")
}

// servesMetrics scrapes `berth metrics --listen`.
func (w *world) servesMetrics(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := w.cmd(ctx, "metrics", "--listen", "127.0.0.1:0")
	said, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() { cancel(); _ = cmd.Wait() }()
	line, err := bufio.NewReader(said).ReadString('\n')
	require.NoError(t, err)
	url := regexp.MustCompile(`http://\S+`).FindString(line)
	res, err := http.Get(url)
	require.NoError(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Contains(t, string(b), "DCGM_FI_DEV_GPU_TEMP")
}

func TestMoments(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Time{"90m": now.Add(-90 * time.Minute), "30d": now.AddDate(0, 0, -30),
		"1d12h": now.Add(-36 * time.Hour), "2026-11-23T00:00:00Z": time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)} {
		got, err := moment(s, now)
		require.NoError(t, err)
		require.True(t, want.Equal(got), s)
	}
	for _, s := range []string{"", "d", "-1h", "1e99d", "NaNd", "tomorrow", "-3d"} {
		_, err := moment(s, now)
		require.Error(t, err, s)
	}
}

// TestProcessesOfTheInstanceArePrinted has one behind many busier ones.
func TestProcessesOfTheInstanceArePrinted(t *testing.T) {
	var list []gpu.Process
	for pid := range 30 {
		list = append(list, gpu.Process{PID: 100 + pid, Command: "stranger"})
	}
	list = append(list, gpu.Process{PID: 999, Command: "sleep 333", Owner: gpu.Owner{Kind: "exec"}})
	rows := processRows(list, topProcesses)
	require.Len(t, rows, 1+topProcesses+1)
	require.Equal(t, "999", rows[len(rows)-1][0])
}
