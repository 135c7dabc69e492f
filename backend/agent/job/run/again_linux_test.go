package run

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/agenttest"
	"berth/backend/agent/container"
	"berth/backend/agent/lease"
	"berth/backend/agent/process"
	"berth/queue"
)

// scripted has a script be the program that speaks to the engine.
func (w *world) scripted(script string) {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "berth-engine")
	require.NoError(w.t, os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700))
	w.exe = "/berth-agent"
	w.next()
	require.NoError(w.t, w.host(os.Stderr).KeepEngine(path))
}

// program is what looks after a run's container.
func (w *world) program(q queue.Run) process.Record {
	w.t.Helper()
	x := &run{Run: q}
	var rec process.Record
	agenttest.Eventually(w.t, "its program runs", func() bool {
		var err error
		rec, err = process.ReadRecord(x.againDir(x.lastAgain()), process.RecordName)
		return err == nil && rec.Child.Alive()
	})
	return rec
}

// TestWhatLooksAfterAContainer is begun again wherever it and its shim are killed, until the end of the container is
// known: the job is not lost before, and its GPUs are held.
func TestWhatLooksAfterAContainer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.scripted(`echo looked >> "$HOME/looks"; exec sleep 1000`)
	folder, err := lease.Open([]string{filepath.Join(t.TempDir(), "leases")})
	require.NoError(t, err)
	w.Leases = func() (*lease.Folder, error) { return folder, nil }
	held := func() bool { return folder.Holders([]string{"GPU-a"})["GPU-a"].Job == "1" }
	q := w.job(1, "train", "-x")
	q.Spec.Image, q.GPUs, q.Spec.Env = "img:1", []queue.GPU{{UUID: "GPU-a"}}, []string{"PATH=/x", "A=b"}
	w.Start(w.ctx, q)
	first := w.program(q)
	require.True(t, held())

	require.NoError(t, first.Shim.Signal(syscall.SIGKILL))
	w.await(q, "that its shim is gone", func(e queue.Event) bool { return e.Started != nil && !e.Started.Supervised })
	require.True(t, held(), "its program has it")
	require.NoError(t, first.Child.Signal(syscall.SIGKILL))
	agenttest.Eventually(t, "another one looks after it", func() bool { return w.program(q).Child != first.Child })
	second := w.program(q)
	require.NotEqual(t, first.Shim, second.Shim)
	require.Equal(t, first.Mark, second.Mark, "of the same container")
	agenttest.Eventually(t, "it is held again", held)

	w.stop() // the agent, and then all else
	require.NoError(t, second.Shim.Signal(syscall.SIGKILL))
	require.NoError(t, second.Child.Signal(syscall.SIGKILL))
	w.next()
	w.Leases = func() (*lease.Folder, error) { return folder, nil }
	w.Adopt(w.ctx, q)
	agenttest.Eventually(t, "the next agent has it looked after", func() bool { return w.program(q).Child != second.Child })
	for _, e := range w.of(q) {
		require.Nil(t, e.Ended)
	}
	agenttest.Eventually(t, "it is held again", held)
	b, err := os.ReadFile(filepath.Join(w.Options.Home, "looks"))
	require.NoError(t, err)
	require.Equal(t, 3, strings.Count(string(b), "looked"))

	at := time.Now().UTC().Round(0)
	require.NoError(t, container.Result{EndedAt: at, Exit: 9, Killed: 1, PeakMemory: 5, CPUSeconds: 2,
		Warnings: []string{"no swap"}}.Write(q.Dir))
	require.NoError(t, w.program(q).Child.Signal(syscall.SIGKILL))
	end := w.ended(q)
	require.Equal(t, queue.Ended{At: at, Exit: 9, OOM: end.OOM, PeakMemory: 5, CPU: 2 * time.Second,
		Warnings: []string{"no swap"}}, *end)
	require.Contains(t, end.OOM, "no memory left")
	agenttest.Eventually(t, "nothing is held", func() bool { return len(folder.Holders([]string{"GPU-a"})) == 0 })
}

// TestWhatAContainersProgramIsGiven: the command and the variables of the container apart from its own, and no value on
// its command line.
func TestWhatAContainersProgramIsGiven(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.scripted(`printf '%s\n' "$@" > "$HOME/args"; env > "$HOME/env"; exit 3`)
	q := w.job(1, "train", "-x")
	q.Spec.Image, q.Spec.Env, q.Spec.Secrets = "img:1", []string{"PATH=/x", "A=b"}, []string{"TOKEN"}
	q.GPUs = []queue.GPU{{UUID: "GPU-a"}}
	require.NoError(t, w.secrets.Keep(q.Spec.UUID, map[string]string{"TOKEN": "hush"}))
	require.NoError(t, os.MkdirAll(q.Dir, 0o700))
	require.NoError(t, container.Result{Exit: 3}.Write(q.Dir)) // so that it is begun once
	w.Start(w.ctx, q)
	require.Equal(t, 3, w.ended(q).Exit)
	b, err := os.ReadFile(filepath.Join(w.Options.Home, "args"))
	require.NoError(t, err)
	args := strings.Split(strings.TrimSpace(string(b)), "\n")
	require.Equal(t, []string{container.WordRun, "train", "-x"}, append(args[:1:1], args[2:]...))
	s, err := container.ParseSpec(args[1])
	require.NoError(t, err)
	require.Equal(t, []string{"img:1", w.Options.Workdir, q.Dir}, []string{s.Image, s.Workdir, s.Dir})
	require.Equal(t, []string{"GPU-a"}, s.GPUs)
	require.Regexp(t, `^berth-1\.1\.[0-9a-f]{16}$`, s.Name)
	require.NotContains(t, string(b), "hush")
	b, err = os.ReadFile(filepath.Join(w.Options.Home, "env"))
	require.NoError(t, err)
	given := container.Given(strings.Split(string(b), "\n"))
	require.Subset(t, given, []string{"PATH=/x", "A=b", "TOKEN=hush", "BERTH_JOB_ID=1", "BERTH_GPU_UUIDS=GPU-a",
		"BERTH_SCRATCH=" + w.Options.Scratch})
	for _, kv := range given {
		require.NotRegexp(t, "^(CUDA_|FROM_LOGIN|HOME=|BERTH_AGENT)", kv)
	}
	require.Contains(t, "\n"+string(b), "\nPATH="+os.Getenv("PATH")+"\n", "its own are those of the login shell")
}
