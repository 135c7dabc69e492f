package process

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhereControllersAre(t *testing.T) {
	const hybrid = "30 29 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n" +
		"31 29 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
		"32 29 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
	const v2 = "30 29 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"
	all := func(string) bool { return true }
	for _, c := range []struct {
		mounts, own string
		isDir       func(string) bool
		want        map[string]hierarchy
	}{
		{hybrid, "4:memory:/user.slice\n3:cpu,cpuacct:/\n0::/user.slice/s.scope\n", all, map[string]hierarchy{
			"":       {"/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified/user.slice/s.scope"},
			"memory": {"/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/user.slice"},
			"cpu":    {"/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct"}}},
		{hybrid, "4:memory:/docker/abc\n0::/\n", func(dir string) bool { return filepath.Base(dir) != "abc" }, map[string]hierarchy{
			"":       {"/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified"},
			"memory": {"/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory"},
			"cpu":    {"/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct"}}},
		{v2, "0::/user.slice/user-1.slice\n", all, map[string]hierarchy{
			"": {"/sys/fs/cgroup", "/sys/fs/cgroup/user.slice/user-1.slice"}}},
		{"", "", all, map[string]hierarchy{}},
	} {
		require.Equal(t, c.want, parseHierarchies([]byte(c.mounts), []byte(c.own), c.isDir))
	}
}

// A folder stands for control groups of version 2, which are not to be had on every machine.
func TestALimitOfVersion2(t *testing.T) {
	top := t.TempDir()
	own := filepath.Join(top, "app.slice", "agent")
	require.NoError(t, os.MkdirAll(own, 0o700))
	parent := filepath.Dir(own)
	write := func(path, text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
	read := func(path string) string {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		return string(b)
	}
	write(filepath.Join(parent, "cgroup.subtree_control"), "memory pids\n")
	group := filepath.Join(parent, "job")
	require.NoError(t, os.Mkdir(group, 0o700))
	for _, f := range []string{"cgroup.procs", "memory.max", "memory.swap.max", "cpu.max"} {
		write(filepath.Join(group, f), "")
	}
	l := &Limited{Limit: Limit{Memory: 64 << 20, CPUs: 2}}
	require.NoError(t, l.makeV2(hierarchy{top, own}, "job"))
	require.Equal(t, []string{group}, l.folders())
	require.True(t, l.V2)
	require.Equal(t, "67108864", read(filepath.Join(group, "memory.max")))
	require.Equal(t, "0", read(filepath.Join(group, "memory.swap.max")))
	require.Equal(t, "200000 100000", read(filepath.Join(group, "cpu.max")))
	require.Contains(t, read(filepath.Join(parent, "cgroup.subtree_control")), "+cpu")
	write(filepath.Join(group, "memory.events"), "low 0\nhigh 0\nmax 31\noom 1\noom_kill 3\noom_group_kill 0\n")
	write(filepath.Join(group, "memory.peak"), "67100000\n")
	require.Equal(t, 3, l.Killed())
	require.Equal(t, int64(67100000), l.peak())

	l = &Limited{Limit: Limit{Memory: 64 << 20}}
	require.ErrorContains(t, l.makeV2(hierarchy{top, filepath.Join(top, "none", "agent")}, "job"), "cgroup.subtree_control")
	require.Empty(t, l.folders())
}

// Only what is a service of that name steps aside.
func TestStepAside(t *testing.T) {
	top := t.TempDir()
	for name, steps := range map[string]bool{"berth-agent-1.service": true, "session-2.scope": false, "sshd.service": false} {
		group := filepath.Join(top, name, "agent")
		require.NoError(t, os.MkdirAll(group, 0o700))
		procs := filepath.Join(group, "cgroup.procs")
		require.NoError(t, os.WriteFile(procs, nil, 0o600))
		require.NoError(t, stepAside(hierarchy{top, filepath.Join(top, name)}, "berth-agent-"))
		b, err := os.ReadFile(procs)
		require.NoError(t, err)
		require.Equal(t, steps, len(b) > 0, name)
	}
	require.NoError(t, stepAside(hierarchy{}, "berth-agent-"))
	if all, err := hierarchies(); err == nil && all[""].own != all[""].point { // this test's process stays where it is
		require.NoError(t, StepAside("berth-agent-of-nobody"))
	}
}

func TestMachine(t *testing.T) {
	memory, cpus := Machine()
	require.Greater(t, memory, int64(LeastMemory))
	require.Positive(t, cpus)
}

func FuzzControlGroups(f *testing.F) {
	f.Add([]byte("30 29 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"), []byte("4:memory:/a\n0::/b\n"))
	f.Add([]byte("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"), []byte("::\n"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		for _, h := range parseHierarchies(a, b, func(string) bool { return true }) {
			require.NotEmpty(t, h.own)
		}
		require.GreaterOrEqual(t, parseKilled(a), 0)
	})
}
