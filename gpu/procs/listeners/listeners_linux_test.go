package listeners

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRead finds what this test listens on: a port of both families once, one of another address, and a unix socket.
func TestRead(t *testing.T) {
	v4, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer v4.Close()
	port := v4.Addr().(*net.TCPAddr).Port
	want := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	if v6, err := net.ListenTCP("tcp6", &net.TCPAddr{IP: net.IPv6loopback, Port: port}); err == nil {
		defer v6.Close()
		want = append(want, netip.IPv6Loopback())
	}
	far, err := net.Listen("tcp4", "127.0.0.53:0")
	require.NoError(t, err)
	defer far.Close()
	path := filepath.Join(t.TempDir(), "socket")
	sock, err := net.Listen("unix", path)
	require.NoError(t, err)
	defer sock.Close()
	out, err := net.Dial("tcp", v4.Addr().String()) // connected sockets don't count
	require.NoError(t, err)
	defer out.Close()

	list, err := Read()
	require.NoError(t, err)
	on := On(list, port)
	require.Len(t, on, 1, "%+v", on)
	require.Equal(t, want, on[0].Addresses)
	require.Contains(t, on[0].PIDs, os.Getpid())
	require.Equal(t, os.Getuid(), on[0].UID)
	require.Empty(t, On(list, out.LocalAddr().(*net.TCPAddr).Port))
	on = On(list, far.Addr().(*net.TCPAddr).Port)
	require.Len(t, on, 1)
	require.Equal(t, "127.0.0.53", on[0].Addresses[0].String())
	i := slices.IndexFunc(list, func(l Listener) bool { return l.Path == path })
	require.GreaterOrEqual(t, i, 0, "the unix socket")
	require.Equal(t, []int{os.Getpid()}, list[i].PIDs)
	require.True(t, slices.IsSortedFunc(list, func(a, b Listener) int { return b2i(a.Port == 0) - b2i(b.Port == 0) }))
}

// TestReadOfAnother: a folder that has no tables is an error, and a table of unix sockets that can't be read does not
// hide the ports.
func TestReadOfAnother(t *testing.T) {
	_, err := NewReader(filepath.Join(t.TempDir(), "none")).Read()
	require.Error(t, err)
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "net"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "net", "tcp"), []byte("  sl  local_address rem_address   st\n"+
		"   0: 0100007F:22B8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1001        0 77 1 0 100 0 0 10 0\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "net", "unix"), []byte("Num RefCount Protocol Flags Type St Inode Path\n"+
		"x: zz\n"), 0o644))
	list, err := NewReader(dir).Read()
	require.ErrorContains(t, err, "unix sockets")
	require.Equal(t, []Listener{{Port: 8888, UID: 1001, Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}}, list)
}

func TestMerged(t *testing.T) {
	a, b := netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("::")
	got := merged([]socket{{inode: 1, uid: 5, port: 80, addr: b}, {inode: 9, path: "/x", uid: -1},
		{inode: 2, uid: 5, port: 80, addr: a},
		{inode: 3, uid: 6, port: 80, addr: a}, {inode: 4, uid: 7, port: 22, addr: a}},
		map[uint64][]int{1: {10, 12}, 2: {10, 11}, 3: {20}})
	require.Equal(t, []Listener{
		{Port: 22, UID: 7, Addresses: []netip.Addr{a}},
		{Port: 80, UID: 5, Addresses: []netip.Addr{a, b}, PIDs: []int{10, 11, 12}},
		{Port: 80, UID: 6, Addresses: []netip.Addr{a}, PIDs: []int{20}},
		{Path: "/x", UID: -1},
	}, got)
}

func BenchmarkRead(b *testing.B) {
	for b.Loop() {
		_, _ = Read()
	}
}

func BenchmarkReadAgain(b *testing.B) {
	r := NewReader("")
	for b.Loop() {
		_, _ = r.Read()
	}
}

// TestReadAgain looks at all processes only where that is needed: at what is new, or was handed on.
func TestReadAgain(t *testing.T) {
	r := NewReader("")
	port := func(l net.Listener) []Listener {
		t.Helper()
		list, err := r.Read()
		require.NoError(t, err)
		return On(list, l.Addr().(*net.TCPAddr).Port)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	// Others on this host come and go as well: what is counted is that of one look at most.
	looked := func(want bool, l net.Listener) {
		t.Helper()
		for range 1000 {
			was := r.looked
			on := port(l)
			require.Len(t, on, 1)
			require.Contains(t, on[0].PIDs, os.Getpid())
			if (r.looked > was) == want {
				return
			}
		}
		t.Fatalf("looked at all: never %t", want)
	}
	looked(true, l)
	looked(false, l)
	second, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer second.Close()
	looked(true, second)
	looked(false, second)

	// A child takes a socket over.
	f, err := second.(*net.TCPListener).File()
	require.NoError(t, err)
	cmd := exec.Command("sleep", "1000")
	cmd.ExtraFiles = []*os.File{f}
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	_ = f.Close()
	require.NoError(t, second.Close())
	on := port(second)
	require.Len(t, on, 1)
	require.Equal(t, []int{cmd.Process.Pid}, on[0].PIDs)
}
