package agent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/server"
	"berth/backend/agent/server/servertest"
	"berth/backend/api"
	"berth/backend/transport/wire"
	"berth/gpu/procs/proc"
)

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

func TestAgentKilledWithTerminalsOpen(t *testing.T) {
	o := testOptions(t)
	info, c := startDetached(t, o)
	p := servertest.Attach(t, c, api.TerminalRequest{New: true})
	p.Types("echo be''fore\n")
	p.Sees("before")
	require.NoError(t, syscall.Kill(info.PID, syscall.SIGKILL))
	<-p.Done

	again, _ := startDetached(t, o)
	require.NotEqual(t, info.PID, again.PID)
	require.Equal(t, 1, again.Terminals)
	q := servertest.Attach(t, c, api.TerminalRequest{})
	require.Equal(t, p.ID, q.ID)
	require.Equal(t, p.PID, q.PID)
	q.Sees("before")
	q.Types("echo af''ter\n")
	q.Sees("after")
	n := servertest.Attach(t, c, api.TerminalRequest{New: true})
	require.NotEqual(t, q.ID, n.ID, "a number is never used again")
}

func TestUpgradeInPlace(t *testing.T) {
	o := testOptions(t)
	info, c := startDetached(t, o)
	p := servertest.Attach(t, c, api.TerminalRequest{New: true})
	p.Types("echo be''fore\n")
	p.Sees("before")
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
	p.Types("echo af''ter\n")
	p.Sees("after")
	p.Leave()
	eventually(t, "the old agent to leave", func() bool { _, err := proc.Identify(info.PID); return err != nil })
	eventually(t, "the terminal to be free", func() bool {
		l, err := c.Terminals(t.Context())
		return err == nil && len(l) == 1 && l[0].Attached == 0
	})
	q := servertest.Attach(t, c, api.TerminalRequest{})
	require.Equal(t, p.PID, q.PID)
	q.Sees("after")

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
	_, err = server.New(t.Context(), server.Config{Options: o, Parts: parts, Takeover: true, Log: servertest.Quiet})
	require.ErrorContains(t, err, "newer one only")
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

func TestSocketsRemovedByACleanerAreMadeAgain(t *testing.T) {
	o := testOptions(t)
	info, c := startDetached(t, o)
	p := servertest.Attach(t, c, api.TerminalRequest{})
	require.NoError(t, os.RemoveAll(filepath.Dir(o.Socket)))
	again, err := Start(t.Context(), o, false)
	require.NoError(t, err)
	require.Equal(t, info.PID, again.PID)
	q := servertest.Attach(t, c, api.TerminalRequest{ID: p.ID})
	q.Types("echo he''re\n")
	q.Sees("here")
}

// TestNoCallFailsDuringAnUpgrade calls the agent without a pause, on connections of its own each time, while a newer
// one takes over.
func TestNoCallFailsDuringAnUpgrade(t *testing.T) {
	o := testOptions(t)
	info, c := startDetached(t, o)
	require.NoError(t, waitEnvironment(t, c))
	stop := make(chan struct{})
	var calls, failed atomic.Int64
	var wg sync.WaitGroup
	call := func(f func() error) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				calls.Add(1)
				if err := f(); err != nil && failed.Add(1) < 5 {
					t.Error(err)
				}
			}
		})
	}
	for range 3 {
		call(func() error {
			s, err := c.OpenExec(t.Context(), sh("echo out; echo err >&2; exit 7"))
			if err != nil {
				return fmt.Errorf("exec: %w", err)
			}
			var out, errs bytes.Buffer
			x, err := s.Run(t.Context(), api.StreamIO{Stdout: &out, Stderr: &errs})
			if err != nil || x.Code != 7 || out.String() != "out\n" || errs.String() != "err\n" {
				return fmt.Errorf("exec: %w, %+v, %q, %q", err, x, &out, &errs)
			}
			return nil
		})
	}
	for _, f := range []func(*api.AgentClient) error{
		func(c *api.AgentClient) error { _, err := c.Info(t.Context()); return err },
		func(c *api.AgentClient) error { _, err := c.Terminals(t.Context()); return err },
		func(c *api.AgentClient) error { return c.KeepOnStart(t.Context(), api.SetupPlan{}) },
	} {
		call(func() error {
			c := NewClient(o.Socket)
			defer c.Close()
			return f(c)
		})
	}
	eventually(t, "some calls", func() bool { return calls.Load() > 50 })
	up, err := startBy(t, newer(t), o)
	require.NoError(t, err)
	require.NotEqual(t, info.PID, up.PID)
	before := calls.Load()
	eventually(t, "some calls to the newer one", func() bool { return calls.Load() > before+50 })
	close(stop)
	wg.Wait()
	require.Zero(t, failed.Load(), "of %d calls", calls.Load())
}

// waitEnvironment waits until commands need not wait for the environment of the login shell.
func waitEnvironment(t *testing.T, c *api.AgentClient) error {
	t.Helper()
	s, err := c.OpenExec(t.Context(), sh("true"))
	if err != nil {
		return err
	}
	_, err = s.Run(t.Context(), api.StreamIO{Stdout: io.Discard, Stderr: io.Discard})
	return err
}

// TestLateOutputAcrossAnUpgrade: a command has ended on the older agent, and what it left behind says more after the
// newer one has taken over.
func TestLateOutputAcrossAnUpgrade(t *testing.T) {
	o := testOptions(t)
	info, c := startDetached(t, o)
	fifo := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	s, err := c.OpenExec(t.Context(), sh("(read x <"+fifo+"; echo $x; echo and err >&2) & echo first; exit 5"))
	require.NoError(t, err)
	var out, errs bytes.Buffer
	began := make(chan struct{})
	ended := make(chan wire.ExitStatus, 1)
	go func() {
		x, err := s.Run(t.Context(), api.StreamIO{Stdout: io.MultiWriter(&out, &closer{c: began}), Stderr: &errs})
		if err != nil {
			t.Error(err)
		}
		ended <- x
	}()
	<-began
	up, err := startBy(t, newer(t), o)
	require.NoError(t, err)
	require.NotEqual(t, info.PID, up.PID)
	select {
	case x := <-ended:
		t.Fatalf("it ended with %+v and %q", x, &out)
	default:
	}
	f, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString("late\n")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Equal(t, wire.ExitStatus{Code: 5}, <-ended)
	require.Equal(t, "first\nlate\n", out.String())
	require.Equal(t, "and err\n", errs.String())
	eventually(t, "the old agent to leave", func() bool { _, err := proc.Identify(info.PID); return err != nil })
}

// TestACancelAcrossAnUpgrade is asked of the older agent, and the newer one says how it ended.
func TestACancelAcrossAnUpgrade(t *testing.T) {
	o := testOptions(t)
	info, c := startDetached(t, o)
	script := "trap '' TERM; touch runs; until test -e go; do sleep 0.01; done"
	_, err := c.PutSetup(t.Context(), api.SetupPlan{ID: "a", Steps: []api.SetupStep{{Name: "s", Script: script}}})
	require.NoError(t, err)
	eventually(t, "the step runs", func() bool { _, err := os.Stat(filepath.Join(o.Home, "runs")); return err == nil })
	before, err := c.Setup(t.Context(), "a", 0)
	require.NoError(t, err)
	type answer struct {
		api.SetupStatus
		error
	}
	cancelled := make(chan answer, 1)
	go func() {
		st, err := c.CancelSetup(t.Context(), "a")
		cancelled <- answer{st, err}
	}()
	_, err = c.Setup(t.Context(), "a", before.Revision)
	require.NoError(t, err) // the older agent has noted that it is to be cancelled
	up, err := startBy(t, newer(t), o)
	require.NoError(t, err)
	require.NotEqual(t, info.PID, up.PID)
	select {
	case a := <-cancelled:
		t.Fatalf("the older agent said %s, %v", a.State, a.error)
	default:
	}
	require.NoError(t, os.WriteFile(filepath.Join(o.Home, "go"), nil, 0o600))
	a := <-cancelled
	require.NoError(t, a.error)
	require.Equal(t, api.OpCancelled, a.State)
}

// closer closes a channel at its first write.
type closer struct {
	once sync.Once
	c    chan struct{}
}

func (c *closer) Write(p []byte) (int, error) { c.once.Do(func() { close(c.c) }); return len(p), nil }
