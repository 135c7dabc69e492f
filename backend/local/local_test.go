package local

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
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

	"berth/backend"
	"berth/backend/agent"
	"berth/backend/agent/agenttest"
	"berth/backend/agent/process"
	"berth/backend/agent/supervise"
	"berth/backend/api"
	"berth/backend/base/paths"
	"berth/backend/transport/wire"
	"berth/gpu/procs/proc"
)

// The test binary plays the agent's parts, as a development build of berth does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "agent" {
		os.Exit(agent.Main(os.Args[2:], agent.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}
	agenttest.OnlyTests()
	os.Exit(m.Run())
}

// open opens a backend with a home of its own and ends, at the end, everything that it started.
func open(t testing.TB, settings map[string]string) *Backend {
	t.Helper()
	root := t.TempDir()
	h, err := paths.At(root)
	require.NoError(t, err)
	require.NoError(t, h.Prepare())
	t.Cleanup(func() { _ = os.RemoveAll(h.Run) })
	if settings == nil {
		settings = map[string]string{}
	}
	if settings["stop_grace_seconds"] == "" {
		settings["stop_grace_seconds"] = "0.5"
	}
	exe, err := os.Executable()
	require.NoError(t, err)
	b, err := New(backend.Env{Home: h, Settings: settings, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Executable: func() (string, error) { return exe, nil }})
	require.NoError(t, err)
	t.Cleanup(func() {
		ms, err := b.List(context.Background())
		require.NoError(t, err)
		for _, m := range ms {
			if m.Adopted {
				continue
			}
			ref := backend.Ref{ID: m.ID, Name: m.Name}
			if b.Delete(context.Background(), ref) != nil {
				_ = b.Stop(context.Background(), ref)
				waitState(t, b, ref, api.StateStopped, api.StateUnusable)
				continue
			}
			waitGone(t, b, ref)
		}
	})
	return b
}

func create(t testing.TB, b *Backend, name string) backend.Ref {
	t.Helper()
	m, err := b.Create(t.Context(), backend.Spec{Token: "op-" + name, Name: name})
	require.NoError(t, err)
	require.Equal(t, api.StateRunning, m.State)
	return backend.Ref{ID: m.ID, Token: m.Token, Name: name, Data: m.Data}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func waitState(t testing.TB, b *Backend, ref backend.Ref, want ...api.State) backend.Machine {
	t.Helper()
	var m backend.Machine
	eventually(t, "state "+string(want[0]), func() bool {
		var err error
		m, err = b.Get(context.Background(), ref)
		require.NoError(t, err)
		for _, w := range want {
			if m.State == w {
				return true
			}
		}
		return false
	})
	return m
}

func waitGone(t testing.TB, b *Backend, ref backend.Ref) {
	t.Helper()
	eventually(t, "the instance to be gone", func() bool {
		_, err := b.Get(context.Background(), ref)
		return errors.Is(err, backend.ErrNotFound) && !paths.Exists(string(b.dir(ref.ID))+".gone")
	})
}

// client waits for the instance's agent.
func client(t testing.TB, b *Backend, ref backend.Ref) (*api.AgentClient, api.AgentInfo) {
	t.Helper()
	c := agent.NewClient(b.socket(ref.ID))
	t.Cleanup(c.Close)
	var info api.AgentInfo
	eventually(t, "the agent to answer", func() bool {
		var err error
		info, err = c.Info(t.Context())
		return err == nil
	})
	return c, info
}

func output(t testing.TB, c *api.AgentClient, script string) string {
	t.Helper()
	s, err := c.OpenExec(t.Context(), api.ExecRequest{Argv: []string{"sh", "-c", script}})
	require.NoError(t, err)
	var out bytes.Buffer
	_, err = s.Run(t.Context(), api.StreamIO{Stdout: &out, Stderr: &out})
	require.NoError(t, err)
	return out.String()
}

func TestLifeOfAnInstance(t *testing.T) {
	b := open(t, nil)
	ref := create(t, b, "one")
	c, info := client(t, b, ref)
	require.Equal(t, b.homeOf(ref.ID), info.Home)
	require.Equal(t, info.Home+"\n"+info.Home+"\none "+ref.ID+"\n",
		output(t, c, `echo $HOME; pwd; echo $BERTH_INSTANCE $BERTH_INSTANCE_ID; echo kept > file`))

	again, err := b.Create(t.Context(), backend.Spec{Token: ref.Token, Name: "one"})
	require.NoError(t, err)
	require.Equal(t, ref.ID, again.ID)
	require.NoError(t, b.Start(t.Context(), ref), "start of what runs succeeds")

	require.NoError(t, b.Stop(t.Context(), ref))
	m := waitState(t, b, ref, api.StateStopped)
	require.Empty(t, m.Reason)
	require.Empty(t, m.Line.Socket)
	require.NoError(t, b.Stop(t.Context(), ref), "stop of what is stopped succeeds")
	kept, err := os.ReadFile(filepath.Join(b.homeOf(ref.ID), "file"))
	require.NoError(t, err)
	require.Equal(t, "kept\n", string(kept))

	require.NoError(t, b.Start(t.Context(), ref))
	waitState(t, b, ref, api.StateRunning)
	c, _ = client(t, b, ref)
	require.Equal(t, "kept\n", output(t, c, "cat file"))

	old, err := proc.Identify(info.PID)
	require.ErrorIs(t, err, proc.ErrGone, "%v", old)
	_, info = client(t, b, ref)
	require.NoError(t, b.Restart(t.Context(), ref))
	eventually(t, "another agent", func() bool {
		now, err := agent.NewClient(b.socket(ref.ID)).Info(t.Context())
		return err == nil && now.PID != info.PID
	})
	waitState(t, b, ref, api.StateRunning)

	list, err := b.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
	console, err := b.Console(t.Context(), ref)
	require.NoError(t, err)
	require.Contains(t, string(console), "the agent was started")

	require.NoError(t, b.Delete(t.Context(), ref))
	waitGone(t, b, ref)
	require.NoError(t, b.Delete(t.Context(), ref), "delete of what is gone succeeds")
	require.NoDirExists(t, b.folder(ref.ID))
	eventually(t, "its records to be gone", func() bool { return !paths.Exists(string(b.dir(ref.ID))) })
}

// stubborn starts, inside an instance, processes of every kind that is hard to end, and returns
// their PIDs: one that ignores the signals that ask, one in a session of its own, one detached twice
// and given to whoever takes orphans, one that cleared its environment, a terminal's shell.
func stubborn(t *testing.T, c *api.AgentClient) []int {
	t.Helper()
	out := output(t, c, `
		: > pids
		sh -c 'trap "" TERM HUP INT; echo $$ >> pids; while :; do sleep 1; done' </dev/null >/dev/null 2>&1 &
		setsid sh -c 'echo $$ >> pids; exec sleep 1000' </dev/null >/dev/null 2>&1 &
		( setsid sh -c '(trap "" TERM; setsid sh -c "echo \$\$ >> pids; trap \"\" TERM; while :; do sleep 1; done" </dev/null >/dev/null 2>&1 &)' & )
		env -i setsid sh -c '(setsid /bin/sh -c "echo \$\$ >> pids; exec /bin/sleep 1000" </dev/null >/dev/null 2>&1 &)' &
		while [ "$(wc -l < pids)" -lt 4 ]; do sleep 0.01; done
		cat pids`)
	s, err := c.OpenTerminal(t.Context(), api.TerminalRequest{New: true})
	require.NoError(t, err)
	k, _, err := s.Reader.Next()
	require.NoError(t, err)
	require.Equal(t, wire.Started, k)
	require.NoError(t, s.Close())
	terms, err := c.Terminals(t.Context())
	require.NoError(t, err)
	require.Len(t, terms, 1)
	pids := []int{terms[0].PID}
	for f := range strings.FieldsSeq(out) {
		pid, err := strconv.Atoi(f)
		require.NoError(t, err)
		pids = append(pids, pid)
	}
	require.Len(t, pids, 5)
	return pids
}

func living(pids []int) (out []int) {
	for _, p := range pids {
		if id, err := proc.Identify(p); err == nil && id.Alive() {
			out = append(out, p)
		}
	}
	return out
}

func TestStopEndsEveryProcess(t *testing.T) {
	for _, kind := range []string{"v2", "freezer", "tree"} {
		t.Run(kind, func(t *testing.T) {
			if kind != "tree" {
				g, err := process.NewCgroup("berth-test-probe", kind)
				if err != nil {
					t.Skipf("needs root, or a control group of its own: none of kind %s can be made here: %v", kind, err)
				}
				require.NoError(t, g.Remove())
			}
			b := open(t, map[string]string{"process_group": kind})
			ref := create(t, b, "stubborn")
			c, _ := client(t, b, ref)
			pids := stubborn(t, c)
			require.Len(t, living(pids), len(pids))
			bystander := exec.Command("sleep", "1000")
			require.NoError(t, bystander.Start())
			defer func() { _ = bystander.Process.Kill(); _ = bystander.Wait() }()
			require.NoError(t, b.Stop(t.Context(), ref))
			m := waitState(t, b, ref, api.StateStopped)
			require.Empty(t, m.Reason)
			require.Empty(t, living(pids))
			require.NotEmpty(t, living([]int{bystander.Process.Pid}))
		})
	}
}

func TestSupervisorKilled(t *testing.T) {
	b := open(t, nil)
	ref := create(t, b, "killed")
	c, _ := client(t, b, ref)
	pids := stubborn(t, c)
	v := b.look(ref.ID)
	set := v.status.Set(ref.ID)
	if set.Cgroup == nil { // by the tree, nobody finds what has no mark and whose supervisor was killed
		marked, err := process.Set{Mark: set.Mark}.Members()
		require.NoError(t, err)
		has := map[int]bool{}
		for _, id := range marked {
			has[id.PID] = true
		}
		pids = slices.DeleteFunc(pids, func(pid int) bool {
			if !has[pid] {
				t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
			}
			return !has[pid]
		})
		require.Len(t, pids, 4)
	}

	// While it runs: terminals go on, and a new supervisor finds them.
	require.NoError(t, v.status.Signal(syscall.SIGKILL))
	eventually(t, "another supervisor", func() bool {
		m, err := b.Get(t.Context(), ref)
		require.NoError(t, err)
		require.Equal(t, api.StateRunning, m.State)
		now := b.look(ref.ID)
		return now.alive && now.status.PID != v.status.PID
	})
	var terms []api.Terminal
	eventually(t, "the terminal to be found", func() bool {
		var err error
		terms, err = agent.NewClient(b.socket(ref.ID)).Terminals(t.Context())
		return err == nil && len(terms) == 1
	})
	require.Equal(t, pids[0], terms[0].PID)

	// While it stops: the next look goes on with it.
	require.NoError(t, b.dir(ref.ID).Ask(supervise.ActionStop))
	require.NoError(t, b.look(ref.ID).status.Signal(syscall.SIGKILL))
	eventually(t, "the supervisor's end", func() bool { return !b.look(ref.ID).alive })
	m, err := b.Get(t.Context(), ref)
	require.NoError(t, err)
	require.Equal(t, api.StateStopping, m.State)
	waitState(t, b, ref, api.StateStopped)
	require.Empty(t, living(pids))
}

func TestAgentKilledComesBack(t *testing.T) {
	b := open(t, nil)
	ref := create(t, b, "agent")
	_, info := client(t, b, ref)
	require.NoError(t, syscall.Kill(info.PID, syscall.SIGKILL))
	eventually(t, "another agent", func() bool {
		now, err := agent.NewClient(b.socket(ref.ID)).Info(t.Context())
		return err == nil && now.PID != info.PID
	})
}
