package procfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReaderReadsWholeFiles(t *testing.T) {
	var r Reader
	long := strings.Repeat("0123456789abcdef", 4096)
	p := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(p, []byte(long), 0o600))
	b, err := r.Read(p)
	require.NoError(t, err)
	require.Equal(t, long, string(b))
	require.NoError(t, os.WriteFile(p, nil, 0o600))
	b, err = r.Read(p)
	require.NoError(t, err)
	require.Empty(t, b)
	_, err = r.Read(p + "-not")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, p+"-not")
}

func TestUint(t *testing.T) {
	for s, want := range map[string]uint64{"0": 0, "18446744073709551615": 1<<64 - 1, "007": 7} {
		v, ok := Uint([]byte(s))
		require.True(t, ok, s)
		require.Equal(t, want, v)
	}
	for _, s := range []string{"", "-1", "1 ", "18446744073709551616", "99999999999999999999", "x"} {
		_, ok := Uint([]byte(s))
		require.False(t, ok, s)
	}
}

func TestContainerOf(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	for path, want := range map[string]Container{
		"/system.slice/docker-" + id + ".scope":            {id, "docker"},
		"/docker/" + id:                                    {id, "docker"},
		"/docker/" + id + "/init":                          {id, "docker"},
		"/machine.slice/libpod-" + id + ".scope/container": {id, "podman"},
		"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id + ".scope": {id, "podman"},
		"/libpod_parent/libpod-" + id: {id, "podman"},
		"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-" + id + ".scope": {id,
			"containerd"},
		"/kubepods/besteffort/pod8a7f/" + id:             {id, "kubernetes"},
		"/lxc/web":                                       {"web", "lxc"},
		"/lxc.payload.web/system.slice":                  {"web", "lxc"},
		`/machine.slice/machine-deb\x2d12.scope/payload`: {"deb-12", "nspawn"},
	} {
		c, ok := ContainerOf(path)
		require.True(t, ok, path)
		require.Equal(t, want, c, path)
	}
	for _, path := range []string{"/", "", "/user.slice/user-1000.slice/session-3.scope", "/system.slice/docker.service",
		"/docker/short",
		"/system.slice/libpod-conmon-" + id + ".scope", `/machine.slice/machine-qemu\x2d1\x2dvm.scope`, "/" + id} {
		c, ok := ContainerOf(path)
		require.False(t, ok, "%s is %v", path, c)
	}
	c, ok := ContainerOfGroups([]byte("12:memory:/docker/" + id + "\n0::/\ngarbage\n"))
	require.True(t, ok)
	require.Equal(t, id, c.ID)
}

func FuzzContainerOfGroups(f *testing.F) {
	f.Add([]byte("0::/system.slice/docker-" + strings.Repeat("a", 64) + ".scope\n"))
	f.Add([]byte(":::\n\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, ok := ContainerOfGroups(b); ok && c.ID == "" {
			t.Fatal("a container without a name")
		}
		Keyed(b, func(k []byte, v uint64) {})
	})
}

func TestMounts(t *testing.T) {
	got := Mounts([]byte(`21 1 8:1 / / rw - ext4 /dev/sda rw
22 21 0:5 / /a\040b rw - tmpfs t rw
30 23 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
31 30 0:27 /x /sys/fs/cgroup/freezer rw shared:9 - cgroup cgroup rw,freezer
broken
1 2 3 4 5 - 6
`))
	require.Len(t, got, 4)
	require.Equal(t, "/a b", got[1].Point)
	require.Equal(t, Mount{ID: 31, Parent: 30, Device: "0:27", Root: "/x", Point: "/sys/fs/cgroup/freezer", Options: "rw",
		Type:   "cgroup",
		Source: "cgroup", Super: "rw,freezer"}, got[3])
}

func FuzzMounts(f *testing.F) {
	f.Add([]byte("31 30 0:27 / /sys/fs/cgroup/freezer rw shared:9 - cgroup cgroup rw,freezer\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range Mounts(b) {
			if m.Point == "" || m.Point[0] != '/' {
				t.Fatalf("a mount at %q", m.Point)
			}
		}
	})
}
