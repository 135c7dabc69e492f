//go:build vm

package libvirt

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/libvirt/libvirttest"
)

// systemScript starts a system daemon that sees neither the host's folders of libvirt nor its network.
const systemScript = `set -e
mount --make-rprivate /
for p in /etc/libvirt /var/lib/libvirt /run/libvirt /var/cache/libvirt /var/log/libvirt; do mkdir -p $p; mount -t tmpfs -o mode=755 tmpfs $p; done
ip link set lo up
cat > /etc/libvirt/qemu.conf <<X
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
security_default_confined = 0
cgroup_controllers = [ ]
namespaces = [ ]
stdio_handler = "file"
max_core = 0
X
cat > $1/lv.conf <<X
unix_sock_dir = "$1"
unix_sock_group = "root"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "2:file:$1/libvirtd.log"
X
exec libvirtd -f $1/lv.conf -p $1/pid
`

// startSystem starts a system daemon of its own and returns its socket and process.
func startSystem(t *testing.T) (socket string, pid int) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: to start a system libvirtd in namespaces of its own")
	}
	for _, p := range []string{"libvirtd", "dnsmasq", "iptables", "unshare", "nsenter"} {
		if _, err := lookProgram(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
	dir, err := os.MkdirTemp("/tmp", "bsys-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	cmd := exec.Command("unshare", "-m", "-n", "sh", "-c", systemScript, "sh", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		killNamespace(t, cmd.Process.Pid)
		_ = cmd.Wait()
	})
	socket = filepath.Join(dir, "libvirt-sock")
	require.Eventually(t, func() bool { _, err := os.Stat(socket); return err == nil }, time.Minute, 20*time.Millisecond)
	return socket, cmd.Process.Pid
}

// killNamespace ends all processes in the network namespace of a process: daemon, machines, dnsmasq.
func killNamespace(t *testing.T, pid int) {
	own, err := os.Readlink("/proc/self/ns/net")
	require.NoError(t, err)
	ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	require.NoError(t, err)
	require.NotEqual(t, own, ns)
	procs, err := os.ReadDir("/proc")
	require.NoError(t, err)
	for _, p := range procs {
		n, err := strconv.Atoi(p.Name())
		if err != nil {
			continue
		}
		if l, err := os.Readlink("/proc/" + p.Name() + "/ns/net"); err == nil && l == ns {
			_ = syscall.Kill(n, syscall.SIGKILL)
		}
	}
}

// TestSystemDaemon makes machines as most users do: on the system's daemon, in a NAT network and a pool that
// Berth makes.
func TestSystemDaemon(t *testing.T) {
	guest := libvirttest.GetGuest(t, libvirttest.Tiny)
	socket, pid := startSystem(t)
	b := &bench{key: newKey(t)}
	b.env = environment(t, &libvirttest.Daemon{URI: "qemu:///system?socket=" + socket}, libvirttest.WriteCatalogue(t,
		t.TempDir(), guest))
	b.Backend = b.again(t)
	one, two := b.spec("tiny"), b.spec("tiny")
	inside := func(addr string) bool {
		out, err := exec.Command("nsenter", "-t", strconv.Itoa(pid), "-n", "timeout", "3", "bash", "-c",
			"exec 3<>/dev/tcp/"+addr+"/22; head -c 4 <&3").Output()
		return err == nil && string(out) == "SSH-"
	}
	require.NoError(t, b.Prepare(t.Context(), one, nil))
	addrs := map[string]bool{}
	for _, s := range []backend.Spec{one, two} { // they boot side by side
		m, err := b.Create(t.Context(), s)
		require.NoError(t, err)
		require.Equal(t, api.StateRunning, m.State)
	}
	for _, s := range []backend.Spec{one, two} {
		var m backend.Machine
		require.Eventually(t, func() bool {
			all, err := b.List(t.Context())
			require.NoError(t, err)
			i := slices.IndexFunc(all, func(m backend.Machine) bool { return m.Token == s.Token })
			require.GreaterOrEqual(t, i, 0)
			m = all[i]
			return m.Line.SSH != nil
		}, patience, 100*time.Millisecond)
		require.False(t, addrs[m.Address])
		addrs[m.Address] = true
		require.True(t, netip.MustParsePrefix("10.77.0.0/16").Contains(netip.MustParseAddr(m.Address)), m.Address)
		require.Equal(t, 22, m.Port)
		require.Eventually(t, func() bool { return inside(m.Address) }, patience, 100*time.Millisecond)
	}
	console, err := b.Console(t.Context(), refOf(one))
	require.NoError(t, err)
	require.Contains(t, string(console), "tiny: ready")

	// Its network was switched off; a start switches it on, and the address stays.
	before, err := b.Get(t.Context(), refOf(one))
	require.NoError(t, err)
	require.NoError(t, b.Delete(t.Context(), refOf(two)))
	require.NoError(t, b.ForceStop(t.Context(), refOf(one)))
	require.NoError(t, b.do(t.Context(), "", func(l *golibvirt.Libvirt) error {
		n, err := l.NetworkLookupByName(ownNetwork)
		if err != nil {
			return err
		}
		return l.NetworkDestroy(n)
	}))
	require.NoError(t, b.Start(t.Context(), refOf(one)))
	require.Eventually(t, func() bool {
		m, err := b.Get(t.Context(), refOf(one))
		require.NoError(t, err)
		return m.Address == before.Address && inside(m.Address)
	}, patience, 200*time.Millisecond)
	for _, c := range b.Check(t.Context()) {
		require.NotEqual(t, "fail", c.Status, c.Message)
		t.Logf("%s %s: %s", c.Status, c.Name, strings.TrimSpace(c.Message))
	}
	require.NoError(t, b.Delete(context.WithoutCancel(t.Context()), refOf(one)))
	left, err := b.Leftovers(t.Context(), func(string) bool { return false })
	require.NoError(t, err)
	require.Empty(t, left)
}
