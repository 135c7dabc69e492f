package terminal

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/agenttest"
	"berth/backend/agent/server/servertest"
	"berth/backend/agent/shim"
	"berth/backend/api"
	"berth/backend/base/atomicfile"
	"berth/backend/transport/wire"
	"berth/gpu/procs/proc"
)

func TestTerminalOutlivesItsClient(t *testing.T) {
	t.Parallel()
	_, c := serve(t, agenttest.Options(t))
	a := servertest.Attach(t, c, api.TerminalRequest{Rows: 20, Cols: 70})
	a.Types("echo $((40+2)) $TERM $(stty size); shopt -q login_shell && echo login\n")
	a.Sees("42 xterm-256color 20 70")
	a.Sees("login\r\n")
	require.NoError(t, a.Stream.Writer.Write(wire.Detach, nil))
	<-a.Done
	require.Equal(t, &wire.ExitStatus{Reason: "detached"}, a.End)

	b := servertest.Attach(t, c, api.TerminalRequest{Rows: 30, Cols: 90})
	require.Equal(t, a.ID, b.ID)
	require.Equal(t, a.PID, b.PID)
	b.Sees("42 xterm-256color 20 70") // replayed
	b.Types("stty size\n")
	b.Sees("30 90")

	second := servertest.Attach(t, c, api.TerminalRequest{})
	require.NotEqual(t, b.ID, second.ID, "a terminal that somebody is attached to is not taken")
	mirror := servertest.Attach(t, c, api.TerminalRequest{Shared: true, ID: b.ID})
	b.Types("echo both\n")
	mirror.Sees("both\r\n")

	list, err := c.Terminals(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, 2, list[0].Attached)

	b.Types("exit 5\n")
	<-b.Done
	<-mirror.Done
	require.Equal(t, &wire.ExitStatus{Code: 5}, b.End)
	require.Equal(t, &wire.ExitStatus{Code: 5}, mirror.End)
	agenttest.Eventually(t, "the terminal to be gone", func() bool {
		list, err := c.Terminals(t.Context())
		return err == nil && len(list) == 1
	})
	s, err := c.OpenTerminal(t.Context(), api.TerminalRequest{ID: b.ID})
	require.NoError(t, err)
	_, err = s.Run(t.Context(), api.StreamIO{})
	require.ErrorContains(t, err, "exit code 5")
}

func TestTheTerminalThatWasLeftLastIsTaken(t *testing.T) {
	_, c := serve(t, agenttest.Options(t))
	a, b := servertest.Attach(t, c, api.TerminalRequest{New: true}),
		servertest.Attach(t, c, api.TerminalRequest{New: true})
	attachedTo := func(n int) func() bool {
		return func() bool {
			list, err := c.Terminals(t.Context())
			return err == nil && len(list) == 2 && list[0].Attached+list[1].Attached == n
		}
	}
	b.Leave()
	agenttest.Eventually(t, "one left", attachedTo(1))
	a.Leave()
	agenttest.Eventually(t, "none left", attachedTo(0))
	require.Equal(t, a.ID, servertest.Attach(t, c, api.TerminalRequest{}).ID)
	require.Equal(t, b.ID, servertest.Attach(t, c, api.TerminalRequest{}).ID)
}

func TestKillTerminalEndsItsProcesses(t *testing.T) {
	t.Parallel()
	o := agenttest.Options(t)
	_, c := serve(t, o)
	p := servertest.Attach(t, c, api.TerminalRequest{New: true})
	p.Types("(trap '' HUP TERM; setsid sh -c 'trap \"\" TERM HUP; echo $$ > pid; while :; do sleep 1; done' &); " +
		"echo be''gun\n")
	p.Sees("begun")
	var pid int
	agenttest.Eventually(t, "the process", func() bool {
		b, err := os.ReadFile(filepath.Join(o.Home, "pid"))
		return err == nil && json.Unmarshal(bytes.TrimSpace(b), &pid) == nil
	})
	require.NoError(t, c.KillTerminal(t.Context(), p.ID))
	<-p.Done
	require.NotNil(t, p.End)
	_, err := proc.Identify(pid)
	require.ErrorIs(t, err, proc.ErrGone)
	require.Error(t, c.KillTerminal(t.Context(), p.ID))
}

func TestTerminalsLostToARebootOrAKilledShimAreSaid(t *testing.T) {
	o := agenttest.Options(t)
	dir := filepath.Join(terminalsDir(o), "7")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	rec := shim.Record{Socket: terminalSocket(o, "7")}
	rec.ID, rec.Command, rec.Shim = "7", "/bin/bash", proc.Identity{PID: 1, Start: 1, Boot: "an earlier one"}
	require.NoError(t, atomicfile.Write(shim.RecordPath(dir), rec))
	_, c := serve(t, o)
	err := c.KillTerminal(t.Context(), "7")
	require.ErrorContains(t, err, "lost when the host was restarted")
	require.NoDirExists(t, dir)

	p := servertest.Attach(t, c, api.TerminalRequest{})
	require.Equal(t, "8", p.ID, "a number is never used again")
	r, err := shim.ReadRecord(filepath.Join(terminalsDir(o), "8"))
	require.NoError(t, err)
	require.NoError(t, r.Shim.Signal(syscall.SIGKILL))
	<-p.Done
	require.NotNil(t, p.Fail)
	require.Contains(t, p.Fail.Message, "was killed")
	agenttest.Eventually(t, "the loss to be noted", func() bool {
		err := c.KillTerminal(t.Context(), "8")
		return err != nil && strings.Contains(err.Error(), "its shim was killed")
	})
}

// TestANumberIsNotGivenAgainByALaterAgent has every terminal ended before the agent is: nothing but the note is left.
func TestANumberIsNotGivenAgainByALaterAgent(t *testing.T) {
	t.Parallel()
	o := agenttest.Options(t)
	a, c := serve(t, o)
	p := servertest.Attach(t, c, api.TerminalRequest{New: true, Argv: []string{"cat"}})
	require.NoError(t, c.KillTerminal(t.Context(), p.ID))
	later := newTerminals(a.h)
	defer later.stopWatching()
	require.NoError(t, later.load())
	id, _, err := later.reserve(terminalsDir(o))
	require.NoError(t, err)
	require.Equal(t, "2", id)
}

// TestTerminalsAreListedWhileTheyAreTakenOver has the list read, as figures do from the first moment, while a
// new agent finds the terminals of an earlier one. The race detector looks on.
func TestTerminalsAreListedWhileTheyAreTakenOver(t *testing.T) {
	o := agenttest.Options(t)
	a, c := serve(t, o)
	for range 3 {
		servertest.Attach(t, c, api.TerminalRequest{New: true, Rows: 3, Cols: 20, Argv: []string{"cat"}})
	}
	ts := newTerminals(a.h)
	defer ts.stopWatching()
	loaded := make(chan struct{})
	go func() {
		defer close(loaded)
		_ = ts.load() // as below
	}()
	for len(ts.records()) < 3 {
		runtime.Gosched()
	}
	<-loaded
}
