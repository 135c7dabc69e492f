package host

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/gpu"
)

// TestMain plays the program in a container.
func TestMain(m *testing.M) {
	if os.Getenv("BERTH_TEST_CONTAINED") != "" {
		r := New(Options{})
		r.Host()
		began, used := time.Now(), cpuTime()
		for time.Since(began) < time.Second { // it works
		}
		h := r.Host()
		share := 100 * float64(cpuTime()-used) / float64(time.Since(began)) / 0.5
		_ = json.NewEncoder(os.Stdout).Encode(contained{h, share})
		os.Exit(0)
	}
	os.Exit(m.Run())
}

type contained struct {
	Host  gpu.Host
	Share float64 // of half a core, as the program itself sees it
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestRealControlGroups runs this program in control groups that are bound to where it looks, as an engine does.
func TestRealControlGroups(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: to make control groups")
	}
	if _, err := exec.LookPath("unshare"); err != nil {
		t.Skip("needs unshare of util-linux")
	}
	name := fmt.Sprintf("berth-test-%d", os.Getpid())
	group := func(controller string, files map[string]string) (dir string) {
		dir = filepath.Join("/sys/fs/cgroup", controller, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Skipf("no control group can be made here: %v", err)
		}
		t.Cleanup(func() {
			require.Eventually(t, func() bool { return os.Remove(dir) == nil }, 2*time.Minute, 10*time.Millisecond)
		})
		for f, v := range files {
			if err := os.WriteFile(filepath.Join(dir, f), []byte(v), 0o600); err != nil {
				t.Skipf("control groups can't limit here: %v", err)
			}
		}
		return dir
	}
	var enter, mount string
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		if b, _ := os.ReadFile("/sys/fs/cgroup/cgroup.subtree_control"); !strings.Contains(string(b), "memory") ||
			!strings.Contains(string(b), "cpu") {
			t.Skip("the control groups of this host don't pass on memory and cpu")
		}
		g := group("", map[string]string{"memory.max": "268435456", "cpu.max": "50000 100000"})
		enter = fmt.Sprintf("echo $$ > %s/cgroup.procs;", g)
		mount = fmt.Sprintf("mount --bind %s /sys/fs/cgroup;", g)
	} else {
		m := group("memory", map[string]string{"memory.limit_in_bytes": "268435456"})
		c := group("cpu", map[string]string{"cpu.cfs_quota_us": "50000"})
		a := group("cpuacct", nil)
		enter = fmt.Sprintf("for d in %s %s %s; do echo $$ > $d/cgroup.procs; done;", m, c, a)
		mount = fmt.Sprintf("mount --bind %s /sys/fs/cgroup/memory; mount --bind %s /sys/fs/cgroup/cpu; mount --bind %s /sys/fs/cgroup/cpuacct;", m, c, a)
	}
	cmd := exec.Command("sh", "-ec", enter+` exec unshare --mount sh -ec '`+mount+` exec "$0"' "$0"`, os.Args[0])
	cmd.Env = append(os.Environ(), "BERTH_TEST_CONTAINED=1")
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil && strings.Contains(errs.String(), "unshare") {
		t.Skipf("no name spaces can be made here: %s", errs.String())
	}
	require.NoError(t, err, errs.String())
	var c contained
	require.NoError(t, json.Unmarshal(out, &c), "%s", out)
	require.True(t, c.Host.Container)
	require.EqualValues(t, 256<<20, *c.Host.MemoryTotal)
	require.Less(t, *c.Host.MemoryUsed, int64(256<<20))
	require.Positive(t, *c.Host.MemoryUsed)
	require.NotNil(t, c.Host.CPU)
	require.InDelta(t, min(c.Share, 100), *c.Host.CPU, 20)
}
