//go:build vm

package libvirttest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/digitalocean/go-libvirt"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"berth/backend/machine/cloudinit"
)

// vm is a guest defined by hand.
type vm struct {
	*testing.T
	d       *Daemon
	l       *libvirt.Libvirt
	dom     libvirt.Domain
	guest   Guest
	seed    string
	console string
	port    int
	user    ssh.Signer
	host    ssh.PublicKey
	config  cloudinit.Config
}

func newKey(t *testing.T) (ssh.Signer, string) {
	t.Helper()
	_, k, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	s, err := ssh.NewSignerFromKey(k)
	require.NoError(t, err)
	block, err := ssh.MarshalPrivateKey(k, "")
	require.NoError(t, err)
	return s, string(pem.EncodeToMemory(block))
}

func line(s ssh.Signer) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.PublicKey())))
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// put writes a file that the daemon's user can read and write.
func (v *vm) put(name string, b []byte) string {
	v.Helper()
	p := filepath.Join(v.d.Pool, name)
	require.NoError(v, os.WriteFile(p, b, 0o600))
	require.NoError(v, os.Chown(p, v.d.UID, v.d.UID))
	return p
}

func (v *vm) writeSeed() {
	v.Helper()
	iso, err := cloudinit.Seed(v.config)
	require.NoError(v, err)
	v.seed = v.put("seed.iso", iso)
}

func define(t *testing.T, d *Daemon, g Guest, cmdline string) *vm {
	t.Helper()
	user, _ := newKey(t)
	host, hostPEM := newKey(t)
	v := &vm{T: t, d: d, l: d.Connect(), guest: g, port: freePort(t), user: user, host: host.PublicKey()}
	v.config = cloudinit.Config{InstanceID: "i-1", Hostname: "vm-1", User: "ada", AuthorizedKeys: []string{line(user) +
		` it's "a key"`}, HostKey: hostPEM, HostKeyPublic: line(host)}
	v.writeSeed()
	disk := filepath.Join(d.Pool, "disk.qcow2")
	out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-b", g.Disk, "-F", "qcow2", disk,
		"5G").CombinedOutput()
	require.NoError(t, err, string(out))
	require.NoError(t, os.Chown(disk, d.UID, d.UID))
	v.console = filepath.Join(d.Pool, "console.log")
	// A small cache of translated code makes resets faster; systemd needs a larger one.
	cache := 32
	if g.Name == Cloud {
		cache = 512
	}
	xml := fmt.Sprintf(`<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>t1</name><memory unit='MiB'>768</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>%s</kernel><initrd>%s</initrd><cmdline>%s %s</cmdline></os><features><acpi/><tcg><tb-cache unit='MiB'>%d</tb-cache></tcg></features><devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='unsafe'/><source file='%s'/><target dev='vda' bus='virtio'/></disk>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='%s'/><target dev='vdb' bus='virtio'/><readonly/></disk>
<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
<serial type='pty'><log file='%s' append='on'/></serial></devices><qemu:commandline>
<qemu:arg value='-netdev'/><qemu:arg value='user,id=hn0,hostfwd=tcp:127.0.0.1:%d-:22'/>
<qemu:arg value='-device'/><qemu:arg value='virtio-net-pci,netdev=hn0,addr=0x10'/></qemu:commandline></domain>`, g.Kernel, g.Initrd, g.Cmdline, cmdline, cache, disk, v.seed, v.console, v.port)
	v.dom, err = v.l.DomainDefineXMLFlags(xml, libvirt.DomainDefineValidate)
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			b, _ := os.ReadFile(v.console)
			t.Logf("console:\n%s", tail(string(b), 4<<10))
		}
	})
	return v
}

// banner reports whether an SSH server answers; the port of user networking itself always does.
func banner(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(1500 * time.Millisecond))
	b := make([]byte, 4)
	n, _ := c.Read(b)
	return string(b[:n]) == "SSH-"
}

// dial signs in once the guest answers; it fails on any other host key than want.
func (v *vm) dial(want ssh.PublicKey, limit time.Duration) *ssh.Client {
	v.Helper()
	ctx, cancel := context.WithTimeout(v.Context(), limit)
	defer cancel()
	addr := fmt.Sprintf("127.0.0.1:%d", v.port)
	for {
		if banner(addr) {
			c, err := v.handshake(addr, want)
			if err == nil {
				v.Cleanup(func() { _ = c.Close() })
				return c
			}
			// cloud-init puts the keys there while sshd runs already.
			if ctx.Err() != nil {
				require.NoError(v, err)
			}
		}
		select {
		case <-ctx.Done():
			console, _ := os.ReadFile(v.console)
			v.Logf("console:\n%s", tail(string(console), 4<<10))
			v.Skipf("the guest was not up within %s: this machine is too slow or too busy to emulate one", limit)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// handshake gives up where the guest goes away in the middle.
func (v *vm) handshake(addr string, want ssh.PublicKey) (*ssh.Client, error) {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(15 * time.Second))
	conn, chans, reqs, err := ssh.NewClientConn(c, addr, &ssh.ClientConfig{
		User: v.config.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(v.user)},
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519}, HostKeyCallback: ssh.FixedHostKey(want),
	})
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	_ = c.SetDeadline(time.Time{})
	return ssh.NewClient(conn, chans, reqs), nil
}

func (v *vm) run(c *ssh.Client, command string) string {
	v.Helper()
	s, err := c.NewSession()
	require.NoError(v, err)
	defer s.Close()
	var stderr bytes.Buffer
	s.Stderr = &stderr
	out, err := s.Output(command)
	require.NoError(v, err, "%s: %s", command, stderr.String())
	return strings.TrimSpace(string(out))
}

func (v *vm) state() libvirt.DomainState {
	v.Helper()
	s, _, err := v.l.DomainGetState(v.dom, 0)
	require.NoError(v, err)
	return libvirt.DomainState(s)
}

func (v *vm) waitOff(limit time.Duration) {
	v.Helper()
	require.Eventually(v, func() bool { return v.state() == libvirt.DomainShutoff }, limit, 50*time.Millisecond,
		"the guest does not switch itself off")
}

// hostKeyOf asks the guest itself for its host key.
const hostKeyCommand = `if [ -f /persist/state/host_key ]; then dropbearkey -y -f /persist/state/host_key | grep ^ssh-; else cat /etc/ssh/ssh_host_ed25519_key.pub; fi`

// throughLife boots a guest, looks at it, and does so again with a seed that was sealed.
func throughLife(t *testing.T, name string, limit time.Duration) {
	d := Start(t)
	v := define(t, d, GetGuest(t, name), "")
	begin := time.Now()
	require.NoError(t, v.l.DomainCreate(v.dom))
	c := v.dial(v.host, limit)
	t.Logf("%s: first login after %s", name, time.Since(begin).Round(10*time.Millisecond))
	require.Equal(t, "ada", v.run(c, "id -un"))
	require.Equal(t, "0", v.run(c, "sudo -n id -u"))
	require.Equal(t, "vm-1", v.run(c, "hostname"))
	require.Equal(t, "/home/ada", v.run(c, "echo $HOME"))
	v.run(c, "echo kept > ~/kept; sync")
	fields := strings.Fields(v.run(c, "sudo -n sh -c '"+hostKeyCommand+"'"))
	require.Equal(t, strings.Fields(line(signerOf(v.config.HostKey))), fields[:2], "the guest's key is the one handed in")

	// Sealed: the host key is no longer in the seed, and stays in the guest. A reboot from within.
	v.config.HostKey, v.config.HostKeyPublic = "", ""
	v.writeSeed()
	begin = time.Now()
	if name == Cloud {
		// Under emulation a reset takes the longer the more ran before: minutes, here.
		_ = c.Close()
		require.NoError(t, v.l.DomainShutdownFlags(v.dom, libvirt.DomainShutdownAcpiPowerBtn))
		v.waitOff(limit)
		require.NoError(t, v.l.DomainCreate(v.dom))
		c = v.dial(v.host, limit)
	} else {
		c = v.reboot(c, limit)
	}
	t.Logf("%s: second login %s after the restart was asked for", name, time.Since(begin).Round(10*time.Millisecond))
	require.Equal(t, "kept", v.run(c, "cat ~/kept"))
	_ = c.Close()

	begin = time.Now()
	require.NoError(t, v.l.DomainShutdownFlags(v.dom, libvirt.DomainShutdownAcpiPowerBtn))
	if name == Deaf {
		require.Never(t, func() bool { return v.state() == libvirt.DomainShutoff }, 8*time.Second, time.Second)
		require.NoError(t, v.l.DomainDestroyFlags(v.dom, libvirt.DomainDestroyGraceful))
	}
	v.waitOff(limit)
	t.Logf("%s: off after %s", name, time.Since(begin).Round(10*time.Millisecond))
}

func signerOf(pem string) ssh.Signer {
	s, _ := ssh.ParsePrivateKey([]byte(pem))
	return s
}

// reboot restarts the guest from within and signs in again.
func (v *vm) reboot(c *ssh.Client, limit time.Duration) *ssh.Client {
	v.Helper()
	const boot = "cat /proc/sys/kernel/random/boot_id"
	before := v.run(c, boot)
	v.run(c, "sudo -n reboot </dev/null >/dev/null 2>&1 &")
	_ = c.Close()
	end := time.Now().Add(limit)
	for banner(fmt.Sprintf("127.0.0.1:%d", v.port)) && time.Now().Before(end) {
		time.Sleep(100 * time.Millisecond)
	}
	for {
		c := v.dial(v.host, limit)
		// The old system may go while it is asked.
		watch := time.AfterFunc(10*time.Second, func() { _ = c.Close() })
		if s, err := c.NewSession(); err == nil {
			if now, err := s.Output(boot); err == nil && strings.TrimSpace(string(now)) != before {
				require.True(v, watch.Stop())
				return c
			}
		}
		watch.Stop()
		_ = c.Close()
		require.True(v, time.Now().Before(end), "the guest does not restart")
		time.Sleep(100 * time.Millisecond)
	}
}
