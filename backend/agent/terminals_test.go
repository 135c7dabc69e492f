package agent

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/process"
	"berth/backend/agent/shim"
	"berth/backend/api"
	"berth/backend/base/atomicfile"
	"berth/backend/transport/wire"
)

// person is a client attached to a terminal.
type person struct {
	t   testing.TB
	s   *api.Stream
	id  string
	pid int

	mu   sync.Mutex
	out  bytes.Buffer
	end  *wire.ExitStatus
	fail *api.Error
	done chan struct{}
}

func attach(t testing.TB, c *api.AgentClient, req api.TerminalRequest) *person {
	t.Helper()
	s, err := c.OpenTerminal(t.Context(), req)
	require.NoError(t, err)
	k, b, err := s.Reader.Next()
	require.NoError(t, err)
	require.Equal(t, string(rune(wire.Started)), string(rune(k)), "%s", b)
	var st wire.Start
	require.NoError(t, json.Unmarshal(b, &st))
	p := &person{t: t, s: s, id: st.Terminal, pid: st.PID, done: make(chan struct{})}
	go p.read()
	t.Cleanup(p.leave)
	return p
}

func (p *person) read() {
	defer close(p.done)
	for {
		k, b, err := p.s.Reader.Next()
		if err != nil {
			return
		}
		p.mu.Lock()
		switch k {
		case wire.Stdout:
			p.out.Write(b)
		case wire.Exit:
			p.end = &wire.ExitStatus{}
			_ = json.Unmarshal(b, p.end)
		case wire.Error:
			p.fail = &api.Error{}
			_ = json.Unmarshal(b, p.fail)
		}
		p.mu.Unlock()
	}
}

func (p *person) leave() { _ = p.s.Close(); <-p.done }

func (p *person) types(s string) {
	p.t.Helper()
	require.NoError(p.t, p.s.Writer.Write(wire.Stdin, []byte(s)))
}

func (p *person) seen() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

func (p *person) sees(what string) {
	p.t.Helper()
	eventually(p.t, what+" in "+p.id, func() bool { return strings.Contains(p.seen(), what) })
}

func TestTerminalOutlivesItsClient(t *testing.T) {
	t.Parallel()
	_, c := serve(t, testOptions(t))
	a := attach(t, c, api.TerminalRequest{Rows: 20, Cols: 70})
	a.types("echo $((40+2)) $TERM $(stty size); shopt -q login_shell && echo login\n")
	a.sees("42 xterm-256color 20 70")
	a.sees("login\r\n")
	require.NoError(t, a.s.Writer.Write(wire.Detach, nil))
	<-a.done
	require.Equal(t, &wire.ExitStatus{Reason: "detached"}, a.end)

	b := attach(t, c, api.TerminalRequest{Rows: 30, Cols: 90})
	require.Equal(t, a.id, b.id)
	require.Equal(t, a.pid, b.pid)
	b.sees("42 xterm-256color 20 70") // replayed
	b.types("stty size\n")
	b.sees("30 90")

	second := attach(t, c, api.TerminalRequest{})
	require.NotEqual(t, b.id, second.id, "a terminal that somebody is attached to is not taken")
	mirror := attach(t, c, api.TerminalRequest{Shared: true, ID: b.id})
	b.types("echo both\n")
	mirror.sees("both\r\n")

	list, err := c.Terminals(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, 2, list[0].Attached)

	b.types("exit 5\n")
	<-b.done
	<-mirror.done
	require.Equal(t, &wire.ExitStatus{Code: 5}, b.end)
	require.Equal(t, &wire.ExitStatus{Code: 5}, mirror.end)
	eventually(t, "the terminal to be gone", func() bool {
		list, err := c.Terminals(t.Context())
		return err == nil && len(list) == 1
	})
	s, err := c.OpenTerminal(t.Context(), api.TerminalRequest{ID: b.id})
	require.NoError(t, err)
	_, err = s.Run(t.Context(), api.StreamIO{})
	require.ErrorContains(t, err, "exit code 5")
}

func TestTheTerminalThatWasLeftLastIsTaken(t *testing.T) {
	_, c := serve(t, testOptions(t))
	a, b := attach(t, c, api.TerminalRequest{New: true}), attach(t, c, api.TerminalRequest{New: true})
	attachedTo := func(n int) func() bool {
		return func() bool {
			list, err := c.Terminals(t.Context())
			return err == nil && len(list) == 2 && list[0].Attached+list[1].Attached == n
		}
	}
	b.leave()
	eventually(t, "one left", attachedTo(1))
	a.leave()
	eventually(t, "none left", attachedTo(0))
	require.Equal(t, a.id, attach(t, c, api.TerminalRequest{}).id)
	require.Equal(t, b.id, attach(t, c, api.TerminalRequest{}).id)
}

func TestKillTerminalEndsItsProcesses(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	_, c := serve(t, o)
	p := attach(t, c, api.TerminalRequest{New: true})
	p.types("(trap '' HUP TERM; setsid sh -c 'trap \"\" TERM HUP; echo $$ > pid; while :; do sleep 1; done' &) ; echo be''gun\n")
	p.sees("begun")
	var pid int
	eventually(t, "the process", func() bool {
		b, err := os.ReadFile(filepath.Join(o.Home, "pid"))
		return err == nil && json.Unmarshal(bytes.TrimSpace(b), &pid) == nil
	})
	require.NoError(t, c.KillTerminal(t.Context(), p.id))
	<-p.done
	require.NotNil(t, p.end)
	_, err := process.Identify(pid)
	require.ErrorIs(t, err, process.ErrGone)
	require.Error(t, c.KillTerminal(t.Context(), p.id))
}

func TestAgentKilledWithTerminalsOpen(t *testing.T) {
	o := testOptions(t)
	info, c := startDetached(t, o)
	p := attach(t, c, api.TerminalRequest{New: true})
	p.types("echo be''fore\n")
	p.sees("before")
	require.NoError(t, syscall.Kill(info.PID, syscall.SIGKILL))
	<-p.done

	again, _ := startDetached(t, o)
	require.NotEqual(t, info.PID, again.PID)
	require.Equal(t, 1, again.Terminals)
	q := attach(t, c, api.TerminalRequest{})
	require.Equal(t, p.id, q.id)
	require.Equal(t, p.pid, q.pid)
	q.sees("before")
	q.types("echo af''ter\n")
	q.sees("after")
	n := attach(t, c, api.TerminalRequest{New: true})
	require.NotEqual(t, q.id, n.id, "a number is never used again")
}

// newer makes a copy of this program that is a newer build: other bytes, a later time.
func newer(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	b, err := os.ReadFile(exe)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "berth")
	require.NoError(t, os.WriteFile(path, append(b, "newer"...), 0o700))
	at := time.Now().Add(time.Hour)
	require.NoError(t, os.Chtimes(path, at, at))
	return path
}

func startBy(t *testing.T, exe string, o Options) (api.AgentInfo, error) {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(exe, append([]string{"agent", "start", "--replace"}, o.Args()...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	t.Log(stderr.String())
	var info api.AgentInfo
	if err == nil {
		require.NoError(t, json.Unmarshal(out, &info))
		require.Equal(t, 1, bytes.Count(out, []byte("\n")), "one line")
	}
	return info, err
}

func TestUpgradeInPlace(t *testing.T) {
	o := testOptions(t)
	info, c := startDetached(t, o)
	p := attach(t, c, api.TerminalRequest{New: true})
	p.types("echo be''fore\n")
	p.sees("before")
	s, err := c.OpenExec(t.Context(), sh("read x; echo got $x"))
	require.NoError(t, err)
	k, _, err := s.Reader.Next()
	require.NoError(t, err)
	require.Equal(t, wire.Started, k)

	bin := newer(t)
	up, err := startBy(t, bin, o)
	require.NoError(t, err)
	require.NotEqual(t, info.PID, up.PID)
	require.NotEqual(t, info.Hash, up.Hash)
	require.Equal(t, 1, up.Terminals)

	// What was under way goes on: the exec by the old agent, and the terminal's line too.
	var out bytes.Buffer
	x, err := s.Run(t.Context(), api.StreamIO{Stdin: strings.NewReader("it\n"), Stdout: &out, Stderr: io.Discard})
	require.NoError(t, err)
	require.Equal(t, 0, x.Code)
	require.Equal(t, "got it\n", out.String())
	p.types("echo af''ter\n")
	p.sees("after")
	p.leave()
	eventually(t, "the old agent to leave", func() bool { _, err := process.Identify(info.PID); return err != nil })
	eventually(t, "the terminal to be free", func() bool {
		l, err := c.Terminals(t.Context())
		return err == nil && len(l) == 1 && l[0].Attached == 0
	})
	q := attach(t, c, api.TerminalRequest{})
	require.Equal(t, p.pid, q.pid)
	q.sees("after")

	// The same program, written again later, is not newer.
	exe2 := filepath.Join(t.TempDir(), "berth")
	b, err := os.ReadFile(bin)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(exe2, b, 0o700))
	at := time.Now().Add(2 * time.Hour)
	require.NoError(t, os.Chtimes(exe2, at, at))
	again, err := startBy(t, exe2, o)
	require.NoError(t, err)
	require.Equal(t, up.PID, again.PID)

	// And never back.
	exe, err := os.Executable()
	require.NoError(t, err)
	same, err := startBy(t, exe, o)
	require.NoError(t, err)
	require.Equal(t, up.PID, same.PID)
	require.ErrorContains(t, handOver(t.Context(), o.Socket), "newer one only")
}

func TestAnUpgradeThatCannotRunHarmsNothing(t *testing.T) {
	o := testOptions(t)
	info, c := startDetached(t, o)
	bad := newer(t)
	o2 := o
	o2.Scratch = filepath.Join(o.Home, "scratch2")
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(o.State), "file"), nil, 0o600))
	o2.Share = filepath.Join(filepath.Dir(o.State), "file") // refused by run: the new agent ends at once
	_, err := startBy(t, bad, o2)
	require.Error(t, err)
	now, err := c.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, info.PID, now.PID)
}

func TestTerminalsLostToARebootOrAKilledShimAreSaid(t *testing.T) {
	o := testOptions(t)
	dir := filepath.Join(terminalsDir(o), "7")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	rec := shim.Record{ID: "7", Command: "/bin/bash", Socket: terminalSocket(o, "7"), Shim: process.Identity{PID: 1, Start: 1, Boot: "an earlier one"}}
	require.NoError(t, atomicfile.Write(shim.RecordPath(dir), rec))
	_, c := serve(t, o)
	err := c.KillTerminal(t.Context(), "7")
	require.ErrorContains(t, err, "lost when the host was restarted")
	require.NoDirExists(t, dir)

	p := attach(t, c, api.TerminalRequest{})
	require.Equal(t, "8", p.id, "a number is never used again")
	r, err := shim.ReadRecord(filepath.Join(terminalsDir(o), "8"))
	require.NoError(t, err)
	require.NoError(t, r.Shim.Signal(syscall.SIGKILL))
	<-p.done
	require.NotNil(t, p.fail)
	require.Contains(t, p.fail.Message, "was killed")
	eventually(t, "the loss to be noted", func() bool {
		err := c.KillTerminal(t.Context(), "8")
		return err != nil && strings.Contains(err.Error(), "its shim was killed")
	})
}

func TestSocketsRemovedByACleanerAreMadeAgain(t *testing.T) {
	o := testOptions(t)
	info, c := startDetached(t, o)
	p := attach(t, c, api.TerminalRequest{})
	require.NoError(t, os.RemoveAll(filepath.Dir(o.Socket)))
	again, err := Start(t.Context(), o, false)
	require.NoError(t, err)
	require.Equal(t, info.PID, again.PID)
	q := attach(t, c, api.TerminalRequest{ID: p.id})
	q.types("echo he''re\n")
	q.sees("here")
}

// TestTerminalsAreListedWhileTheyAreTakenOver has the list read, as figures do from the first moment, while a
// new agent finds the terminals of an earlier one. The race detector looks on.
func TestTerminalsAreListedWhileTheyAreTakenOver(t *testing.T) {
	o := testOptions(t)
	a, c := serve(t, o)
	for range 3 {
		attach(t, c, api.TerminalRequest{New: true, Rows: 3, Cols: 20, Argv: []string{"cat"}})
	}
	ts := newTerminals(a)
	defer ts.stopWatching()
	loaded := make(chan struct{})
	go func() {
		defer close(loaded)
		ts.load()
	}()
	for len(ts.records()) < 3 {
		runtime.Gosched()
	}
	<-loaded
}
