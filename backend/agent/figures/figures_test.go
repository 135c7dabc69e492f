package figures

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/agenttest"
	"berth/backend/agent/server/servertest"
	"berth/backend/api"
	"berth/gpu"
	"berth/gpu/nvmltest"
	"berth/gpu/probe"
)

// An agent on a host with (the fake of) eight GPUs shows them with its processes, follows what changes, keeps
// a history, and says the same to Prometheus.
func TestFiguresOfAnAgent(t *testing.T) {
	fake := nvmltest.New(t, nvmltest.Scenario{GPUs: nvmltest.A100s(8)})
	fake.Setenv(t)
	f, c := serve(t, agenttest.Options(t))
	defer f.Hold(time.Second)() // nobody would see a change for up to 10 s otherwise
	s, err := c.OpenExec(t.Context(), servertest.Sh("exec sleep 1000"))
	require.NoError(t, err)
	defer s.Close()
	var job int
	agenttest.Eventually(t, "the command runs", func() bool {
		v, err := c.Figures(t.Context(), api.ProcessSearch{})
		require.NoError(t, err)
		for _, p := range v.Processes {
			if p.Command == "sleep 1000" && p.Owner.Kind == "exec" {
				job = p.PID
			}
		}
		return job != 0
	})
	fake.Change(func(s *nvmltest.Scenario) {
		s.GPUs[3].Set(nvmltest.Temperature, 91)
		s.GPUs[3].Processes = []nvmltest.Process{{PID: job, Memory: 5 << 30}}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	stop := errors.New("enough")
	err = c.WatchFigures(ctx, time.Second, api.ProcessSearch{}, func(s gpu.Sample) error {
		if len(s.GPUs) != 8 || s.GPUs[3].Temperature == nil || *s.GPUs[3].Temperature != 91 {
			return nil
		}
		for _, p := range s.Processes {
			if p.PID == job && p.GPUIndex != nil && *p.GPUIndex == 3 && p.GPUMemory != nil && *p.GPUMemory == 5<<30 {
				require.Equal(t, "exec", p.Owner.Kind)
				return stop
			}
		}
		return nil
	})
	require.ErrorIs(t, err, stop)

	n, names := 0, 0
	err = c.WatchSummary(ctx, time.Second, func(s gpu.Summary) error {
		require.Len(t, s.GPUs, 8)
		if s.GPUs[0].Name != "" {
			names++
		}
		if n++; n == 2 {
			return stop
		}
		return nil
	})
	require.ErrorIs(t, err, stop)
	require.Equal(t, 1, names, "names are said once")

	agenttest.Eventually(t, "it is in the history", func() bool {
		h, err := c.History(t.Context(),
			api.HistoryOptions{Metrics: []string{"gpu_temperature_celsius"}, Since: time.Now().Add(-time.Minute)})
		require.NoError(t, err)
		for _, s := range h {
			if s.Index != nil && *s.Index == 3 {
				return s.Points[len(s.Points)-1].Max == 91
			}
		}
		return false
	})
	_, err = c.History(t.Context(), api.HistoryOptions{Metrics: []string{"nonsense"}})
	require.ErrorIs(t, err, &api.Error{Code: api.CodeUsage})
	var b bytes.Buffer
	require.NoError(t, c.Metrics(t.Context(), &b))
	require.Contains(t, b.String(), `DCGM_FI_DEV_GPU_TEMP{gpu="3"`)

	// A GPU that works is no idleness, though nobody types.
	fake.Change(func(s *nvmltest.Scenario) { s.GPUs[5].Set(nvmltest.Utilization, 90) })
	agenttest.Eventually(t, "it is active", func() bool {
		_, err := c.Figures(t.Context(), api.ProcessSearch{})
		require.NoError(t, err)
		var i api.AgentInfo
		f.info(&i)
		return time.Since(i.LastActivity) < time.Minute
	})

	// The driver tells an error once; it is remembered beyond the agent's end.
	fake.Change(func(s *nvmltest.Scenario) { s.Events = append(s.Events, nvmltest.Event{GPU: 2, Code: 79}) })
	agenttest.Eventually(t, "the error is seen", func() bool {
		s, err := c.Figures(t.Context(), api.ProcessSearch{})
		require.NoError(t, err)
		return s.GPUs[2].LastXID != nil && s.GPUs[2].LastXID.Code == 79
	})
	again := newXIDs(f.probe, filepath.Join(f.h.State, "xids.json"), f.h.Log)
	require.Equal(t, 79, again.last[nvmltest.A100s(3)[2].UUID].Code)
	again.GPUs = stateOf{probe.State{Reading: gpu.Reading{GPUs: []gpu.GPU{{UUID: nvmltest.A100s(3)[2].UUID}}}}}
	require.Equal(t, 79, again.Latest().Reading.GPUs[0].LastXID.Code)

	// The probe is killed; it comes back.
	pid := f.probe.Latest().PID
	require.NotZero(t, pid)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	agenttest.Eventually(t, "another probe", func() bool {
		st := f.probe.Latest()
		return st.PID != 0 && st.PID != pid && st.Reason == ""
	})
}

// What belongs to the instance is always listed, and a search finds every process, however many use more.
func TestProcessesBesideManyOthers(t *testing.T) {
	// Their parent ends, so that they are nobody's; they are as large as those that are looked for, and older.
	out, err := exec.Command("sh", "-c", `for i in $(seq 60); do sleep 4321 >/dev/null 2>&1 & echo $!; done`).Output()
	var others []int
	for _, f := range strings.Fields(string(out)) {
		pid, err := strconv.Atoi(f)
		require.NoError(t, err)
		others = append(others, pid)
	}
	t.Cleanup(func() {
		for _, pid := range others {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	require.NoError(t, err)
	_, c := serve(t, agenttest.Options(t))
	s, err := c.OpenExec(t.Context(), servertest.Sh("sleep 1234 & exec sleep 1233"))
	require.NoError(t, err)
	defer s.Close()
	owned := func(v gpu.Sample, command string) bool {
		return slices.ContainsFunc(v.Processes,
			func(p gpu.Process) bool { return p.Command == command && p.Owner.Kind == "exec" })
	}
	agenttest.Eventually(t, "what the command runs is listed", func() bool {
		v, err := c.Figures(t.Context(), api.ProcessSearch{})
		require.NoError(t, err)
		return owned(v, "sleep 1233") && owned(v, "sleep 1234")
	})
	for _, search := range []api.ProcessSearch{{Filter: "sleep 4321"}, {PIDs: others}} {
		v, err := c.Figures(t.Context(), search)
		require.NoError(t, err)
		pids := map[int]bool{}
		for _, p := range v.Processes {
			pids[p.PID] = true
		}
		for _, pid := range others {
			require.True(t, pids[pid], "%d in %+v", pid, search)
		}
	}
	stop := errors.New("enough")
	err = c.WatchFigures(t.Context(), time.Second, api.ProcessSearch{PIDs: others[59:]}, func(v gpu.Sample) error {
		require.True(t, slices.ContainsFunc(v.Processes, func(p gpu.Process) bool { return p.PID == others[59] }))
		return stop
	})
	require.ErrorIs(t, err, stop)
}

// stateOf is a driver that says one thing.
type stateOf struct{ probe.State }

func (s stateOf) Latest() probe.State { return s.State }
func (s stateOf) Every(time.Duration) {}

func TestFiguresWithoutGPUs(t *testing.T) {
	if gpu.Present() {
		t.Skip("this host has GPUs")
	}
	_, c := serve(t, agenttest.Options(t))
	s, err := c.Figures(t.Context(), api.ProcessSearch{})
	require.NoError(t, err)
	require.Empty(t, s.GPUs)
	require.Contains(t, s.GPUError, "driver")
	require.NotEmpty(t, s.Disks)
	require.NotNil(t, s.CPU)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return c.Dial(ctx) }
	h := &http.Client{Transport: &http.Transport{DialContext: dial}}
	defer h.CloseIdleConnections()
	for _, path := range []string{"figures?watch=maybe", "figures?pid=me", "summary?watch=true&every=soon",
		"history?since=yesterday", "history?points=-1"} {
		res, err := h.Get("http://berth/v1/" + path)
		require.NoError(t, err)
		_ = res.Body.Close()
		require.Equal(t, http.StatusBadRequest, res.StatusCode, path)
	}
}

func TestSignalsToProcesses(t *testing.T) {
	_, c := serve(t, agenttest.Options(t))
	cmd := exec.Command("sleep", "1000")
	require.NoError(t, cmd.Start())
	began := time.Time{}
	agenttest.Eventually(t, "it is listed", func() bool {
		s, err := c.Figures(t.Context(), api.ProcessSearch{})
		require.NoError(t, err)
		for _, p := range s.Processes {
			if p.PID == cmd.Process.Pid {
				began = p.StartedAt
			}
		}
		return !began.IsZero()
	})
	for _, bad := range []struct {
		pid  int
		q    api.SignalRequest
		code api.Code
	}{
		{1, api.SignalRequest{Signal: "TERM"}, api.CodeForbidden},
		{os.Getpid(), api.SignalRequest{Signal: "TERM"}, api.CodeForbidden},
		{cmd.Process.Pid, api.SignalRequest{Signal: "SEGV", StartedAt: began}, api.CodeUsage},
		{cmd.Process.Pid, api.SignalRequest{Signal: "TERM", StartedAt: began.Add(-time.Hour)}, api.CodeNotFound},
	} {
		require.ErrorIs(t, c.SignalProcess(t.Context(), bad.pid, bad.q), &api.Error{Code: bad.code}, "%+v", bad)
	}
	require.NoError(t, c.SignalProcess(t.Context(), cmd.Process.Pid, api.SignalRequest{Signal: "TERM", StartedAt: began}))
	_ = cmd.Wait()
	require.Equal(t, syscall.SIGTERM, cmd.ProcessState.Sys().(syscall.WaitStatus).Signal())
}
