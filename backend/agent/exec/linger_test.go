package exec

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/agenttest"
	"berth/backend/agent/part"
	"berth/backend/agent/server"
	"berth/backend/agent/server/servertest"
	"berth/backend/api"
	"berth/backend/transport/wire"
	"berth/gpu/procs/proc"
)

// left runs a command that leaves a process behind, which holds the output open until its FIFO is opened for
// writing and then says "late". It returns the stream, and the FIFO.
func left(t *testing.T, o part.Options, c *api.AgentClient, more string,
	over func(*api.ExecRequest)) (*api.Stream, string) {
	t.Helper()
	fifo := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	t.Cleanup(func() { release(fifo, 0) })
	q := servertest.Sh(more + "(read x <" + fifo + "; echo late) & echo first $!")
	if over != nil {
		over(&q)
	}
	s, err := c.OpenExec(t.Context(), q)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s, fifo
}

// release lets what waits at the FIFO go on. It may not have come there yet: that is waited for.
func release(fifo string, limit time.Duration) {
	for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		f, err := os.OpenFile(fifo, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			_, _ = f.WriteString("\n")
			_ = f.Close()
		}
		if err == nil || !time.Now().Before(end) {
			return
		}
	}
}

// firstLine is told the number on the line "first N".
type firstLine struct {
	bytes.Buffer
	got chan int
}

func (f *firstLine) Write(p []byte) (int, error) {
	n, err := f.Buffer.Write(p)
	if w := strings.Fields(f.String()); f.got != nil && len(w) >= 2 && strings.Contains(f.String(), "\n") {
		pid, _ := strconv.Atoi(w[1])
		f.got <- pid
		f.got = nil
	}
	return n, err
}

func TestExecWaitsForTheLastWriter(t *testing.T) {
	o := agenttest.Options(t)
	_, c := serve(t, o)
	s, fifo := left(t, o, c, "", nil)
	got := make(chan int, 1)
	out := &firstLine{got: got}
	go func() {
		<-got
		release(fifo, time.Minute)
	}()
	x, err := s.Run(t.Context(), api.StreamIO{Stdout: out, Stderr: io.Discard})
	require.NoError(t, err)
	require.Zero(t, x.Code)
	require.Equal(t, "late", strings.Fields(out.String())[2])

	r, err := servertest.Execute(t, c, api.ExecRequest{Argv: []string{"bash", "-c", "echo hello > >(sleep 0.4; cat)"}}, "")
	require.NoError(t, err)
	require.Equal(t, "hello\n", r.Stdout)
}

func TestExecWithoutLingeringLeavesAlone(t *testing.T) {
	o := agenttest.Options(t)
	_, c := serve(t, o)
	s, _ := left(t, o, c, "", func(q *api.ExecRequest) { q.NoLinger = true })
	got := make(chan int, 1)
	x, err := s.Run(t.Context(), api.StreamIO{Stdout: &firstLine{got: got}, Stderr: io.Discard})
	require.NoError(t, err)
	require.Zero(t, x.Code)
	require.NoError(t, syscall.Kill(<-got, 0), "it should have been left alone")
}

// TestExecWithoutLingeringLosesNothing reads what a command wrote long after it ended, while something still
// writes without end.
func TestExecWithoutLingeringLosesNothing(t *testing.T) {
	_, c := serve(t, agenttest.Options(t))
	q := api.ExecRequest{Argv: []string{"bash", "-c", "(exec >&2; exec yes) & head -c 900000 /dev/zero"}, NoLinger: true}
	s, err := c.OpenExec(t.Context(), q)
	require.NoError(t, err)
	k, p, err := s.Reader.Next()
	require.NoError(t, err)
	require.Equal(t, wire.Started, k, "%s", p)
	time.Sleep(2 * quietLimit) // nothing is read meanwhile
	zeros := 0
	for {
		k, p, err := s.Reader.Next()
		require.NoError(t, err)
		if k == wire.Stdout {
			zeros += len(p)
		}
		if k == wire.Exit {
			break
		}
	}
	require.Equal(t, 900000, zeros)
}

// TestExecGivesASlowReaderAllTheTime lets a reader pause for longer than any time limit of before.
func TestExecGivesASlowReaderAllTheTime(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes 12 s")
	}
	_, c := serve(t, agenttest.Options(t))
	s, err := c.OpenExec(t.Context(), api.ExecRequest{Argv: []string{"head", "-c", "3000000", "/dev/zero"}, Alive: true})
	require.NoError(t, err)
	_, p, err := s.Reader.Next()
	require.NoError(t, err)
	_ = p
	time.Sleep(12 * time.Second)
	var n counter
	x, err := s.Run(t.Context(), api.StreamIO{Stdout: &n, Stderr: io.Discard, Alive: true})
	require.NoError(t, err)
	require.Zero(t, x.Code)
	require.EqualValues(t, 3000000, n)
}

func TestExecSaysWhoHoldsTheOutput(t *testing.T) {
	o := agenttest.Options(t)
	a, c := serve(t, o)
	a.patience.name = 10 * time.Millisecond
	s, fifo := left(t, o, c, "", func(q *api.ExecRequest) { q.Alive = true })
	got := make(chan int, 1)
	out := &firstLine{got: got}
	var said wire.Lingering
	_, err := s.Run(t.Context(),
		api.StreamIO{Stdout: out, Stderr: io.Discard, Alive: true, Lingers: func(l wire.Lingering) {
			said = l
			release(fifo, time.Minute)
		}})
	require.NoError(t, err)
	require.Len(t, said.Holders, 1)
	require.Equal(t, <-got, said.Holders[0].PID)
	require.Contains(t, said.Holders[0].Command, "read x")
	require.Contains(t, out.String(), "late")
}

// TestExecInterruptedWhileItLingers ends the wait at once. What was left ignores the interrupt, as a shell's
// background processes do, and is left alone.
func TestExecInterruptedWhileItLingers(t *testing.T) {
	t.Parallel()
	for _, sig := range []string{"INT", "TERM", "HUP", "QUIT"} {
		t.Run(sig, func(t *testing.T) {
			o := agenttest.Options(t)
			a, c := serve(t, o)
			a.patience.name = 10 * time.Millisecond
			s, _ := left(t, o, c, "trap '' TERM HUP;", func(q *api.ExecRequest) { q.Alive = true })
			got, signals := make(chan int, 1), make(chan string, 1)
			x, err := s.Run(t.Context(),
				api.StreamIO{Stdout: &firstLine{got: got}, Stderr: io.Discard, Alive: true, Signals: signals,
					Lingers: func(wire.Lingering) { signals <- sig }})
			require.NoError(t, err)
			number := map[string]int{"INT": 2, "TERM": 15, "HUP": 1, "QUIT": 3}[sig]
			require.Equal(t, wire.ExitStatus{Code: 128 + number, Signal: sig, Reason: "interrupted"}, x)
			require.NoError(t, syscall.Kill(<-got, 0))
		})
	}
}

// TestExecKeepsTheNumberOfWhatItSignals looks at the main process while its stream lingers: it is not reaped, so
// that its number, and its group's, is nobody else's.
func TestExecKeepsTheNumberOfWhatItSignals(t *testing.T) {
	o := agenttest.Options(t)
	a, c := serve(t, o)
	a.patience.name = 10 * time.Millisecond
	s, fifo := left(t, o, c, "", func(q *api.ExecRequest) { q.Alive = true })
	main, state := 0, ""
	_, err := s.Run(t.Context(), api.StreamIO{Stdout: io.Discard, Stderr: io.Discard, Alive: true,
		Started: func(st wire.Start) { main = st.PID },
		Lingers: func(wire.Lingering) {
			b, _ := os.ReadFile("/proc/" + strconv.Itoa(main) + "/stat")
			_, rest, _ := strings.Cut(string(b), ") ")
			state = rest[:min(1, len(rest))]
			release(fifo, time.Minute)
		}})
	require.NoError(t, err)
	require.Equal(t, "Z", state)
	require.ErrorIs(t, syscall.Kill(main, 0), syscall.ESRCH)
}

func TestExecHungUpWhileItLingers(t *testing.T) {
	o := agenttest.Options(t)
	a, c := serve(t, o)
	a.patience.name = 10 * time.Millisecond
	s, _ := left(t, o, c, "", func(q *api.ExecRequest) { q.Alive = true })
	got := make(chan int, 1)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.Run(ctx, api.StreamIO{Stdout: &firstLine{got: got}, Stderr: io.Discard, Alive: true,
		Lingers: func(wire.Lingering) { cancel() }})
	require.ErrorIs(t, err, context.Canceled)
	agenttest.Eventually(t, "the stream to end", func() bool { return a.running.Load() == 0 })
	require.NoError(t, syscall.Kill(<-got, 0), "what was left behind lives on")
}

// TestExecOfASilentClient promises to be heard, and is not: with a writer left the wait ends, and it is no success.
func TestExecOfASilentClient(t *testing.T) {
	o := agenttest.Options(t)
	a, c := serve(t, o)
	a.patience = patience{name: time.Hour, silent: 50 * time.Millisecond}
	s, _ := left(t, o, c, "", func(q *api.ExecRequest) { q.Alive = true })
	_, err := s.Run(t.Context(), api.StreamIO{Stdout: io.Discard, Stderr: io.Discard}) // sends nothing
	require.Equal(t, api.CodeFailed, api.AsError(err).Code, "%v", err)
	require.ErrorContains(t, err, "read x")
	agenttest.Eventually(t, "the stream to end", func() bool { return a.running.Load() == 0 })

	// Without a writer there is nothing to wait for: what was written is delivered.
	s, err = c.OpenExec(t.Context(), api.ExecRequest{Argv: []string{"head", "-c", "900000", "/dev/zero"}, Alive: true})
	require.NoError(t, err)
	time.Sleep(8 * a.patience.silent)
	var n counter
	_, err = s.Run(t.Context(), api.StreamIO{Stdout: &n, Stderr: io.Discard})
	require.NoError(t, err)
	require.EqualValues(t, 900000, n)
}

func TestExecOfAnAgentThatLeaves(t *testing.T) {
	o := agenttest.Options(t)
	var a *service
	agent, c := servertest.Serve(t, server.Config{Options: o, Parts: only(&a)})
	a.patience.name = 10 * time.Millisecond
	s, _ := left(t, o, c, "", func(q *api.ExecRequest) { q.Alive = true })
	_, err := s.Run(t.Context(), api.StreamIO{Stdout: io.Discard, Stderr: io.Discard, Alive: true,
		Lingers: func(wire.Lingering) { agent.Signal(syscall.SIGTERM) }})
	require.Equal(t, api.CodeUnreachable, api.AsError(err).Code, "%v", err)
	require.ErrorContains(t, err, "the agent ends")
}

// TestExecOnATerminalDoesNotLinger: when the leader of its session ends, the terminal is hung up for the others.
func TestExecOnATerminalDoesNotLinger(t *testing.T) {
	o := agenttest.Options(t)
	_, c := serve(t, o)
	s, _ := left(t, o, c, "trap '' HUP; seq 20000;", func(q *api.ExecRequest) { q.TTY = true })
	var out bytes.Buffer
	x, err := s.Run(t.Context(), api.StreamIO{Stdout: &out, Stderr: io.Discard})
	require.NoError(t, err)
	require.Zero(t, x.Code)
	require.Contains(t, out.String(), "\n20000\r\nfirst ")
}

func TestHoldersOfAPipe(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	fi, err := r.Stat()
	require.NoError(t, err)
	require.Empty(t, proc.Holders([]os.FileInfo{fi}), "this process does not count")
}
