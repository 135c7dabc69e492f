package process

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/process/processtest"
	"berth/gpu/procs/proc"
)

// job is what a starter is told: the arguments of Start.
type job struct {
	Shim string
	Spec Spec
	Log  string // the shim's, and the process's own
}

// TestMain also plays the starter, which is killed.
func TestMain(m *testing.M) {
	if os.Getenv("BERTH_TEST_STARTER") == "" {
		code := m.Run()
		processtest.Remove()
		os.Exit(code)
	}
	var j job
	if err := json.NewDecoder(os.Stdin).Decode(&j); err != nil {
		panic(err)
	}
	if err := j.start(context.Background()); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("started")
	time.Sleep(time.Hour)
}

func (j job) start(ctx context.Context) error {
	log, err := os.OpenFile(j.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	lease, err := os.Open(j.Log)
	if err != nil {
		return err
	}
	defer lease.Close()
	j.Spec.Files = 4
	return Start(ctx, []string{j.Shim, j.Spec.ID}, []string{"ONLY_OF=the shim"}, j.Spec, log, nil, log, log, lease)
}

// newJob is a job of one shell script, with a folder of its own in parent.
func newJob(t *testing.T, parent, id, script string) job {
	t.Helper()
	shim := processtest.Shim(t)
	dir := filepath.Join(parent, id)
	require.NoError(t, os.Mkdir(dir, 0o700))
	mark := "BERTH_TEST_JOB=" + id + strconv.FormatInt(time.Now().UnixNano(), 36)
	j := job{Shim: shim, Log: filepath.Join(parent, id+".log")}
	j.Spec = Spec{ID: id, Dir: dir, Path: "/bin/sh", Argv0: "sh", Args: []string{"-c", script}, Mark: mark, Cwd: Text(parent),
		Env: []string{"PATH=" + os.Getenv("PATH"), "A=b c", mark}}
	t.Cleanup(func() {
		_, _ = Set{Mark: mark}.End(context.Background(), 0, nil)
		if r, err := ReadRecord(dir, RecordName); err == nil {
			_ = r.Shim.Signal(syscall.SIGKILL)
			_ = r.Cgroup.Remove()
		}
	})
	return j
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		require.True(t, time.Now().Before(deadline), "waited in vain for %s", what)
	}
}

func (j job) fate(t *testing.T) Found {
	t.Helper()
	f := Look(j.Spec.Dir, RecordName)
	require.NoError(t, f.Err)
	return f
}

func (j job) becomes(t *testing.T, want Fate) Found {
	t.Helper()
	eventually(t, string(want), func() bool { return j.fate(t).Fate == want })
	return j.fate(t)
}

func (j job) says(t *testing.T, what string) {
	t.Helper()
	var log []byte
	defer func() {
		if t.Failed() {
			t.Logf("the log: %s", log)
		}
	}()
	eventually(t, what, func() bool {
		log, _ = os.ReadFile(j.Log)
		return strings.Contains(string(log), what)
	})
}

// TestAProcessOutlivesItsStarter is a job's life: it runs without a terminal under the real shim, its starter is
// killed, another finds it, and reads how it ended.
func TestAProcessOutlivesItsStarter(t *testing.T) {
	parent := t.TempDir()
	j := newJob(t, parent, "12", `echo "runs in $PWD, A=$A, ONLY_OF=$ONLY_OF"
read x || echo no input
ls /proc/self/fd
echo that is all
while ! [ -e go ]; do sleep 0.01; done; echo done >&2; exit 7`)
	j.Spec.Cgroup = "berth-test-" + strconv.Itoa(os.Getpid())
	require.Equal(t, Unstarted, j.fate(t).Fate)
	exe, err := os.Executable()
	require.NoError(t, err)
	in, err := json.Marshal(j)
	require.NoError(t, err)
	starter := exec.Command(exe)
	starter.Env = append(os.Environ(), "BERTH_TEST_STARTER=1")
	starter.Stdin = bytes.NewReader(in)
	starter.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := starter.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, starter.Start())
	line := make([]byte, 200)
	n, _ := out.Read(line)
	require.Equal(t, "started\n", string(line[:n]))
	require.NoError(t, syscall.Kill(-starter.Process.Pid, syscall.SIGKILL))
	_ = starter.Wait()

	all, err := Find(parent, RecordName)
	require.NoError(t, err)
	require.Len(t, all, 1)
	f := all[0]
	require.Equal(t, Running, f.Fate)
	require.Equal(t, "12", f.Record.ID)
	require.True(t, f.Record.Child.Alive())
	st, err := proc.ReadStat(f.Record.Child.PID)
	require.NoError(t, err)
	require.Equal(t, st.PID, st.Session)
	require.False(t, st.TTY)
	members, err := f.Record.Set().Members()
	require.NoError(t, err)
	require.Contains(t, members, f.Record.Child)
	require.NotContains(t, members, f.Record.Shim)
	// Its own descriptors are 0 to 3; ls has the folder open as 4.
	j.says(t, "runs in "+parent+", A=b c, ONLY_OF=\nno input\n0\n1\n2\n3\n4\nthat is all\n")
	require.NoError(t, os.WriteFile(filepath.Join(parent, "go"), nil, 0o600))
	f = j.becomes(t, Ended)
	require.Equal(t, 7, f.Exit.Code)
	require.WithinDuration(t, time.Now(), f.Exit.EndedAt, time.Minute)
	j.says(t, "done\n")
	eventually(t, "the shim to leave", func() bool { return f.Record.Shim.Look() == proc.Gone })
	if g := f.Record.Cgroup; g != nil {
		require.NoDirExists(t, g.Path)
	}
	require.NoError(t, f.Remove())
	require.NoDirExists(t, j.Spec.Dir)
}

// TestAShimThatIsKilled: a process is lost only once none of its own is left.
func TestAShimThatIsKilled(t *testing.T) {
	parent := t.TempDir()
	j := newJob(t, parent, "1", `setsid sleep 1000 & echo up; wait`)
	require.NoError(t, j.start(t.Context()))
	j.says(t, "up")
	f := j.becomes(t, Running)
	require.NoError(t, f.Record.Shim.Signal(syscall.SIGKILL))
	f = j.becomes(t, Orphaned)
	require.Len(t, f.Left, 2)
	require.ErrorContains(t, f.Remove(), "orphaned")
	require.NoError(t, f.Record.Signal(syscall.SIGKILL)) // the leader
	eventually(t, "the leader's end", func() bool { return f.Record.Child.Look() == proc.Gone })
	f = j.fate(t)
	require.Equal(t, Orphaned, f.Fate, "what left its session is found by its mark")
	require.Len(t, f.Left, 1)
	require.NoError(t, f.Left[0].Signal(syscall.SIGKILL))
	f = j.becomes(t, Lost)
	require.NoError(t, f.Remove())
}

// What leaves the session and drops the mark is found by its control group, where one can be made.
func TestWhatHidesIsFoundByItsControlGroup(t *testing.T) {
	g, err := NewCgroup("berth-test-probe-"+strconv.Itoa(os.Getpid()), KindAuto)
	if err == nil {
		require.NoError(t, g.Remove())
	}
	j := newJob(t, t.TempDir(), "1", `setsid env -i sh -c 'echo $$ >hidden; exec sleep 1000' &
while ! [ -s hidden ]; do sleep 0.01; done`)
	j.Spec.Cgroup = "berth-test-hides-" + strconv.Itoa(os.Getpid())
	require.NoError(t, j.start(t.Context()))
	f := j.becomes(t, Ended)
	require.Equal(t, err == nil, f.Record.Cgroup != nil)
	b, err := os.ReadFile(filepath.Join(filepath.Dir(j.Spec.Dir), "hidden"))
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	require.NoError(t, err)
	hidden, err := proc.Identify(pid)
	require.NoError(t, err)
	defer func() { _ = hidden.Signal(syscall.SIGKILL) }()
	left, err := f.Record.Set().Members()
	require.NoError(t, err)
	require.Equal(t, []proc.Identity{hidden}, left, "without a control group it is the shim's child by then")
	left, err = f.Record.Set().End(t.Context(), 0, nil)
	require.NoError(t, err)
	require.Empty(t, left)
	require.NoError(t, f.Remove())
	if f.Record.Cgroup != nil {
		require.NoDirExists(t, f.Record.Cgroup.Path)
	}
}

func TestSignalsAndEnd(t *testing.T) {
	parent := t.TempDir()
	j := newJob(t, parent, "1", `trap 'echo leader' USR1
sh -c 'trap "echo child" USR1; echo ready; while :; do sleep 0.01; done' &
while :; do wait; done`)
	require.NoError(t, j.start(t.Context()))
	j.says(t, "ready")
	f := j.becomes(t, Running)
	require.NoError(t, f.Record.Signal(syscall.SIGUSR1))
	j.says(t, "leader")
	b, err := os.ReadFile(j.Log)
	require.NoError(t, err)
	require.NotContains(t, string(b), "child")
	require.NoError(t, f.Record.SignalGroup(syscall.SIGUSR1))
	j.says(t, "child")
	require.NoError(t, f.Record.Shim.Signal(syscall.SIGHUP), "what would end another program does not end a shim")
	require.NoError(t, f.Record.Shim.Signal(syscall.SIGTERM))
	f = j.becomes(t, Ended)
	require.Equal(t, "TERM", f.Exit.Signal)
	empty, err := Set{Mark: j.Spec.Mark}.Empty()
	require.NoError(t, err)
	require.True(t, empty)
	require.ErrorIs(t, f.Record.Signal(syscall.SIGUSR1), proc.ErrGone)
}

func TestWhatCannotStart(t *testing.T) {
	parent := t.TempDir()
	j := newJob(t, parent, "1", "")
	j.Spec.Path = Text(filepath.Join(parent, "nothing"))
	require.ErrorContains(t, j.start(t.Context()), "starting "+string(j.Spec.Path))
	f := j.becomes(t, Ended)
	require.Zero(t, f.Record.Child)
	require.EqualValues(t, syscall.ENOENT, f.Exit.Errno, "nothing was lost")
	require.NoError(t, f.Remove())
	require.ErrorContains(t, j.start(t.Context()), "no such file", "there is no folder")
	done, cancel := context.WithCancel(t.Context())
	cancel()
	j = newJob(t, parent, "2", "sleep 1000")
	if err := j.start(done); err != nil { // it may have been faster
		require.ErrorIs(t, err, context.Canceled)
		eventually(t, "the process to be ended", func() bool {
			fate := Look(j.Spec.Dir, RecordName).Fate
			return fate == Ended || fate == Unstarted || fate == Lost
		})
	}
}

// Nobody waits for the status of a process whose folder is gone, and a shim that is told to end ends.
func TestInsistEnds(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, exitName)
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	file, err := os.Open(path) // not for writing
	require.NoError(t, err)
	k := &Kept{exit: exitFile{File: file}}
	sigs := make(chan os.Signal, 2)
	sigs <- syscall.SIGHUP
	sigs <- syscall.SIGTERM
	require.Error(t, k.Insist(ended, sigs))
	require.NoError(t, os.Remove(path))
	require.Error(t, k.Insist(ended, nil))
}

// oldRecord is a terminal.json of the build that protocol 1 is of.
const oldRecord = `{
  "protocol": 1,
  "id": "3",
  "shim": {
    "pid": 4242,
    "start": 987654,
    "boot_id": "5f0e9a52-6f0b-4a86-9e0a-2b3d4c5e6f70"
  },
  "child": {
    "pid": 4247,
    "start": 987655,
    "boot_id": "5f0e9a52-6f0b-4a86-9e0a-2b3d4c5e6f70"
  },
  "command": "/bin/bash",
  "mark": "BERTH_TERMINAL=3.0011223344556677",
  "socket": "/run/user/1000/berth/t3.sock",
  "tty": "/dev/pts/5",
  "started_at": "2026-11-28T20:14:01.5Z"
}`

func TestRecordsOfTheReleaseBefore(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "terminal.json"), []byte(oldRecord), 0o600))
	f := Look(dir, "terminal.json")
	require.NoError(t, f.Err)
	require.Equal(t, Lost, f.Fate, "no process outlives its boot")
	require.Equal(t, 4247, f.Record.Child.PID)
	require.Equal(t, "BERTH_TERMINAL=3.0011223344556677", f.Record.Mark)
	members, err := f.Record.Set().Members()
	require.NoError(t, err)
	require.Empty(t, members, "its numbers are others' now")

	for _, bad := range []string{"", "{", `{"id":""}`, `{"id":"1","shim":{"pid":0}}`} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "terminal.json"), []byte(bad), 0o600))
		f := Look(dir, "terminal.json")
		require.Equal(t, Unclear, f.Fate, bad)
		require.Error(t, f.Err)
		require.Error(t, f.Remove())
	}
	// Of another name space: nothing is said, and nothing may be removed.
	self, err := proc.Self()
	require.NoError(t, err)
	self.Space = "pid:[1]"
	b, err := json.Marshal(Record{ID: "1", Shim: self})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "terminal.json"), b, 0o600))
	f = Look(dir, "terminal.json")
	require.Equal(t, Unclear, f.Fate)
	require.ErrorIs(t, f.Err, proc.ErrUnknown)
}

// The number of a session is given away again, once nobody has it.
func TestAnotherSessionWithTheSameNumber(t *testing.T) {
	cmd := start(t, "sleep", "1000")
	id, err := proc.Identify(cmd.Process.Pid)
	require.NoError(t, err)
	set := Set{Session: id.PID, SessionStart: id.Start}
	m, err := set.Members()
	require.NoError(t, err)
	require.Equal(t, []proc.Identity{id}, m)
	set.SessionStart--
	m, err = set.Members()
	require.NoError(t, err)
	require.Empty(t, m)
}
