package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/lease"
	"berth/backend/api"
	"berth/gpu/nvmltest"
)

// TestJobsOnGPUs goes the way of somebody who trains on a shared machine with two GPUs: a job gets GPUs that nobody
// else has, says whom it waits for, and keeps them over the agent's end. The driver is a fake one.
func TestJobsOnGPUs(t *testing.T) {
	t.Parallel()
	cards := nvmltest.A100s(2)
	for i := range cards {
		cards[i].Processes = nil
	}
	fake := nvmltest.New(t, nvmltest.Scenario{GPUs: cards})
	w := newWorld(t)
	leases := filepath.Join(t.TempDir(), "leases")
	w.env = append(fake.Env(), "BERTH_LEASES="+leases)
	w.ok("create", "vision")
	const show = `env | grep -E "^(CUDA|BERTH_GPU)" | sort; `
	until := func(file string) string { return show + "while ! [ -e " + file + " ]; do sleep 0.05; done" }

	r := w.run("run", "vision", "--", "sh", "-c", until("first"))
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.err, "it gets 1 GPU (--gpus 0: none)")
	first := strings.TrimSpace(r.out)
	eventually(t, "the first runs", func() bool { return w.job("vision", first).State == api.JobRunning })
	require.Equal(t, []int{0}, w.job("vision", first).GPUs)
	uuid := fake.Scenario().GPUs[0].UUID
	eventually(t, "it has printed what it sees", func() bool {
		return w.ok("job", "logs", "vision", first) == "BERTH_GPU_UUIDS="+uuid+"\nCUDA_DEVICE_ORDER=PCI_BUS_ID\nCUDA_VISIBLE_DEVICES=0\n"
	})

	// What it uses of its GPU is seen, and whose the GPU is.
	pid, err := strconv.Atoi(strings.TrimSpace(w.ok("exec", "vision", "--", "pgrep", "-of", "[w]hile ! . -e first")))
	require.NoError(t, err)
	fake.Change(func(s *nvmltest.Scenario) {
		s.GPUs[0].Processes = []nvmltest.Process{{PID: pid, Memory: 3 << 30}}
	})
	eventually(t, "its memory and its energy are counted", func() bool {
		// Again and again: what was taken before the first look at it is not the job's.
		fake.Change(func(s *nvmltest.Scenario) { s.GPUs[0].Figures[nvmltest.Energy] += 10_000_000 })
		j := w.job("vision", first)
		return j.PeakGPUMemoryBytes == 3<<30 && j.GPUEnergyJoules > 9_999
	})
	require.Contains(t, w.ok("top", "vision", "--once", "--json"), `"held_by":[{"kind":"job","id":"`+first+`","name":"sh"}]`)
	fake.Change(func(s *nvmltest.Scenario) { s.GPUs[0].Processes = nil })

	// Somebody removes the file by which it holds its GPU: the agent holds it then.
	folder, err := lease.Open([]string{leases})
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(leases, uuid)))
	eventually(t, "it is held again", func() bool { return folder.Holders([]string{uuid})[uuid].Job == first })

	// Somebody else's program on the other one.
	stranger := exec.Command("sleep", "1000")
	require.NoError(t, stranger.Start())
	defer func() { _ = stranger.Process.Kill(); _ = stranger.Wait() }()
	fake.Change(func(s *nvmltest.Scenario) {
		s.GPUs[1].Processes = []nvmltest.Process{{PID: stranger.Process.Pid, Memory: 1 << 30}}
	})
	all := w.submit("--gpus", "2", "--", "true")
	eventually(t, "the stranger is seen", func() bool {
		why := w.job("vision", all).Reason
		return strings.Contains(why, fmt.Sprintf("waits for 2 GPUs (GPU 0: job %s; GPU 1: sleep 1000 of ", first)) &&
			strings.Contains(why, fmt.Sprintf("(process %d), ", stranger.Process.Pid))
	})
	w.ok("job", "cancel", "vision", all)
	second := w.submit("--gpu-ids", "uuid", "--", "sh", "-c", until("second"))
	both := w.submit("--gpus", "2", "--", "true")
	cpu := w.submit("--gpus", "0", "--", "sh", "-c", show)
	eventually(t, "a job that needs none goes before", func() bool { return w.job("vision", cpu).State == api.JobSucceeded })
	require.Equal(t, "BERTH_GPU_UUIDS=\nCUDA_VISIBLE_DEVICES=-1\n", w.ok("job", "logs", "vision", cpu))
	require.Equal(t, api.JobQueued, w.job("vision", second).State)
	fake.Change(func(s *nvmltest.Scenario) { s.GPUs[1].Processes = nil })
	eventually(t, "the second gets what became free", func() bool { return w.job("vision", second).State == api.JobRunning })
	require.Equal(t, []string{fake.Scenario().GPUs[1].UUID}, w.job("vision", second).GPUUUIDs)
	require.Equal(t, "queued", string(w.job("vision", both).State))

	// The driver does not answer, and the agent dies: what runs keeps what it has, and nothing is given away.
	fake.Change(func(s *nvmltest.Scenario) { s.Fail = map[string]int{"nvmlInit_v2": nvmltest.Unknown} })
	w.killAgent(syscall.SIGKILL)
	w.ok("exec", "vision", "--", "touch", "first")
	eventually(t, "the first has ended", func() bool { return w.job("vision", first).State == api.JobSucceeded })
	require.EqualValues(t, 3<<30, w.job("vision", first).PeakGPUMemoryBytes, "though its agent was killed")
	third := w.submit("--", "true")
	eventually(t, "it says why it waits", func() bool {
		return strings.Contains(w.job("vision", both).Reason, "it waits for 2 GPUs: ")
	})
	require.Equal(t, api.JobQueued, w.job("vision", third).State)
	fake.Change(func(s *nvmltest.Scenario) { s.Fail = nil })
	eventually(t, "it is known again who has which", func() bool {
		return strings.Contains(w.job("vision", both).Reason, "waits for 2 GPUs (GPU 1: job "+second+")")
	})
	w.ok("exec", "vision", "--", "touch", "second")
	for _, id := range []string{second, both, third} {
		eventually(t, "all have their turn", func() bool { return w.job("vision", id).State == api.JobSucceeded })
	}
	require.Equal(t, "BERTH_GPU_UUIDS="+fake.Scenario().GPUs[1].UUID+"\nCUDA_DEVICE_ORDER=PCI_BUS_ID\nCUDA_VISIBLE_DEVICES="+
		fake.Scenario().GPUs[1].UUID+"\n", w.ok("job", "logs", "vision", second))
	require.Equal(t, []int{0, 1}, w.job("vision", both).GPUs)
	j := w.job("vision", both)
	require.InDelta(t, 2*j.EndedAt.Sub(j.StartedAt).Seconds(), j.GPUSeconds, 1e-3)
	require.Regexp(t, `used +.* s of GPUs\n`, w.ok("job", "show", "vision", second))

	for _, args := range []string{"--gpus 3", "--gpu-mem 500GB", "--gpu-ids name", "--gpus 0 --gpu-mem 1GB", "--gpu-mem many",
		"--env CUDA_VISIBLE_DEVICES=1", "--gpus -1"} {
		r := w.run(append(append([]string{"run", "vision"}, strings.Fields(args)...), "--", "true")...)
		require.Equal(t, 2, r.code, "%s: %s", args, r.err)
	}
	w.ok("set", "vision", "jobs.default_gpus=0")
	r = w.run("run", "vision", "--", "true")
	require.Contains(t, r.err, "it gets no GPU (--gpus N)")
	w.ok("set", "vision", "jobs.default_gpus=")
	a, b := w.submit("--gpu-mem", "30GB", "--", "sleep", "60"), w.submit("--gpu-mem", "30GB", "--", "sleep", "60")
	for _, id := range []string{a, b} {
		eventually(t, "they share one", func() bool { return w.job("vision", id).State == api.JobRunning })
		require.Equal(t, []int{0}, w.job("vision", id).GPUs)
	}

	// Another queue of this host has agents of its own, and sees by the lease what the driver does not show.
	w.ok("create", "other")
	r = w.run("run", "other", "--gpus", "2", "--", "true")
	require.Zero(t, r.code, r.err)
	waits := strings.TrimSpace(r.out)
	eventually(t, "it waits for the other queue's jobs", func() bool {
		return strings.Contains(w.job("other", waits).Reason, "waits for 2 GPUs (GPU 0: job "+b+" of ")
	})
	w.ok("job", "cancel", "vision", a)
	w.ok("job", "cancel", "vision", b)
	eventually(t, "and has its turn", func() bool { return w.job("other", waits).State == api.JobSucceeded })
	for _, id := range []string{a, b} { // the other one was not slower than what is left of them
		eventually(t, "it is over", func() bool { return w.job("vision", id).State.Done() })
	}

	// A GPU that is lost is the cause of its job's failure, and given to nobody.
	doomed := w.submit("--", "sh", "-c", "while ! [ -e doom ]; do sleep 0.05; done; exit 3")
	eventually(t, "it runs", func() bool { return w.job("vision", doomed).State == api.JobRunning })
	require.Equal(t, []int{0}, w.job("vision", doomed).GPUs)
	fake.Change(func(s *nvmltest.Scenario) { s.Fail = map[string]int{"0:*": nvmltest.GPUIsLost} })
	eventually(t, "the driver says it", func() bool {
		return strings.Contains(w.ok("top", "vision", "--once"), "critical: GPU 0")
	})
	w.ok("exec", "vision", "--", "touch", "doom")
	eventually(t, "it has ended", func() bool { return w.job("vision", doomed).State == api.JobFailed })
	j = w.job("vision", doomed)
	require.Equal(t, "gpu_lost", j.Cause)
	require.Contains(t, j.Message, "GPU 0: ")
	last := w.submit("--", "true")
	eventually(t, "the next gets the other one", func() bool { return w.job("vision", last).State == api.JobSucceeded })
	require.Equal(t, []int{1}, w.job("vision", last).GPUs)
}
