package ranks

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain also plays the main process of a job.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Word {
		os.Exit(Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// of is a job of several processes of a shell's script.
func of(t *testing.T, n int, script string, files ...*os.File) (*exec.Cmd, *bytes.Buffer) {
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe, Args(n, len(files), "/bin/sh", []string{"sh", "-c", script, "name", "a b"})...)
	cmd.ExtraFiles, cmd.Dir = files, t.TempDir()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	return cmd, &out
}

func lines(out *bytes.Buffer) []string {
	l := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	slices.Sort(l)
	return l
}

func TestEachKnowsWhoItIs(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "lease"))
	require.NoError(t, err)
	defer f.Close()
	cmd, out := of(t, 3, `echo $RANK $LOCAL_RANK $WORLD_SIZE $LOCAL_WORLD_SIZE "$1" $OTHER >&2; echo x >&3; read y || printf end`, f)
	cmd.Env = append(os.Environ(), "RANK=7", "WORLD_SIZE=9", "OTHER=o")
	require.NoError(t, cmd.Run(), out.String())
	require.Equal(t, []string{"[0] 0 0 3 3 a b o", "[0] end", "[1] 1 1 3 3 a b o", "[1] end", "[2] 2 2 3 3 a b o", "[2] end"},
		lines(out))
	b, err := os.ReadFile(f.Name())
	require.NoError(t, err)
	require.Equal(t, "x\nx\nx\n", string(b), "they inherit what the job was given")
}

func TestOneThatFailsEndsTheOthers(t *testing.T) {
	cmd, out := of(t, 3, `trap 'echo told; exit 0' TERM; touch $RANK
if [ $RANK = 1 ]; then while ! [ -e 0 -a -e 2 ]; do sleep 0.01; done; exit 3; fi; while :; do sleep 0.01; done`)
	err := cmd.Run()
	require.Error(t, err)
	require.Equal(t, 3, cmd.ProcessState.ExitCode(), out.String())
	require.Subset(t, lines(out),
		[]string{"[0] told", "[2] told", "berth: rank 1 has ended with 3: the others are told to end"})

	cmd, out = of(t, 2, `if [ $RANK = 1 ]; then kill -9 $$; fi; exec sleep 1000`)
	require.Error(t, cmd.Run())
	require.Equal(t, 128+9, cmd.ProcessState.ExitCode())
	require.Contains(t, out.String(), "rank 1 was ended by signal 9")

	exe, err := os.Executable()
	require.NoError(t, err)
	none := exec.Command(exe, Args(2, 0, "/no/such/program", []string{"x"})...)
	require.Error(t, none.Run())
	require.Equal(t, 127, none.ProcessState.ExitCode())
}

func TestEachGetsTheSignals(t *testing.T) {
	cmd, out := of(t, 2, `trap 'echo saved; touch saved$RANK' USR1; trap 'echo told; exit 5' TERM; touch $RANK
while :; do sleep 0.01; done`)
	require.NoError(t, cmd.Start())
	there := func(names ...string) {
		t.Helper()
		require.Eventually(t, func() bool {
			for _, n := range names {
				if _, err := os.Stat(filepath.Join(cmd.Dir, n)); err != nil {
					return false
				}
			}
			return true
		}, time.Minute, time.Millisecond)
	}
	there("0", "1")
	require.NoError(t, cmd.Process.Signal(syscall.SIGUSR1))
	there("saved0", "saved1")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.Error(t, cmd.Wait())
	require.Equal(t, 5, cmd.ProcessState.ExitCode())
	require.Subset(t, lines(out), []string{"[0] saved", "[0] told", "[1] saved", "[1] told"})
	require.NotContains(t, out.String(), "the others are told", "somebody asked for it")
}

// A shell hands no signal on: what it runs gets it, too, as in a job of one process.
func TestAChildOfAShellGetsTheSignal(t *testing.T) {
	cmd, out := of(t, 2, `sh -c 'trap "echo saved; exit 7" TERM; touch $RANK; while :; do sleep 0.01; done'; exit $?`)
	require.NoError(t, cmd.Start())
	for _, n := range []string{"0", "1"} {
		require.Eventually(t, func() bool { _, err := os.Stat(filepath.Join(cmd.Dir, n)); return err == nil }, time.Minute,
			time.Millisecond)
	}
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.Error(t, cmd.Wait())
	require.Contains(t, lines(out), "[0] saved")
	require.Contains(t, lines(out), "[1] saved")
}

// On a full disk what is printed waits for room, and so do those who print it; none is lost.
func TestAFullDisk(t *testing.T) {
	var out bytes.Buffer
	full := &fullDisk{to: &out, refuse: 2}
	o := &output{w: full}
	r, w, err := os.Pipe()
	require.NoError(t, err)
	go func() {
		_, _ = w.WriteString("first line\nsecond line\n")
		_ = w.Close()
	}()
	o.copy("[0] ", r)
	require.Equal(t, "[0] first line\n[0] second line\n", out.String())
	require.Zero(t, full.refuse)
}

// fullDisk takes a part of a write, and then nothing for some times.
type fullDisk struct {
	to     *bytes.Buffer
	refuse int
}

func (f *fullDisk) Write(b []byte) (int, error) {
	if f.refuse > 0 {
		f.refuse--
		n, _ := f.to.Write(b[:min(len(b), 3)])
		return n, syscall.ENOSPC
	}
	return f.to.Write(b)
}

// What a process leaves running, and holds its output open, does not keep the job from ending as the processes did.
func TestWhatIsLeftRunning(t *testing.T) {
	cmd, out := of(t, 2, `(sleep 100 & echo $! >pid$RANK); echo rank $RANK; exit $RANK`)
	f, err := os.Create(filepath.Join(cmd.Dir, "log"))
	require.NoError(t, err)
	cmd.Stdout, cmd.Stderr = f, f // no pipe of this test, which would be held open, too
	require.Error(t, cmd.Run(), out.String())
	require.Equal(t, 1, cmd.ProcessState.ExitCode())
	for _, name := range []string{"pid0", "pid1"} {
		b, err := os.ReadFile(filepath.Join(cmd.Dir, name))
		require.NoError(t, err)
		pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
		require.NoError(t, err)
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL), "it lives")
	}
}

func TestNoByteIsLost(t *testing.T) {
	for in, want := range map[string]string{
		"":                      "",
		"a":                     "> a\n",
		"a\nb\n":                "> a\n> b\n",
		"\n\n":                  "> \n> \n",
		"1%\r2%\rdone\r\nx":     "> 1%\r> 2%\r> done\r\n> x\n",
		strings.Repeat("x", 99): "> " + strings.Repeat("x", 99) + "\n",
	} {
		var whole, bytewise bytes.Buffer
		(&output{w: &whole}).copy("> ", strings.NewReader(in))
		require.Equal(t, want, whole.String(), "%q", in)
		(&output{w: &bytewise}).copy("> ", iotest.OneByteReader(strings.NewReader(in)))
		got := strings.ReplaceAll(bytewise.String(), "> ", "")
		if in != "" && !strings.HasSuffix(in, "\n") {
			got = strings.TrimSuffix(got, "\n")
		}
		require.Equal(t, in, got)
	}
	long := strings.Repeat("y", 3*longest)
	var out bytes.Buffer
	(&output{w: &out}).copy("> ", strings.NewReader(long+"\nz\n"))
	require.Equal(t, "> "+long+"\n> z\n", out.String())
}
