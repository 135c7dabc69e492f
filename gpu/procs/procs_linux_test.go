package procs

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/gpu"
	"berth/gpu/procs/proc"
)

func start(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

func on(pid, index int, memory int64) gpu.GPUProcess {
	return gpu.GPUProcess{PID: pid, GPU: index, Kind: "compute", Memory: &memory}
}

// settled scans until everything that can be read has been: on a busy machine one scan does not wait for all.
func settled(t *testing.T, tb *Table, onGPU ...gpu.GPUProcess) []gpu.Process {
	t.Helper()
	var list []gpu.Process
	require.Eventually(t, func() bool {
		var err error
		list, _, err = tb.Scan(t.Context(), onGPU, true)
		require.NoError(t, err)
		for _, e := range tb.byPID {
			if e.loading != nil {
				return false
			}
		}
		return true
	}, 2*time.Minute, time.Millisecond)
	return list
}

func find(list []gpu.Process, pid int) *gpu.Process {
	for i := range list {
		if list[i].PID == pid {
			return &list[i]
		}
	}
	return nil
}

func TestRealProcesses(t *testing.T) {
	no := false
	tb := New(Options{Foreign: &no})
	pid := start(t, exec.Command("sh", "-c", "while :; do :; done # \x01\tan argument"))
	began := time.Now()
	list, count, err := tb.Scan(t.Context(), []gpu.GPUProcess{on(pid, 1, 5), on(pid, 0, 7)}, true)
	require.NoError(t, err)
	require.Greater(t, count, 1)
	indices := []int{*list[0].GPUIndex, *list[1].GPUIndex}
	require.Equal(t, []int{0, 1}, indices, "those on GPUs come first, once for each GPU")
	require.Equal(t, pid, list[0].PID)
	var p gpu.Process
	require.Eventually(t, func() bool {
		time.Sleep(shortestShare + 50*time.Millisecond)
		list, _, err = tb.Scan(t.Context(), []gpu.GPUProcess{on(pid, 1, 5), on(pid, 0, 7)}, true)
		require.NoError(t, err)
		p = list[0]
		return p.CPU != nil && *p.CPU > 20
	}, 2*time.Minute, time.Millisecond)
	require.LessOrEqual(t, *p.CPU, 110.0)
	require.Equal(t, "sh -c while :; do :; done # ? an argument", p.Command)
	require.Equal(t, os.Getpid(), p.PPID)
	require.WithinDuration(t, began, p.StartedAt, 5*time.Second)
	require.Equal(t, 1, p.Threads)
	require.EqualValues(t, 7, *p.GPUMemory)
	for _, l := range list {
		require.False(t, l.GPUIndex == nil && l.PID == pid, "not once more among the rest")
	}
	require.Equal(t, Totals{Processes: 1, CPU: *p.CPU, Memory: *p.Memory, GPUMemory: 12},
		Sum(list, func(q gpu.Process) bool { return q.PID == pid }))

	if ps, err := exec.LookPath("ps"); err == nil {
		args := []string{"LC_ALL=C", ps, "-o", "user:64=,rss=,nlwp=,ppid=", "-p", strconv.Itoa(pid)}
		out, err := exec.Command("env", args...).Output()
		require.NoError(t, err)
		f := strings.Fields(string(out))
		require.Equal(t, f[0], p.User)
		rss, _ := strconv.ParseInt(f[1], 10, 64)
		require.InDelta(t, rss<<10, *p.Memory, 2<<20)
		require.Equal(t, f[2], fmt.Sprint(p.Threads))
	}
	require.NoError(t, Signal(pid, p.StartedAt, syscall.SIGSTOP, false))
	require.Eventually(t, func() bool {
		list, _, _ = tb.Scan(t.Context(), []gpu.GPUProcess{on(pid, 0, 7)}, true)
		return list[0].State == "stopped"
	}, 2*time.Minute, 10*time.Millisecond)
}

func TestZombieHoldsGPUMemory(t *testing.T) {
	no := false
	tb := New(Options{Foreign: &no})
	cmd := exec.Command("true")
	pid := start(t, cmd)
	require.Eventually(t, func() bool {
		list, _, err := tb.Scan(t.Context(), []gpu.GPUProcess{on(pid, 0, 1<<30)}, true)
		require.NoError(t, err)
		return list[0].State == "zombie" && strings.Contains(list[0].Note, fmt.Sprintf("(PID %d) waits", os.Getpid()))
	}, 2*time.Minute, 10*time.Millisecond)
	require.ErrorIs(t, Signal(pid, time.Time{}, syscall.SIGTERM, false), ErrGone)
	_ = cmd.Wait()
	list, _, err := tb.Scan(t.Context(), []gpu.GPUProcess{on(pid, 0, 1<<30)}, true)
	require.NoError(t, err)
	require.Contains(t, list[0].Note, "it has ended")
	require.Empty(t, list[0].Command)
	require.EqualValues(t, 1<<30, *list[0].GPUMemory)
}

func TestPIDsOfAnotherNamespace(t *testing.T) {
	yes := true
	tb := New(Options{Foreign: &yes})
	list, _, err := tb.Scan(t.Context(), []gpu.GPUProcess{on(os.Getpid(), 0, 1), on(1<<22-1, 1, 1)}, true)
	require.NoError(t, err)
	for _, p := range list[:2] { // ours has the number, but no GPU open: it is not the one that the driver means
		require.Contains(t, p.Note, "another PID namespace")
		require.Empty(t, p.User)
		require.Nil(t, p.Memory)
	}
	require.Equal(t, readlink(t, "/proc/self/ns/pid") != "pid:[4026531836]", proc.Foreign(""))
}

func readlink(t *testing.T, p string) string {
	t.Helper()
	s, err := os.Readlink(p)
	require.NoError(t, err)
	return s
}

func TestOtherUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: to start a process of another user")
	}
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	pid := start(t, cmd)
	tb := New(Options{})
	no := false
	tb.o.Foreign = &no
	nobodys := func() bool { return settled(t, tb, on(pid, 0, 1))[0].User == "nobody" }
	require.Eventually(t, nobodys, 2*time.Minute, time.Millisecond)
	list := settled(t, tb, on(pid, 0, 1))
	err := Signal(pid, list[0].StartedAt, syscall.SIGTERM, false)
	require.ErrorIs(t, err, ErrOtherUser)
	require.ErrorContains(t, err, strconv.Itoa(pid))
	require.NoError(t, Signal(pid, list[0].StartedAt, syscall.SIGTERM, true))
	state, err := cmd.Process.Wait()
	require.NoError(t, err)
	require.Equal(t, syscall.SIGTERM, state.Sys().(syscall.WaitStatus).Signal())
}

func TestSignalsThatAreRefused(t *testing.T) {
	require.ErrorIs(t, Signal(1, time.Time{}, 0, true), ErrInit)
	require.ErrorIs(t, Signal(0, time.Time{}, 0, true), ErrGone)
	require.ErrorIs(t, Signal(-1, time.Time{}, 0, true), ErrGone)
	require.ErrorIs(t, Signal(1<<22-1, time.Time{}, 0, true), ErrGone)
	require.ErrorIs(t, Signal(os.Getpid(), time.Time{}, 0, true), ErrOwn)
	require.ErrorIs(t, Signal(os.Getppid(), time.Time{}, 0, true), ErrOwn)
	if b, err := os.ReadFile("/proc/2/comm"); err == nil && string(b) == "kthreadd\n" {
		require.ErrorIs(t, Signal(2, time.Time{}, 0, true), ErrKernel)
	}
	pid := start(t, exec.Command("sleep", "1000"))
	require.ErrorIs(t, Signal(pid, time.Now().Add(-time.Hour), syscall.SIGKILL, true), ErrGone, "the PID was another's")
	require.NoError(t, Signal(pid, time.Now(), 0, false))

	// A thread has a number too.
	tid := make(chan int)
	stop := make(chan struct{})
	defer close(stop)
	go func() { runtime.LockOSThread(); tid <- syscall.Gettid(); <-stop }()
	if id := <-tid; id != os.Getpid() {
		require.ErrorIs(t, Signal(id, time.Time{}, 0, true), ErrGone)
	}
	for _, s := range []string{"TERM", "sigkill", " USR1 "} {
		_, err := ParseSignal(s)
		require.NoError(t, err)
	}
	for _, s := range []string{"", "9", "SEGV", "SIG"} {
		_, err := ParseSignal(s)
		require.ErrorIs(t, err, ErrSignal)
	}
}

// host makes a /proc of n processes.
func fakeProc(t testing.TB, n int) string {
	t.Helper()
	dir := t.TempDir()
	for pid := 1; pid <= n; pid++ {
		writeProc(t, dir, pid, pid/2, 0, 100+pid)
	}
	return dir
}

func writeProc(t testing.TB, dir string, pid, ppid, ticks, pages int) {
	t.Helper()
	d := filepath.Join(dir, strconv.Itoa(pid))
	require.NoError(t, os.MkdirAll(d, 0o755))
	const line = "%d (a (b) c) S %d 1 1 0 -1 4194560 1 0 0 0 %d 0 0 0 20 0 3 0 %d 1000000 %d 18446744073709551615 1 1 0\n"
	s := fmt.Sprintf(line, pid, ppid, ticks, pid, pages)
	require.NoError(t, os.WriteFile(filepath.Join(d, "stat"), []byte(s), 0o600))
	status := fmt.Appendf(nil, "Name:\tx\nTgid:\t%d\nUid:\t4000000\t4000000\t0\t0\n", pid)
	require.NoError(t, os.WriteFile(filepath.Join(d, "status"), status, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(d, "cmdline"), []byte("python\x00train.py\x00"), 0o600))
}

func TestTopAndShares(t *testing.T) {
	dir := fakeProc(t, 200)
	var mono time.Duration
	no := false
	tb := New(Options{Proc: dir, Foreign: &no, Top: 10, Elapsed: func() time.Duration { return mono },
		User: func(int) string { return "ann" }})
	list, count, err := tb.Scan(t.Context(), nil, true)
	require.NoError(t, err)
	require.Equal(t, 200, count)
	require.Len(t, list, 10)
	list = settled(t, tb)
	require.Nil(t, list[0].CPU)
	require.Equal(t, 200, list[0].PID, "the largest first while there are no shares")
	require.Eventually(t, func() bool { return settled(t, tb)[0].User == "ann" }, 2*time.Minute, time.Millisecond)
	require.Equal(t, "python train.py", list[0].Command)

	mono += 10 * time.Second
	for pid := 1; pid <= 3; pid++ {
		writeProc(t, dir, pid, 1, pid*100, 1)
	}
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "200")))
	tb.cost = 0
	list, count, err = tb.Scan(t.Context(), nil, true)
	require.NoError(t, err)
	require.Equal(t, 199, count)
	require.Equal(t, []int{3, 2, 1}, []int{list[0].PID, list[1].PID, list[2].PID})
	require.InDelta(t, 30, *list[0].CPU, 0.01)
	require.Len(t, list, 10)
	require.Nil(t, find(list, 200))

	// A PID that is given to another process has none of the former's time.
	mono += 10 * time.Second
	s, err := os.ReadFile(filepath.Join(dir, "3", "stat"))
	require.NoError(t, err)
	s = bytes.Replace(s, []byte(" 20 0 3 0 3 "), []byte(" 20 0 3 0 99999 "), 1)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "3", "stat"), s, 0o600))
	tb.cost = 0
	list, _, err = tb.Scan(t.Context(), []gpu.GPUProcess{on(3, 0, 1)}, true)
	require.NoError(t, err)
	require.Nil(t, list[0].CPU)
	_, _, err = New(Options{Proc: dir + "-not", Foreign: &no}).Scan(t.Context(), nil, true)
	require.ErrorContains(t, err, dir+"-not")
}

// What is kept is in the list however many others use more, also after it left its parent.
func TestWhatIsKeptIsAlwaysShown(t *testing.T) {
	dir := fakeProc(t, 400)
	for pid := 1; pid <= 50; pid++ {
		writeProc(t, dir, pid, pid/2, 0, 10000)
	}
	no := false
	var mono time.Duration
	tb := New(Options{Proc: dir, Foreign: &no, Top: 10, Elapsed: func() time.Duration { return mono },
		Keep: func() []int { return []int{100, 4242} }})
	pids := func() (out []int) {
		mono += time.Minute
		for _, p := range settled(t, tb) {
			if p.PID >= 100 {
				out = append(out, p.PID)
			}
		}
		slices.Sort(out)
		return out
	}
	require.Equal(t, []int{100, 200, 201, 400}, pids())
	writeProc(t, dir, 201, 1, 0, 1)
	writeProc(t, dir, 500, 201, 0, 1)
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "400")))
	require.Equal(t, []int{100, 200, 201, 500}, pids())
}

// A search looks at all processes, and finds one that has begun since the last look.
func TestFind(t *testing.T) {
	dir := fakeProc(t, 400)
	no := false
	tb := New(Options{Proc: dir, Foreign: &no, Top: 10, Elapsed: func() time.Duration { return time.Second }})
	list := settled(t, tb)
	require.Len(t, list, 10)
	require.Nil(t, find(list, 7))
	writeProc(t, dir, 500, 1, 0, 1)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "500", "cmdline"), []byte("new\x00"), 0o600))
	found, err := tb.Find(t.Context(), Search{PIDs: []int{500, 7, 4242, 7}})
	require.NoError(t, err)
	require.Len(t, found, 2)
	require.Equal(t, "python train.py", found[0].Command)
	require.Equal(t, "new", found[1].Command)
	writeProc(t, dir, 501, 1, 0, 1)
	tb.at++ // the next look
	found, err = tb.Find(t.Context(), Search{PIDs: []int{500}, Match: gpu.ProcessFilter("train")})
	require.NoError(t, err)
	require.Len(t, found, 402)
	require.NotNil(t, find(found, 501))
}

// TestManyProcessesAreScannedLessOften: what looking at all costs decides how often it is done.
func TestManyProcessesAreScannedLessOften(t *testing.T) {
	dir := fakeProc(t, 50)
	var mono time.Duration
	no := false
	tb := New(Options{Proc: dir, Foreign: &no, Elapsed: func() time.Duration { return mono }})
	scan := func(watched bool) bool {
		mono += time.Second
		before := tb.lastAll
		_, _, err := tb.Scan(t.Context(), []gpu.GPUProcess{on(7, 0, 1)}, watched)
		require.NoError(t, err)
		looked := tb.lastAll != before
		tb.cost = 20 * time.Millisecond // as with thousands
		return looked
	}
	scan(true)
	n := 0
	for range 60 {
		if scan(true) {
			n++
		}
	}
	require.InDelta(t, 12, n, 2, "20 ms each 5 s")
	n = 0
	for range 600 {
		if scan(false) {
			n++
		}
	}
	require.InDelta(t, 12, n, 2)
	// Meanwhile those shown are looked at each time.
	scan(false)
	writeProc(t, dir, 7, 1, 50, 1)
	mono += time.Second
	list, _, err := tb.Scan(t.Context(), []gpu.GPUProcess{on(7, 0, 1)}, false)
	require.NoError(t, err)
	require.InDelta(t, 50, *list[0].CPU, 0.01)
}

func TestOwners(t *testing.T) {
	dir := fakeProc(t, 40)
	id := strings.Repeat("0f", 32)
	group := []byte("0::/system.slice/docker-" + id + ".scope\n")
	environ := []byte("HOME=/x\x00SECRET=1\x00BERTH_TERMINAL=t2\x00")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "9", "cgroup"), group, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "11", "environ"), environ, 0o600))
	no := false
	roots := map[int]gpu.Owner{5: {Kind: "job", ID: "j1", Name: "train"}, 10: {Kind: "terminal", ID: "t1"}}
	var seen []string
	tb := New(Options{Proc: dir, Foreign: &no, Attributor: First{
		Trees(func() map[int]gpu.Owner { return roots }),
		Marks(func(name, value string) (gpu.Owner, bool) {
			seen = append(seen, name)
			return gpu.Owner{Kind: "terminal", ID: value}, name == "BERTH_TERMINAL"
		}),
	}})
	list := settled(t, tb, on(20, 0, 1), on(22, 0, 1), on(9, 0, 1), on(11, 0, 1), on(12, 0, 1))
	require.Equal(t, gpu.Owner{Kind: "terminal", ID: "t1"}, find(list, 20).Owner,
		"20 is below 10, which is below 5: the nearest counts")
	require.Equal(t, gpu.Owner{Kind: "job", ID: "j1", Name: "train"}, find(list, 22).Owner)
	require.Equal(t, "j1", find(list, 22).JobID)
	require.Equal(t, gpu.Owner{Kind: "container", ID: id, Name: "docker"}, find(list, 9).Owner)
	require.Zero(t, find(list, 12).Owner)
	require.Equal(t, "job", find(list, 11).Owner.Kind)
	require.NotContains(t, seen, "SECRET")

	// One that left its tree is still known; and a mark is enough.
	delete(roots, 5)
	writeProc(t, dir, 22, 1, 0, 1)
	list = settled(t, tb, on(22, 0, 1))
	require.Equal(t, "j1", list[0].JobID)
	list = settled(t, New(tb.o), on(11, 0, 1))
	require.Equal(t, gpu.Owner{Kind: "terminal", ID: "t2"}, list[0].Owner)
}

// TestArgumentsThatHang: a process that hangs in a driver can't tell its arguments, and stops nobody.
func TestArgumentsThatHang(t *testing.T) {
	dir := fakeProc(t, 3)
	fifo := filepath.Join(dir, "2", "cmdline")
	require.NoError(t, os.Remove(fifo))
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	no := false
	tb := New(Options{Proc: dir, Foreign: &no})
	for range 5 {
		list, count, err := tb.Scan(t.Context(), nil, true)
		require.NoError(t, err)
		require.Equal(t, 3, count)
		p := find(list, 2)
		require.Equal(t, "[a (b) c]", p.Command)
		require.Contains(t, p.Note, "can't be read")
	}
	require.Eventually(t, func() bool {
		list, _, _ := tb.Scan(t.Context(), nil, true)
		return find(list, 3).Command == "python train.py" && len(tb.loading) == 1 // it is asked once
	}, 2*time.Minute, time.Millisecond)
	w, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = w.WriteString("at\x00last")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, os.Remove(fifo))
	require.Eventually(t, func() bool {
		list, _, _ := tb.Scan(t.Context(), nil, true)
		return find(list, 2).Command == "at last"
	}, 2*time.Minute, 10*time.Millisecond)
}

func TestClockThatIsSet(t *testing.T) {
	wall, mono := time.Now(), time.Duration(0)
	no := false
	pid := start(t, exec.Command("sleep", "1000"))
	tb := New(Options{Foreign: &no, Now: func() time.Time { return wall }, Elapsed: func() time.Duration { return mono }})
	list, _, err := tb.Scan(t.Context(), []gpu.GPUProcess{on(pid, 0, 1)}, true)
	require.NoError(t, err)
	first := list[0].StartedAt
	mono += time.Second
	wall = wall.Add(time.Second)
	list, _, err = tb.Scan(t.Context(), []gpu.GPUProcess{on(pid, 0, 1)}, true)
	require.NoError(t, err)
	require.Equal(t, first, list[0].StartedAt, "it does not wander")
	mono += time.Second
	wall = wall.Add(time.Second - time.Hour)
	list, _, err = tb.Scan(t.Context(), []gpu.GPUProcess{on(pid, 0, 1)}, true)
	require.NoError(t, err)
	require.WithinDuration(t, first.Add(-time.Hour), list[0].StartedAt, 10*time.Second)
}

func TestSlowDirectoryOfUsers(t *testing.T) {
	dir := fakeProc(t, 2)
	hold := make(chan struct{})
	no := false
	tb := New(Options{Proc: dir, Foreign: &no, User: func(int) string { <-hold; return "bob\x1b[31m" }})
	list := settled(t, tb)
	require.Equal(t, "4000000", list[0].User)
	close(hold)
	require.Eventually(t, func() bool {
		list, _, _ = tb.Scan(t.Context(), nil, true)
		return list[0].User == "bob?[31m"
	}, 2*time.Minute, time.Millisecond)
}

func FuzzCommandLine(f *testing.F) {
	f.Add([]byte("7 (a (b) c)\x00\x1b]0;x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := commandLine(b)
		require.LessOrEqual(t, len(c), commandLimit)
		require.NotContains(t, c, "\x1b")
	})
}

func BenchmarkScan(b *testing.B) {
	no := false
	for _, n := range []int{100, 1000, 4000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			tb := New(Options{Proc: fakeProc(b, n), Foreign: &no})
			b.ReportAllocs()
			for b.Loop() {
				tb.cost = 0
				_, _, _ = tb.Scan(b.Context(), nil, true)
			}
		})
	}
	b.Run("this-host", func(b *testing.B) {
		tb := New(Options{Foreign: &no})
		n := 0
		for b.Loop() {
			tb.cost = 0
			_, n, _ = tb.Scan(b.Context(), nil, true)
		}
		b.ReportMetric(float64(n), "processes")
	})
}
