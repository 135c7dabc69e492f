package proc

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The test binary plays processes that no shell can be.
func TestMain(m *testing.M) {
	switch os.Getenv("BERTH_TEST_PROC") {
	case "first thread ends":
		runtime.LockOSThread() // main runs on the first thread until something else is done
		go func() {
			fmt.Println("ready")
			time.Sleep(time.Hour)
		}()
		time.Sleep(10 * time.Millisecond)
		_, _, _ = syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0)
	case "again": // in a PID name space of its own
		first := exec.Command("sleep", "1000")
		must(first.Start())
		id, err := Identify(first.Process.Pid)
		must(err)
		must(first.Process.Kill())
		_ = first.Wait()
		time.Sleep(2 * tick) // a start time counts these
		for pid := 0; pid != id.PID; {
			must(os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(id.PID-1)), 0))
			next := exec.Command("sleep", "1000")
			must(next.Start())
			pid = next.Process.Pid
		}
		fmt.Println(id.Look(), id.Signal(syscall.SIGKILL))
		other, err := Identify(id.PID)
		must(err)
		fmt.Println(other.Look())
		os.Exit(0) // and the rest with it
	case "look":
		var id Identity
		if err := json.NewDecoder(os.Stdin).Decode(&id); err != nil {
			panic(err)
		}
		self, err := Self()
		fmt.Printf("%s; self %d %v\n", id.Look(), self.PID, err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// inside gives a part name spaces of its own for PIDs and mounts, with a /proc that shows it, as a container has them.
func inside(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: for a PID name space")
	}
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `mount -t proc proc /proc && exec "$0"`, cmd.Path}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS,
		Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil && strings.Contains(err.Error(), "operation not permitted") || strings.Contains(string(out), "mount") {
		t.Skipf("no name spaces here: %v %s", err, out)
	}
	require.NoError(t, err, "%s", out)
	return string(out)
}

func play(t *testing.T, part string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "BERTH_TEST_PROC="+part)
	return cmd
}

// A process whose first thread has ended looks like a zombie, and runs.
func TestTheFirstThreadEnds(t *testing.T) {
	cmd := play(t, "first thread ends")
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	var st Stat
	eventually(t, "its first thread to end", func() bool {
		var err error
		st, err = ReadStat(cmd.Process.Pid)
		return err == nil && st.State == 'Z'
	})
	require.Greater(t, st.Threads, 1)
	require.Equal(t, Same, st.Identity().Look())
	_, err := Identify(cmd.Process.Pid)
	require.NoError(t, err)
}

// A record that was written in one PID name space and is read in another means nothing there, even where a process
// has its number.
func TestAnotherNameSpace(t *testing.T) {
	self, err := Self()
	require.NoError(t, err)
	first := self
	first.PID = 1 // which the process itself will be there
	for want, id := range map[string]Identity{
		"can't be told": self, "can't be told; self 1 <nil>": first, "has ended": {PID: 1, Start: 1, Boot: "earlier"},
	} {
		b, err := json.Marshal(id)
		require.NoError(t, err)
		cmd := play(t, "look")
		cmd.Stdin = strings.NewReader(string(b))
		require.Contains(t, inside(t, cmd), want)
	}
}

// A number that is really given away again, to a process that runs.
func TestANumberGivenAgain(t *testing.T) {
	require.Equal(t, "has ended the process has ended\nruns\n", inside(t, play(t, "again")))
}

// What /proc hides (hidepid, or the mount of another name space) is not gone.
func TestHiddenIsNotGone(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: to hide processes")
	}
	id, err := Identify(start(t, "sleep", "1000").Process.Pid)
	require.NoError(t, err)
	b, err := json.Marshal(id)
	require.NoError(t, err)
	cmd := play(t, "look")
	hide := fmt.Sprintf(`mount --bind /proc/self/ns /proc/%d && exec "$0"`, id.PID)
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", hide, cmd.Path}
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	cmd.Stdin = strings.NewReader(string(b))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Skipf("can't hide a process here: %v %s", err, out)
	}
	require.Contains(t, string(out), "can't be told")
}
