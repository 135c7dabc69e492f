package libvirt

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/stretchr/testify/require"
	"libvirt.org/go/libvirtxml"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/base/paths"
)

func TestSettings(t *testing.T) {
	ok, err := parseSettings(map[string]string{"uri": "", "pool": "", "network": "", "accel": "", "gpus": "",
		"pool_path": ""}, "/c")
	require.NoError(t, err)
	require.Equal(t, []any{false, defaultURI, "berth", "auto", "auto", "/c/sizes.toml", "/c/images.toml"},
		[]any{ok.set, ok.uri.text, ok.pool, ok.network, ok.accel, ok.sizes, ok.images})
	for key, value := range map[string]string{
		"uri": "http://x", "pool": "a b", "pool_path": "rel", "network": "bridge:", "accel": "fast", "graceful": "maybe",
		"colour": "red",
	} {
		_, err := parseSettings(map[string]string{key: value}, "/c")
		require.Error(t, err, key)
		require.Equal(t, api.CodeUsage, api.AsError(err).Code)
		require.Contains(t, err.Error(), key)
		_, err = New(backend.Env{Settings: map[string]string{key: value}})
		require.Error(t, err)
	}
}

func TestURIs(t *testing.T) {
	for s, want := range map[string]struct {
		via     string
		sockets []string
	}{
		"qemu:///system": {"", []string{"/run/libvirt/libvirt-sock",
			"/run/libvirt/virtqemud-sock"}},
		"qemu:///session?socket=/a%20b": {"", []string{"/a b"}},
		"qemu+ssh://ada@box/system": {"ada@box", []string{"/run/libvirt/libvirt-sock",
			"/run/libvirt/virtqemud-sock"}},
		"qemu+ssh://box:2222/system": {"box:2222", []string{"/run/libvirt/libvirt-sock",
			"/run/libvirt/virtqemud-sock"}},
		"qemu+ssh://ada@[fe80::1]/session?socket=/s":    {"ada@[fe80::1]", []string{"/s"}},
		"qemu+ssh://ada@[fe80::1]:22/system?socket=/so": {"ada@[fe80::1]:22", []string{"/so"}},
	} {
		u, err := parseURI(s)
		require.NoError(t, err, s)
		require.Equal(t, want.via, u.via(), s)
		require.Equal(t, want.sockets, u.sockets(), s)
	}
	for _, s := range []string{"", "qemu:///other", "xen:///system", "qemu://host/system", "qemu+ssh:///system",
		"qemu+ssh://-o@x/system", "qemu+ssh://-x/system",
		"qemu:///system?keyfile=x", "qemu:///system?socket=rel", "qemu+ssh://h/session", "qemu+ssh://h:99999/system", ":"} {
		_, err := parseURI(s)
		require.Error(t, err, s)
	}
	u, err := parseURI("qemu:///session?socket=/s")
	require.NoError(t, err)
	require.Equal(t, "virsh -c 'qemu:///session?socket=/s'", u.virsh(), "as a shell takes it")
	require.Contains(t, u.look(), "virsh -c ")
	t.Setenv("XDG_RUNTIME_DIR", "/r")
	u, err = parseURI("qemu:///session")
	require.NoError(t, err)
	require.Equal(t, "virsh -c qemu:///session", u.virsh())
	require.Equal(t, []string{"/r/libvirt/libvirt-sock", "/r/libvirt/virtqemud-sock"}, u.sockets())
}

func TestStates(t *testing.T) {
	for _, c := range []struct {
		state  golibvirt.DomainState
		reason int
		want   api.State
		words  string
	}{
		{golibvirt.DomainRunning, 1, api.StateRunning, ""}, {golibvirt.DomainRunning, 9, api.StateUnusable, "crashed"},
		{golibvirt.DomainBlocked, 0, api.StateRunning, ""}, {golibvirt.DomainPaused, 5, api.StateUnusable,
			"its disk or pool is full"},
		{golibvirt.DomainPaused, 1, api.StateUnusable, "paused"}, {golibvirt.DomainPaused, 11, api.StateStarting, ""},
		{golibvirt.DomainPaused, 9, api.StateRunning, "saves"},
		{golibvirt.DomainShutdown, 0, api.StateStopping, ""}, {golibvirt.DomainShutoff, 1, api.StateStopped, ""},
		{golibvirt.DomainShutoff, 3, api.StateStopped, "crashed"},
		{golibvirt.DomainShutoff, 6, api.StateStopped, "could not start"}, {golibvirt.DomainCrashed, 1, api.StateUnusable,
			"panicked"}, {golibvirt.DomainCrashed, 0, api.StateUnusable, "crashed"},
		{golibvirt.DomainPmsuspended, 0, api.StateStopped, "suspended"}, {golibvirt.DomainNostate, 0, api.StateUnknown, ""},
		{99, 0, api.StateUnknown, ""},
	} {
		got, why := stateOf(int32(c.state), int32(c.reason))
		require.Equal(t, c.want, got, c)
		require.Contains(t, why, c.words, c)
	}
}

func TestErrors(t *testing.T) {
	b := &Backend{}
	for code, want := range map[golibvirt.ErrorNumber]api.Code{
		golibvirt.ErrNoDomain: api.CodeNotFound, golibvirt.ErrNoStorageVol: api.CodeFailed,
		golibvirt.ErrNoNetwork: api.CodeFailed, golibvirt.ErrAuthFailed: api.CodeAuth,
		golibvirt.ErrAccessDenied:     api.CodeAuth,
		golibvirt.ErrOperationInvalid: api.CodeConflict, golibvirt.ErrOperationTimeout: api.CodeConflict,
		golibvirt.ErrConfigUnsupported: api.CodeUnsupported,
		golibvirt.ErrNoMemory:          api.CodeCapacity, golibvirt.ErrInternalError: api.CodeFailed,
	} {
		err := b.explain("trying", golibvirt.Error{Code: uint32(code), Message: "their words"})
		require.Equal(t, want, api.AsError(err).Code)
		require.Equal(t, "trying: libvirt says: their words", err.Error())
		require.True(t, hasCode(err, code), "libvirt's own error is kept")
	}
	err := b.explain("trying", golibvirt.Error{Code: 38, Message: "write: No space left on device"})
	require.ErrorIs(t, err, backend.ErrCapacity)
	require.Contains(t, api.AsError(err).Hint, "pool")
	for _, lost := range []error{golibvirt.ErrInterrupted, io.EOF, net.ErrClosed, &net.OpError{Op: "read",
		Err: errors.New("x")}} {
		require.ErrorIs(t, b.explain("trying", lost), backend.ErrUnreachable)
	}
	require.ErrorIs(t, b.explain("trying", golibvirt.ErrUnsupported), backend.ErrUnsupported)
	require.ErrorIs(t, b.explain("trying", context.Canceled), context.Canceled)
	require.NoError(t, b.explain("trying", nil))
}

// TestAbsent has no libvirtd: without a setting this is an empty list and nothing else is noise.
func TestAbsent(t *testing.T) {
	dir := t.TempDir()
	b, err := New(backend.Env{Home: paths.Home{Config: dir, State: dir}})
	require.NoError(t, err)
	b.cfg.uri.socket = filepath.Join(dir, "none")
	list, err := b.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, list)
	left, err := b.Leftovers(t.Context(), func(string) bool { return false })
	require.NoError(t, err)
	require.Empty(t, left)
	checks := b.Check(t.Context())
	require.Len(t, checks, 1)
	require.Equal(t, "info", checks[0].Status)
	require.Contains(t, checks[0].Fix, "start the libvirtd that has it", "no sudo systemctl for a socket of one's own")
	b.cfg.uri.socket = ""
	require.Contains(t, api.AsError(b.unreachable(fs.ErrNotExist)).Hint, "install")
	b.cfg.uri.socket = filepath.Join(dir, "none")
	// Files of the user's are looked at all the same.
	require.NoError(t, os.WriteFile(b.cfg.images, []byte("[[image]]\narch = \"amd64\"\n"), 0o600))
	require.NoError(t, os.WriteFile(b.cfg.sizes, []byte("[[size]]\ncolour = 1\n"), 0o600))
	checks = b.Check(t.Context())
	require.Len(t, checks, 3)
	for i, want := range []string{b.cfg.images + ":1: image 1", b.cfg.sizes + ":2:1: there is no key"} {
		require.Equal(t, "fail", checks[i].Status)
		require.Contains(t, checks[i].Message, want)
		require.Contains(t, checks[i].Fix, "mend ")
	}
	require.NoError(t, os.Remove(b.cfg.images))
	require.NoError(t, os.Remove(b.cfg.sizes))
	for name, f := range map[string]func() error{
		"sizes":  func() error { _, err := b.Sizes(t.Context()); return err },
		"images": func() error { _, err := b.Images(t.Context()); return err },
		"delete": func() error { return b.Delete(t.Context(), backend.Ref{Token: "op-1"}) },
		"get":    func() error { _, err := b.Get(t.Context(), backend.Ref{Token: "op-1"}); return err },
	} {
		require.ErrorIs(t, f(), backend.ErrUnreachable, name)
		require.NotEmpty(t, api.AsError(f()).Hint, name)
	}
	who, err := b.Whoami(t.Context())
	require.NoError(t, err, "who one is needs no libvirtd")
	require.NotEmpty(t, who)
	// Once there were machines, silence would mean that they are gone.
	require.NoError(t, b.markUsed())
	_, err = b.List(t.Context())
	require.ErrorIs(t, err, backend.ErrUnreachable)
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "libvirt")))
	b.cfg.set = true
	_, err = b.List(t.Context())
	require.ErrorIs(t, err, backend.ErrUnreachable)
}

// TestSilentDaemon has a socket that takes calls and answers none: the end of ctx ends them.
func TestSilentDaemon(t *testing.T) {
	dir := t.TempDir()
	sock := filepath.Join(dir, "s")
	l, err := net.Listen("unix", sock)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, c) }()
		}
	}()
	b, err := New(backend.Env{Home: paths.Home{Config: dir, State: dir},
		Settings: map[string]string{"uri": "qemu:///system?socket=" + sock}})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = b.List(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = b.Get(ctx, backend.Ref{Token: "op-1"})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func testPlan(n network, virt string) plan {
	return plan{uuid: uuidText(uuidOf("op-1")), name: "berth-a", virtType: virt, arch: "x86_64", vcpus: 2, memory: 1 << 30,
		disk: "/p/d", seed: "/p/s", log: "/p/l", net: n,
		meta: metadata{Token: "op-1", Home: "h", Name: "a <&> b", User: "u", Network: n.String(), Port: 20001,
			Keys: []string{"ssh-ed25519 AAAA x"}, Tags: []tag{{"k", "v'\"<"}}, GPUs: []gpu{{"0000:65:00.0", "NVIDIA A100",
				80 << 30}}}}
}

func TestDomainXML(t *testing.T) {
	for _, n := range []network{{kind: netUser}, {netBridge, "br0"}, {netNetwork, "default"}} {
		p := testPlan(n, "qemu")
		text, err := domainXML(p)
		require.NoError(t, err)
		d, err := parseDomain(text)
		require.NoError(t, err)
		require.NotNil(t, d.own())
		got := *d.own()
		got.XMLName = xml.Name{}
		require.Equal(t, p.meta, got)
		require.Equal(t, []any{2, int64(1 << 30), p.name, p.uuid}, []any{d.VCPU.Value, d.memoryBytes(), d.Name, d.UUID})
		require.Equal(t, n.kind == netUser, strings.Contains(text, "hostfwd=tcp:127.0.0.1:20001-:22"))
		require.Equal(t, n.kind != netUser, len(d.Devices.Interfaces) == 1)
		require.Contains(t, text, macOf("op-1"))
		require.Contains(t, text, `<on_crash>preserve`)
	}
	p := testPlan(network{kind: netUser}, "kvm")
	p.kernel, p.initrd, p.meta.Append = "/p/k", "/p/i", "console=ttyS0"
	text, err := domainXML(p)
	require.NoError(t, err)
	for _, part := range []string{`type="kvm"`, "host-passthrough", "<kernel>/p/k<", "<cmdline>console=ttyS0<"} {
		require.Contains(t, text, part)
	}
	p.arch, p.kernel = "aarch64", ""
	text, err = domainXML(p)
	require.NoError(t, err)
	require.Contains(t, text, `machine="virt"`)
	require.Contains(t, text, `firmware="efi"`)
}

func TestChangeKeepsTheRest(t *testing.T) {
	text, err := domainXML(testPlan(network{kind: netUser}, "qemu"))
	require.NoError(t, err)
	text = strings.Replace(text, "<metadata>", `<metadata><a:x xmlns:a="urn:a" y="1"><a:z/></a:x>`, 1)
	text = strings.Replace(text, "</metadata>", `<b xmlns="urn:b">t</b></metadata>`, 1)
	for range 2 {
		text, err = change(text, func(d *libvirtxml.Domain, m *metadata) error {
			m.Port++
			setNetwork(d, network{kind: netUser}, "m", m.Port)
			return nil
		})
		require.NoError(t, err)
	}
	require.Equal(t, 1, strings.Count(text, namespace))
	require.Contains(t, text, `<a:x xmlns:a="urn:a" y="1"><a:z/></a:x>`)
	require.Contains(t, text, `<b xmlns="urn:b">t</b>`)
	require.Contains(t, text, "127.0.0.1:20003")
	require.NotContains(t, text, "127.0.0.1:20001")
	d, err := parseDomain(text)
	require.NoError(t, err)
	require.Equal(t, 20003, d.own().Port)
	_, err = change("<domain><name>x</name></domain>", func(*libvirtxml.Domain, *metadata) error { return nil })
	require.ErrorContains(t, err, "no metadata")
}

func TestNames(t *testing.T) {
	require.Equal(t, uuidOf("a"), uuidOf("a"))
	require.NotEqual(t, uuidOf("a"), uuidOf("b"))
	require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab]`, uuidText(uuidOf("a")))
	require.Regexp(t, `^52:54:`, macOf("a"))
	first, second := domainName("a/b c", "op-1")
	require.Equal(t, "berth-a-b-c", first)
	require.Regexp(t, `^berth-a-b-c-[0-9a-f]{6}$`, second)
	for _, kind := range volKinds {
		for _, home := range []string{"0123abcd", "", "x/../y"} {
			h, tok, k, ok := parseVolName(volName(home, "op-1", kind))
			require.True(t, ok)
			require.Equal(t, []string{"op-1", kind}, []string{tok, k})
			require.Equal(t, home == "0123abcd", h == home)
		}
	}
	for _, s := range []string{"", "berth-vm.a.b", "berth-vm..op-1.log", "berth-vm.a.op-1.img", "berth-base.x.json",
		"berth-vm.a.o p.log", "x.berth-vm.a.op-1.log"} {
		_, _, _, ok := parseVolName(s)
		require.False(t, ok, s)
	}
	got := builtNames([]golibvirt.StorageVol{{Name: "berth-image.a.b.01.json"}, {Name: "berth-image.a.b.02.json"},
		{Name: "berth-image.a.b.02.qcow2"}, {Name: "berth-image.json"}, {Name: "x"}})
	require.Equal(t, map[string][]string{"a.b": {"berth-image.a.b.02.json", "berth-image.a.b.01.json"}}, got)
}

func TestPorts(t *testing.T) {
	var c portCache
	now := time.Now()
	seen := map[int]bool{}
	for i := range 2000 {
		p := c.choose(fmt.Sprint("op-", i), nil, now)
		require.True(t, p >= firstPort && p < firstPort+portCount && !seen[p])
		seen[p] = true
		require.Equal(t, p, c.choose(fmt.Sprint("op-", i), nil, now), "the same machine keeps its port")
	}
	var d portCache
	p := d.choose("op-1", nil, now)
	require.NotEqual(t, p, (&portCache{}).choose("op-1", map[int]bool{p: true}, now))
	d.refuse(p, now)
	require.NotEqual(t, p, d.choose("op-1", nil, now))
	require.Equal(t, p, d.choose("op-1", nil, now.Add(2*promiseFor)))
	all := map[int]bool{}
	for i := range portCount {
		all[firstPort+i] = true
	}
	require.Zero(t, d.choose("op-9", all, now))
}

const capsText = `<capabilities><host><cpu><arch>x86_64</arch><model>EPYC</model>%s</cpu></host>
<guest><os_type>hvm</os_type><arch name='x86_64'><wordsize>64</wordsize><emulator>/q</emulator><domain type='qemu'/>%s</arch></guest></capabilities>`

func TestAcceleration(t *testing.T) {
	b := &Backend{cfg: settings{accel: "auto"}}
	h, cpu, err := parseCapabilities(fmt.Sprintf(capsText, "<feature name='svm'/>", "<domain type='kvm'/>"))
	require.NoError(t, err)
	require.Empty(t, h.noKVM)
	require.True(t, hasVirt(cpu))
	v, err := b.virtType(h, "x86_64")
	require.NoError(t, err)
	require.Equal(t, "kvm", v)
	_, err = b.virtType(h, "aarch64")
	require.ErrorIs(t, err, backend.ErrUnsupported)
	require.False(t, hasVirt("<cpu><feature name='svm' policy='disable'/><feature name='avx'/></cpu>"))

	h, _, err = parseCapabilities(fmt.Sprintf(capsText, "", ""))
	require.NoError(t, err)
	require.NotEmpty(t, h.noKVM)
	v, err = b.virtType(h, "x86_64")
	require.NoError(t, err)
	require.Equal(t, "qemu", v)
	b.cfg.accel = "kvm"
	_, err = b.virtType(h, "x86_64")
	require.ErrorContains(t, err, "kvm")
	require.Equal(t, "aarch64", h.libvirtArch("arm64"))
	require.Equal(t, "x86_64", h.libvirtArch(""))
}

func TestNetworks(t *testing.T) {
	for s, want := range map[string]network{"auto": {}, "": {}, "user": {kind: netUser}, "bridge:br0": {netBridge, "br0"},
		"lab": {netNetwork, "lab"}} {
		n, err := parseNetwork(s)
		require.NoError(t, err)
		require.Equal(t, want, n)
		back, err := parseNetwork(n.String())
		require.NoError(t, err)
		require.Equal(t, n, back)
	}
	for _, s := range []string{"bridge:", "bridge:a b", "a b", "bridge:0123456789abcdef", "-x"} {
		_, err := parseNetwork(s)
		require.Error(t, err, s)
	}
	used := prefixes(`<network><ip address='10.77.77.1' netmask='255.255.255.0'/><ip address='10.77.78.9' prefix='24'/><ip family='ipv6' address='fd00::1' prefix='64'/><ip address='x'/></network>`)
	require.Len(t, used, 3)
	free := freeSubnets(used, 2)
	require.Equal(t, []netip.Prefix{netip.MustParsePrefix("10.77.79.0/24"), netip.MustParsePrefix("10.77.80.0/24")}, free)
	require.Equal(t, netip.MustParsePrefix("192.168.200.0/24"),
		freeSubnets([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, 1)[0])
	require.Empty(t, freeSubnets([]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}, 1))
	text, err := networkXML(free[0])
	require.NoError(t, err)
	require.Equal(t, netip.MustParsePrefix("10.77.79.0/24"), prefixes(text)[0].Masked())
}

func TestAddresses(t *testing.T) {
	mac := macOf("op-1")
	got := byMAC([]golibvirt.NetworkDhcpLease{
		{Mac: golibvirt.OptString{strings.ToUpper(mac)}, Ipaddr: "10.0.0.2", Expirytime: 5}, {Mac: golibvirt.OptString{mac},
			Ipaddr: "10.0.0.3", Expirytime: 9},
		{Mac: golibvirt.OptString{mac}, Ipaddr: "10.0.0.4", Expirytime: 7}, {Mac: golibvirt.OptString{mac}, Ipaddr: "fd00::1",
			Expirytime: 99}, {Ipaddr: "10.0.0.9"},
	})
	require.Equal(t, "10.0.0.3", got[mac].addr)
	cards := []golibvirt.DomainInterface{
		{Name: "lo", Hwaddr: golibvirt.OptString{"00:00:00:00:00:00"}, Addrs: []golibvirt.DomainIPAddr{{Addr: "127.0.0.1"}}},
		{Name: "docker0", Hwaddr: golibvirt.OptString{"02:42:00:00:00:00"},
			Addrs: []golibvirt.DomainIPAddr{{Addr: "172.17.0.1"}}},
		{Name: "eth0", Hwaddr: golibvirt.OptString{mac}, Addrs: []golibvirt.DomainIPAddr{{Addr: "fe80::1"}, {Addr: "fd00::2"},
			{Addr: "169.254.3.3"}, {Addr: "10.1.1.1"}}},
	}
	require.Equal(t, "10.1.1.1", pickAddr(cards, mac))
	cards[2].Addrs = cards[2].Addrs[:2]
	require.Equal(t, "fd00::2", pickAddr(cards, mac))
	require.Empty(t, pickAddr(cards[:2], mac))
}

// TestLines looks at how a machine is reached in each network, on this host and another.
func TestLines(t *testing.T) {
	for _, c := range []struct {
		uri, network string
		port         int
		addr         string
		want         backend.SSHTarget
	}{
		{"qemu:///system", "default", 0, "10.0.0.5", backend.SSHTarget{Host: "10.0.0.5", Port: 22}},
		{"qemu:///session", "user", 20009, "", backend.SSHTarget{Host: "127.0.0.1", Port: 20009}},
		{"qemu+ssh://ada@box/system", "default", 0, "10.0.0.5", backend.SSHTarget{Host: "10.0.0.5", Port: 22,
			Via: "ada@box"}},
		{"qemu+ssh://ada@box/system", "user", 20009, "", backend.SSHTarget{Host: "127.0.0.1", Port: 20009, Via: "ada@box"}},
		{"qemu+ssh://ada@box/system", "bridge:br0", 0, "10.0.0.5", backend.SSHTarget{Host: "10.0.0.5", Port: 22}},
	} {
		b, err := New(backend.Env{Settings: map[string]string{"uri": c.uri}})
		require.NoError(t, err)
		e := &entry{meta: &metadata{Token: "op-1", User: "u", Network: c.network, Port: c.port}, dom: &domain{}}
		c.want.User, c.want.Made = "u", true
		require.Equal(t, &c.want, b.machine(golibvirt.Domain{ID: 1}, e, 1, 1, c.addr).Line.SSH)
		off := b.machine(golibvirt.Domain{ID: -1}, e, 5, 1, c.addr)
		require.Nil(t, off.Line.SSH)
		if c.port == 0 {
			none := b.machine(golibvirt.Domain{ID: 1}, e, 1, 1, "")
			require.Nil(t, none.Line.SSH)
			require.Contains(t, none.Reason, "no address")
		}
	}
}
