package libvirt

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/libvirt/hostdev"
)

// lineTo is a workspace's SSH that leads to this very host.
type lineTo struct {
	backend.Prober
	dialled []string
}

func (l *lineTo) Dial(ctx context.Context, t backend.SSHTarget, network, address string) (net.Conn, error) {
	l.dialled = append(l.dialled, t.User+"@"+t.Host+" "+network+" "+address)
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// testRemote reaches the daemon as one of another host.
func testRemote(t *testing.T, b *bench) {
	env := b.env
	env.Settings = map[string]string{"uri": "qemu+ssh://ada@box/session?socket=" + b.d.Socket, "pool_path": b.d.Pool,
		"accel": "emulate", "network": "user"}
	_, err := New(env)
	require.NoError(t, err)
	far, err := New(env)
	require.NoError(t, err)
	_, err = far.List(t.Context())
	require.ErrorIs(t, err, backend.ErrUnsupported, "without connections")
	line := &lineTo{}
	env.Remote = line
	far, err = New(env)
	require.NoError(t, err)
	who, err := far.Whoami(t.Context())
	require.NoError(t, err)
	require.Equal(t, "ada", who)
	s := b.spec("empty")
	_, err = far.define(t.Context(), s)
	require.NoError(t, err)
	all, err := far.List(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Contains(t, line.dialled, "ada@box unix "+b.d.Socket)
	require.NoError(t, far.Delete(t.Context(), refOf(s)))
	b.gone(t)
}

// testPool removes the pool, and stops it, behind Berth's back.
func testPool(t *testing.T, b *bench) {
	l := b.d.Connect()
	for range 2 {
		s := b.spec("empty")
		b.defined(t, s)
		p, err := l.StoragePoolLookupByName("berth")
		require.NoError(t, err)
		require.NoError(t, l.StoragePoolDestroy(p))
		require.NoError(t, b.Seal(t.Context(), refOf(s)), "a pool that was stopped is started")
		require.NoError(t, l.StoragePoolDestroy(p))
		require.NoError(t, l.StoragePoolUndefine(p))
		err = b.Seal(t.Context(), refOf(s))
		require.Error(t, err)
		require.NotErrorIs(t, err, backend.ErrNotFound, "it is the pool that is gone, not the machine")
		m, err := b.Get(t.Context(), refOf(s))
		require.NoError(t, err)
		require.Equal(t, api.StateStopped, m.State)
		_, err = b.openPool(t.Context(), true)
		require.NoError(t, err)
		require.NoError(t, b.Delete(t.Context(), refOf(s)))
		b.gone(t)
	}
	far := b.again(t)
	far.cfg.poolPath = "/elsewhere"
	_, err := far.openPool(t.Context(), true)
	require.ErrorContains(t, err, "/elsewhere")
}

// testOtherPool changes the pool of new machines: those that are there keep theirs.
func testOtherPool(t *testing.T, b *bench) {
	s := b.spec("empty")
	b.defined(t, s)
	env := b.env
	env.Settings = map[string]string{"uri": b.d.URI, "pool": "second", "pool_path": filepath.Join(b.d.Dir, "data",
		"second"), "accel": "emulate"}
	n, err := New(env)
	require.NoError(t, err)
	require.NoError(t, n.Seal(t.Context(), refOf(s)))
	_, err = n.Console(t.Context(), refOf(s))
	require.NoError(t, err)
	require.NoError(t, n.BuildImage(t.Context(), refOf(s), api.Image{Name: "moved"}, nil))
	clone, from := b.spec(""), refOf(s)
	clone.From = &from
	_, err = n.define(t.Context(), clone)
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(env.Settings["pool_path"], volName(env.HomeID, clone.Token, volDisk)))
	require.NoError(t, n.Delete(t.Context(), refOf(s)))
	require.NoError(t, b.Delete(t.Context(), refOf(clone)))
	b.gone(t)
	require.NoError(t, n.DeleteImage(t.Context(), "moved"))
	files, err := os.ReadDir(env.Settings["pool_path"])
	require.NoError(t, err)
	require.Empty(t, files)
}

// recorded reads a host that hostdev's tests know.
func recorded(t *testing.T, name string) hostGPUs {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("hostdev", "testdata", name))
	require.NoError(t, err)
	h, err := hostdev.Parse(splitDevices(string(b)))
	require.NoError(t, err)
	return hostGPUs{host: h, taken: hostdev.Taken{}}
}

func splitDevices(s string) []string {
	parts := strings.SplitAfter(s, "</device>\n")
	return parts[:len(parts)-1]
}

// testWrongPool names a folder that can't be made: nothing is left of it, and the next try is in a better one.
func testWrongPool(t *testing.T, b *bench) {
	env := b.env
	env.Settings = map[string]string{"uri": b.d.URI, "pool": "mistyped", "pool_path": "/proc/none/pool",
		"accel": "emulate"}
	wrong, err := New(env)
	require.NoError(t, err)
	err = wrong.Prepare(t.Context(), b.spec("empty"), nil)
	require.ErrorContains(t, err, "/proc/none/pool")
	require.Contains(t, api.AsError(err).Hint, "pool_path")
	l := b.d.Connect()
	_, err = l.StoragePoolLookupByName("mistyped")
	require.Error(t, err)
	require.NoError(t, wrong.Delete(t.Context(), refOf(b.spec("empty"))), "what was never made can be forgotten")

	// Made by somebody else in a folder that has gone.
	_, err = l.StoragePoolDefineXML(`<pool type="dir"><name>mistyped</name><target><path>/proc/none/pool</path></target></pool>`, 0)
	require.NoError(t, err)
	err = wrong.Prepare(t.Context(), b.spec("empty"), nil)
	require.Contains(t, api.AsError(err).Hint, "pool-undefine mistyped")
	dir := filepath.Join(b.d.Dir, "better")
	env.Settings = map[string]string{"uri": b.d.URI, "pool": "mistyped", "pool_path": dir, "accel": "emulate"}
	right, err := New(env)
	require.NoError(t, err)
	require.ErrorContains(t, right.Prepare(t.Context(), b.spec("empty"), nil), "is at /proc/none/pool, not at "+dir)
	p, err := l.StoragePoolLookupByName("mistyped")
	require.NoError(t, err)
	require.NoError(t, l.StoragePoolUndefine(p))
}

// testNoSpace has a pool on a file system that is too small.
func testNoSpace(t *testing.T, b *bench) {
	dir := filepath.Join(b.d.Dir, "small")
	require.NoError(t, os.Mkdir(dir, 0o755))
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=4m,mode=755,uid=%d", b.d.UID), "tmpfs",
		dir).CombinedOutput(); err != nil {
		t.Skipf("needs root: to mount a small file system: %s", bytes.TrimSpace(out))
	}
	t.Cleanup(func() { require.NoError(t, exec.Command("umount", dir).Run()) })
	env := b.env
	env.Settings = map[string]string{"uri": b.d.URI, "pool": "small", "pool_path": dir, "accel": "emulate"}
	small, err := New(env)
	require.NoError(t, err)
	t.Cleanup(func() {
		l := b.d.Connect()
		p, err := l.StoragePoolLookupByName("small")
		require.NoError(t, err)
		require.NoError(t, l.StoragePoolDestroy(p))
		require.NoError(t, l.StoragePoolUndefine(p))
	})
	s := b.spec("empty")
	err = small.Prepare(t.Context(), s, nil)
	require.ErrorIs(t, err, backend.ErrCapacity)
	// libvirt counts an uploaded volume a moment after the upload, in a thread of its own: both figures are true.
	require.Regexp(t, `the pool small .* 1\.0 GiB are needed, (3\.[0-9]|4\.0) MiB of 4\.0 MiB are free`, err.Error())
	_, err = small.Create(t.Context(), s)
	require.ErrorIs(t, err, backend.ErrCapacity)
	require.NoError(t, small.Delete(t.Context(), refOf(s)))
	large := b.spec("empty")
	require.NoError(t, small.Validate(t.Context(), large), "whether there is room changes")
	large.DiskBytes = 1 << 50
	require.ErrorContains(t, small.Validate(t.Context(), large), "a disk of 1.0 PiB is larger than all of the pool small")
	large.DiskBytes = 512
	require.ErrorContains(t, small.Validate(t.Context(), large), "a disk of 512 B is too small: empty needs")
	elsewhere := b.spec("empty")
	elsewhere.Subnet = "nowhere"
	err = small.Validate(t.Context(), elsewhere)
	require.ErrorContains(t, err, "there is no network nowhere")
	require.Contains(t, api.AsError(err).Hint, "virsh -c ")
	left, err := filepath.Glob(filepath.Join(dir, "berth-vm.*"))
	require.NoError(t, err)
	require.Empty(t, left)
	status := ""
	for _, c := range small.Check(t.Context()) {
		if c.Name == "pool" {
			status = c.Status
		}
	}
	require.Equal(t, "warn", status)
}

// TestGPUs hands out the GPUs of a recorded server.
func TestGPUs(t *testing.T) {
	g := recorded(t, "server.xml")
	one := size{Name: "gpu-1", GPUs: 1}
	require.True(t, g.fits(one))
	require.False(t, g.fits(size{GPUs: 64}))
	n := len(g.all(one))
	require.Greater(t, n, 1)
	require.Len(t, g.offer(one), 1)
	require.NotEmpty(t, g.offer(one)[0].Name)
	gpus, devs, err := g.allot(1, "")
	require.NoError(t, err)
	require.NotEmpty(t, devs)

	// A domain that has it, as devicesOf reads it.
	p := testPlan(network{kind: netUser}, "kvm")
	p.hostdevs, p.meta.GPUs, p.meta.Name = devs, gpus, "vision"
	text, err := domainXML(p)
	require.NoError(t, err)
	ids, holder, err := devicesOf(text)
	require.NoError(t, err)
	require.Equal(t, "vision", holder)
	require.Contains(t, ids, gpus[0].Address)
	for _, id := range ids {
		g.taken[id] = holder
	}
	require.Contains(t, g.who(one), "held by vision")

	// It starts again: with its own, with another of the same model, or not at all.
	free := recorded(t, "server.xml")
	same, _, err := free.again(&p.meta)
	require.NoError(t, err)
	require.Nil(t, same)
	other, odevs, err := g.again(&p.meta)
	require.NoError(t, err)
	require.NotEmpty(t, odevs)
	require.NotEqual(t, gpus[0].Address, other[0].Address)
	require.Equal(t, gpus[0].Name, other[0].Name)
	for _, d := range g.host.GPUs {
		g.taken[d.ID] = "vision"
	}
	_, _, err = g.again(&p.meta)
	require.ErrorIs(t, err, backend.ErrConflict)
	require.ErrorContains(t, err, "held by vision")
	require.NotEmpty(t, g.offer(one), "a size is offered with what it would have")
}
