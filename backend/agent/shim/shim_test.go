package shim

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/process"
	"berth/backend/agent/tty"
	"berth/backend/transport/wire"
	"berth/gpu/procs/proc"
)

// The test binary plays the shim, as a development build of berth does.
func TestMain(m *testing.M) {
	if os.Getenv("BERTH_TEST_SHIM") != "" {
		os.Exit(Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		require.True(t, time.Now().Before(deadline), "waited in vain for %s", what)
	}
}

// newSpec is a terminal in which a shell script runs; its folder is in parent.
func newSpec(t testing.TB, parent, id, script string) Spec {
	t.Helper()
	run, err := os.MkdirTemp("/tmp", "bt") // short: sockets lie there
	require.NoError(t, err)
	spec := Spec{Socket: filepath.Join(run, "t.sock"), Rows: 24, Cols: 80}
	spec.ID, spec.Dir, spec.Cwd = id, filepath.Join(parent, id), process.Text(parent)
	spec.Path, spec.Argv0, spec.Args = "/bin/sh", "sh", []string{"-c", script}
	spec.Mark = "BERTH_TERMINAL=" + id + "." + filepath.Base(run)
	spec.Env = []string{"PATH=" + os.Getenv("PATH"), spec.Mark}
	require.NoError(t, os.Mkdir(spec.Dir, 0o700))
	t.Cleanup(func() {
		_, _ = process.Set{Mark: spec.Mark}.End(context.Background(), 0, nil)
		if r, err := ReadRecord(spec.Dir); err == nil {
			eventually(t, "the shim to leave", func() bool { return r.Shim.Look() != proc.Same })
		}
		_ = os.RemoveAll(run)
	})
	return spec
}

func startTerminal(t testing.TB, parent, id, script string) Record {
	t.Helper()
	spec := newSpec(t, parent, id, script)
	exe, err := os.Executable()
	require.NoError(t, err)
	env := append(os.Environ(), "BERTH_TEST_SHIM=1")
	require.NoError(t, Start(t.Context(), []string{exe, id}, env, spec, os.Stderr))
	r, err := ReadRecord(spec.Dir)
	require.NoError(t, err)
	return r
}

// person is an attached client.
type person struct {
	t    testing.TB
	c    *Conn
	out  bytes.Buffer
	exit wire.ExitStatus
}

func attach(t testing.TB, r Record) *person {
	t.Helper()
	c, err := Dial(t.Context(), r, Request{Op: "attach", Rows: 30, Cols: 90})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return &person{t: t, c: c}
}

func (p *person) types(s string) { require.NoError(p.t, p.c.Writer.Write(wire.Stdin, []byte(s))) }

// sees reads until something was printed, or the end.
func (p *person) sees(what string) {
	p.t.Helper()
	_ = p.c.SetReadDeadline(time.Now().Add(time.Minute))
	for !strings.Contains(p.out.String(), what) {
		k, b, err := p.c.Reader.Next()
		require.NoError(p.t, err, "waiting for %q: %s", what, p.out.String())
		switch k {
		case wire.Stdout:
			p.out.Write(b)
		case wire.Exit:
			require.NoError(p.t, json.Unmarshal(b, &p.exit))
			require.Contains(p.t, p.out.String(), what)
		}
	}
}

func TestATerminalUnderItsShim(t *testing.T) {
	parent := t.TempDir()
	r := startTerminal(t, parent, "4", `echo fds $(ls /proc/self/fd); read x; echo "got $x"; exit 3`)
	p := attach(t, r)
	p.sees("fds 0 1 2 3\r\n") // the last is the folder that ls reads
	p.types("it\n")
	p.sees("got it")
	all, err := process.Find(parent, RecordName)
	require.NoError(t, err)
	require.Len(t, all, 1)
	eventually(t, "its end", func() bool { return process.Look(all[0].Dir, RecordName).Fate == process.Ended })
	x, ok, err := ReadResult(all[0].Dir)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, 3, x.Code)
}

// TestPasteToASlowReader types much more than a terminal holds, to a program that begins to read late.
func TestPasteToASlowReader(t *testing.T) {
	r := startTerminal(t, t.TempDir(), "1", `stty raw -echo; echo ready; sleep 0.3; head -c 3000000 | wc -c; exit 0`)
	p := attach(t, r)
	p.sees("ready")
	part := strings.Repeat("x", 10_000)
	window := wire.InitialWindow
	for sent := 0; sent < 3_000_000; sent += len(part) {
		for window < len(part) {
			k, b, err := p.c.Reader.Next()
			require.NoError(t, err)
			switch k {
			case wire.Window:
				n, err := wire.ParseWindow(b)
				require.NoError(t, err)
				window += int(n)
			case wire.Stdout:
				p.out.Write(b)
			}
		}
		p.types(part)
		window -= len(part)
	}
	p.sees("3000000")
}

// A write to a shell that does not read can be given up.
func TestTheMasterTakesADeadline(t *testing.T) {
	master, tty, err := tty.Open(wire.Size{Rows: 5, Cols: 20})
	require.NoError(t, err)
	defer master.Close()
	defer tty.Close()
	require.NoError(t, master.SetWriteDeadline(time.Now().Add(50*time.Millisecond)))
	_, err = master.Write(bytes.Repeat([]byte("x\n"), 1<<20))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, master.SetReadDeadline(time.Now().Add(-time.Second)))
	_, err = master.Read(make([]byte, 10))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

// A terminal whose shim is killed is lost once what ignores the hang-up has ended, too.
func TestAShimThatIsKilledIsLost(t *testing.T) {
	parent := t.TempDir()
	r := startTerminal(t, parent, "1", `trap '' HUP; setsid sleep 1000 & echo up; while :; do sleep 0.1; done`)
	attach(t, r).sees("up")
	require.NoError(t, r.Shim.Signal(syscall.SIGKILL))
	dir := filepath.Join(parent, "1")
	eventually(t, "the orphan", func() bool { return process.Look(dir, RecordName).Fate == process.Orphaned })
	_, err := r.Set().End(t.Context(), 0, nil)
	require.NoError(t, err)
	eventually(t, "the loss", func() bool { return process.Look(dir, RecordName).Fate == process.Lost })
}
