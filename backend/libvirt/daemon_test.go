package libvirt

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/libvirt/libvirttest"
)

// openBare starts a daemon and a backend with an image of one empty disk: its machines are defined, never
// started.
func openBare(t testing.TB) *bench {
	t.Helper()
	d := libvirttest.Start(t)
	disk := filepath.Join(t.TempDir(), "empty.qcow2")
	out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", disk, "64M").CombinedOutput()
	require.NoError(t, err, string(out))
	b := &bench{d: d, key: newKey(t)}
	b.env = environment(t, d, libvirttest.WriteCatalogue(t, t.TempDir(), libvirttest.Guest{Name: "empty", Disk: disk,
		User: "berth", Arch: "amd64"}))
	b.Backend = b.again(t)
	return b
}

// defined makes a machine that is switched off.
func (b *bench) defined(t testing.TB, s backend.Spec) backend.Machine {
	t.Helper()
	_, err := b.define(t.Context(), s)
	require.NoError(t, err)
	m, err := b.Get(t.Context(), refOf(s))
	require.NoError(t, err)
	require.Equal(t, api.StateStopped, m.State)
	return m
}

func TestAgainstADaemon(t *testing.T) {
	b := openBare(t)
	for name, f := range map[string]func(*testing.T, *bench){
		"whole": testWhole, "foreign": testForeign, "behind": testBehind, "leftovers": testLeftovers, "cut": testCut,
		"earlier": testEarlier,
		"names":   testNames, "refusals": testRefusals, "sealed": testSealed, "checks": testChecks, "change": testChange,
		"remote": testRemote, "pool": testPool, "wrongpool": testWrongPool, "otherpool": testOtherPool, "space": testNoSpace,
		"planned": testPlanned, "retag": testRetag,
	} {
		t.Run(name, func(t *testing.T) { f(t, b) })
	}
}

// testWhole looks at all of a machine that the workspace shows.
func testWhole(t *testing.T, b *bench) {
	s := b.spec("empty")
	s.DiskBytes, s.SSH, s.Tags[backend.TagOwner] = 3<<30, true, "ada"
	m := b.defined(t, s)
	require.Equal(t, uuidText(uuidOf(s.Token)), m.ID)
	require.Equal(t, "berth-"+s.Name, m.Name)
	require.Equal(t, []any{s.Token, "t1", "empty", "ada", "berth", true, 1, int64(128 << 20), int64(3 << 30)},
		[]any{m.Token, m.Size, m.Image, m.Owner, m.User, m.SSHEnabled, m.VCPUs, m.MemoryBytes, m.DiskBytes})
	require.Equal(t, s.Tags, m.Tags)
	require.WithinDuration(t, time.Now(), m.CreatedAt, time.Minute)
	require.Nil(t, m.Line.SSH, "a machine that is off can't be reached")
	all, err := b.List(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, m, all[0])

	// The XML holds to libvirt's own schema, and the overlay holds no copy of the image.
	dom, err := call(t.Context(), b.Backend, "", func(l *golibvirt.Libvirt) (golibvirt.Domain, error) {
		return l.DomainLookupByUUID(uuidOf(s.Token))
	})
	require.NoError(t, err)
	text, err := call(t.Context(), b.Backend, "", func(l *golibvirt.Libvirt) (string, error) {
		return l.DomainGetXMLDesc(dom, 0)
	})
	require.NoError(t, err)
	_, err = call(t.Context(), b.Backend, "", func(l *golibvirt.Libvirt) (golibvirt.Domain, error) {
		return l.DomainDefineXMLFlags(text, golibvirt.DomainDefineValidate)
	})
	require.NoError(t, err)
	var info struct {
		Backing string `json:"full-backing-filename"`
		Actual  int64  `json:"actual-size"`
		Virtual int64  `json:"virtual-size"`
	}
	out, err := exec.Command("qemu-img", "info", "--output=json", filepath.Join(b.d.Pool, volName(b.env.HomeID, s.Token,
		volDisk))).Output()
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(out, &info))
	require.Contains(t, info.Backing, basePrefix)
	require.Less(t, info.Actual, int64(1<<20))
	require.Equal(t, int64(3<<30), info.Virtual)
	require.NoError(t, b.Delete(t.Context(), refOf(s)))
	b.gone(t)
}

// testRetag changes the tags of a machine; another home, which knows it already, hears of it.
func testRetag(t *testing.T, b *bench) {
	s, other := b.spec("empty"), b.spec("empty")
	s.Tags[backend.TagWorkspace] = "one"
	was := b.defined(t, s)
	b.defined(t, other)
	told := make(chan string, 100)
	env := b.env
	env.HomeID, env.Changed = "fedcba9876543210", func(id string) { told <- id }
	theirs, err := New(env)
	require.NoError(t, err)
	seen := func() map[string]string {
		all, err := theirs.List(t.Context())
		require.NoError(t, err)
		require.Len(t, all, 2)
		for _, m := range all {
			if m.ID == was.ID {
				return m.Tags
			}
		}
		return nil
	}
	require.Equal(t, "one", seen()[backend.TagWorkspace])
	tags := map[string]string{backend.TagWorkspace: "two", "a": "<&>\"'"}
	require.NoError(t, b.Retag(t.Context(), refOf(s), tags))
	for id := range told {
		if id == was.ID {
			break
		}
	}
	require.Equal(t, tags, seen())
	now, err := b.Get(t.Context(), refOf(s))
	require.NoError(t, err)
	require.Equal(t, tags, now.Tags)
	now.Tags = was.Tags
	require.Equal(t, was, now, "nothing else has changed")
	require.ErrorIs(t, b.Retag(t.Context(), backend.Ref{Token: "none"}, tags), backend.ErrNotFound)
	require.NoError(t, b.Retag(t.Context(), refOf(s), nil))
	require.Empty(t, seen())
	require.NoError(t, b.Delete(t.Context(), refOf(s)))
	require.NoError(t, b.Delete(t.Context(), refOf(other)))
}

// testForeign has domains that are not Berth's, one of them with the name that a machine would have, one
// with its UUID.
func testForeign(t *testing.T, b *bench) {
	s, u := b.spec("empty"), b.spec("empty")
	l := b.d.Connect()
	for _, x := range []string{
		"<domain type='qemu'><name>berth-" + s.Name +
			"</name><memory>65536</memory><os><type arch='x86_64'>hvm</type></os></domain>",
		"<domain type='qemu'><name>other</name><uuid>" + uuidText(uuidOf(u.Token)) +
			"</uuid><memory>65536</memory><os><type arch='x86_64'>hvm</type></os></domain>",
	} {
		dom, err := l.DomainDefineXML(x)
		require.NoError(t, err)
		defer func() {
			_, err := l.DomainLookupByUUID(dom.UUID)
			require.NoError(t, err, "a domain of somebody else was removed")
			require.NoError(t, l.DomainUndefine(dom))
		}()
		ref := backend.Ref{ID: uuidText(dom.UUID)}
		for name, f := range map[string]func() error{
			"get":   func() error { _, err := b.Get(t.Context(), ref); return err },
			"start": func() error { return b.Start(t.Context(), ref) },
			"stop":  func() error { return b.Stop(t.Context(), ref) }, "force": func() error {
				return b.ForceStop(t.Context(),
					ref)
			},
			"seal": func() error { return b.Seal(t.Context(), ref) }, "snapshot": func() error {
				return b.Snapshot(t.Context(),
					ref, "x")
			},
		} {
			require.ErrorIs(t, f(), backend.ErrNotFound, name)
		}
		require.NoError(t, b.Delete(t.Context(), ref))
	}
	m := b.defined(t, s)
	require.NotEqual(t, "berth-"+s.Name, m.Name)
	all, err := b.List(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	_, err = b.define(t.Context(), u)
	require.ErrorContains(t, err, "already")
	require.NoError(t, b.Delete(t.Context(), refOf(u)))
	require.NoError(t, b.Delete(t.Context(), refOf(s)))
}

// testBehind removes and renames domains behind Berth's back.
func testBehind(t *testing.T, b *bench) {
	s, r := b.spec("empty"), b.spec("empty")
	b.defined(t, s)
	b.defined(t, r)
	l := b.d.Connect()
	dom, err := l.DomainLookupByUUID(uuidOf(r.Token))
	require.NoError(t, err)
	_, err = l.DomainRename(dom, golibvirt.OptString{"renamed"}, 0)
	require.NoError(t, err)
	m, err := b.Get(t.Context(), refOf(r))
	require.NoError(t, err)
	require.Equal(t, "renamed", m.Name)
	dom, err = l.DomainLookupByUUID(uuidOf(s.Token))
	require.NoError(t, err)
	require.NoError(t, l.DomainUndefine(dom))
	_, err = b.Get(t.Context(), refOf(s))
	require.ErrorIs(t, err, backend.ErrNotFound)
	all, err := b.List(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.NoError(t, b.Delete(t.Context(), refOf(s)))
	require.NoError(t, b.Delete(t.Context(), refOf(r)))
	b.gone(t)
}

// testLeftovers finds the volumes of a machine whose domain is gone, and nothing else.
func testLeftovers(t *testing.T, b *bench) {
	s, kept := b.spec("empty"), b.spec("empty")
	b.defined(t, s)
	b.defined(t, kept)
	l := b.d.Connect()
	for _, sp := range []backend.Spec{s, kept} {
		dom, err := l.DomainLookupByUUID(uuidOf(sp.Token))
		require.NoError(t, err)
		require.NoError(t, l.DomainUndefine(dom))
	}
	known := func(token string) bool { return token == kept.Token }
	left, err := b.Leftovers(t.Context(), known)
	require.NoError(t, err)
	require.Len(t, left, 3)
	for _, x := range left {
		require.Equal(t, b.env.HomeID, x.Home)
		require.Contains(t, x.ID, s.Token)
		require.NoError(t, b.RemoveLeftover(t.Context(), x.ID))
		require.NoError(t, b.RemoveLeftover(t.Context(), x.ID))
	}
	require.Error(t, b.RemoveLeftover(t.Context(), "berth-base.x"))
	left, err = b.Leftovers(t.Context(), known)
	require.NoError(t, err)
	require.Empty(t, left)
	require.NoError(t, b.Delete(t.Context(), refOf(kept)))
	b.gone(t)
}

// testCut begins with an image and a disk that were cut off.
func testCut(t *testing.T, b *bench) {
	s := b.spec("empty")
	b.defined(t, s)
	require.NoError(t, b.Delete(t.Context(), refOf(s)))
	marks, err := filepath.Glob(filepath.Join(b.d.Pool, basePrefix+"*"+sidecarEnd))
	require.NoError(t, err)
	require.Len(t, marks, 1)
	base := marks[0][:len(marks[0])-len(sidecarEnd)]
	whole, err := os.ReadFile(base)
	require.NoError(t, err)
	mark, err := os.ReadFile(marks[0])
	require.NoError(t, err)
	for name, cut := range map[string]func(){
		"no mark": func() { require.NoError(t, os.Remove(marks[0])) },
		"half mark": func() {
			require.NoError(t, os.WriteFile(marks[0], append(mark[:len(mark)/2:len(mark)/2], make([]byte, len(mark)/2)...),
				0o600))
		},
	} {
		cut()
		require.NoError(t, os.WriteFile(base, whole[:len(whole)/2], 0o600))
		n := b.again(t)
		images, err := n.Images(t.Context())
		require.NoError(t, err, name)
		require.False(t, images[0].Cached, name)
		half := filepath.Join(b.d.Pool, volName(b.env.HomeID, s.Token, volDisk))
		require.NoError(t, os.WriteFile(half, []byte("half a disk"), 0o600))
		require.NoError(t, os.Chown(half, b.d.UID, -1))
		require.NoError(t, n.Prepare(t.Context(), s, nil), name)
		_, err = n.define(t.Context(), s)
		require.NoError(t, err, name)
		now, err := os.ReadFile(base)
		require.NoError(t, err)
		require.Equal(t, whole, now, name)
		out, err := exec.Command("qemu-img", "check", filepath.Join(b.d.Pool, volName(b.env.HomeID, s.Token,
			volDisk))).CombinedOutput()
		require.NoError(t, err, string(out))
		require.NoError(t, b.Delete(t.Context(), refOf(s)))
	}
	b.gone(t)
}

// testEarlier keeps, takes back and copies the disk of a machine that is off.
func testEarlier(t *testing.T, b *bench) {
	s, clone := b.spec("empty"), b.spec("")
	b.defined(t, s)
	require.NoError(t, b.Snapshot(t.Context(), refOf(s), "one"))
	require.NoError(t, b.Snapshot(t.Context(), refOf(s), "two"))
	require.ErrorIs(t, b.Snapshot(t.Context(), refOf(s), "one"), backend.ErrConflict)
	require.NoError(t, b.Restore(t.Context(), refOf(s), "one"))
	require.ErrorIs(t, b.Restore(t.Context(), refOf(s), "three"), backend.ErrNotFound)
	snaps, err := b.Snapshots(t.Context(), refOf(s))
	require.NoError(t, err)
	require.Len(t, snaps, 2)
	for _, sn := range snaps {
		require.Equal(t, sn.Name == "one", sn.Current)
		require.False(t, sn.Memory)
		require.WithinDuration(t, time.Now(), sn.CreatedAt, time.Minute)
	}
	require.NoError(t, b.DeleteSnapshot(t.Context(), refOf(s), "two"))
	require.NoError(t, b.DeleteSnapshot(t.Context(), refOf(s), "two"))

	from := refOf(s)
	clone.From, clone.DiskBytes = &from, 2<<30
	m := b.defined(t, clone)
	require.Equal(t, int64(2<<30), m.DiskBytes)
	require.Equal(t, "empty", m.Image)

	require.ErrorIs(t, b.BuildImage(t.Context(), refOf(s), api.Image{Name: "empty"}, nil), backend.ErrConflict)
	for _, profiles := range [][]string{{"a"}, {"b"}} {
		require.NoError(t, b.BuildImage(t.Context(), refOf(s), api.Image{Name: "base.1", Profiles: profiles}, nil))
	}
	require.ErrorIs(t, b.BuildImage(t.Context(), refOf(clone), api.Image{Name: "base.1"}, nil), backend.ErrConflict)
	images, err := b.Images(t.Context())
	require.NoError(t, err)
	last := images[len(images)-1]
	require.Equal(t, []any{"base.1", "built", s.Name, []string{"b"}, true, "berth"}, []any{last.Name, last.Origin,
		last.Source, last.Profiles, last.Cached, last.User})
	on := b.spec("base.1")
	b.defined(t, on)
	err = b.DeleteImage(t.Context(), "base.1")
	require.ErrorIs(t, err, backend.ErrRefused)
	require.ErrorContains(t, err, on.Name)
	require.ErrorIs(t, b.DeleteImage(t.Context(), "empty"), backend.ErrRefused)
	// A newer one leaves the older to the machine that lies on it.
	require.NoError(t, b.BuildImage(t.Context(), refOf(s), api.Image{Name: "base.1"}, nil))
	disks, err := filepath.Glob(filepath.Join(b.d.Pool, madePrefix+"*.qcow2"))
	require.NoError(t, err)
	require.Len(t, disks, 2)
	for _, sp := range []backend.Spec{on, s, clone} {
		require.NoError(t, b.Delete(t.Context(), refOf(sp)))
	}
	require.NoError(t, b.DeleteImage(t.Context(), "base.1"))
	require.ErrorIs(t, b.DeleteImage(t.Context(), "base.1"), backend.ErrNotFound)
	require.NoError(t, b.DeleteImage(t.Context(), "empty"))
	b.gone(t)
	files, err := os.ReadDir(b.d.Pool)
	require.NoError(t, err)
	require.Empty(t, files)
}

// testNames makes two machines of one name: both are there.
func testNames(t *testing.T, b *bench) {
	one, two := b.spec("empty"), b.spec("empty")
	two.Name = one.Name
	a, c := b.defined(t, one), b.defined(t, two)
	require.NotEqual(t, a.Name, c.Name)
	require.NotEqual(t, a.ID, c.ID)
	for _, s := range []backend.Spec{one, two} {
		require.NoError(t, b.Delete(t.Context(), refOf(s)))
	}
}

// testRefusals asks for what can't be.
func testRefusals(t *testing.T, b *bench) {
	for name, change := range map[string]func(s *backend.Spec){
		"size":    func(s *backend.Spec) { s.Size = "none" },
		"image":   func(s *backend.Spec) { s.Image = "none" },
		"disk":    func(s *backend.Spec) { s.DiskBytes = 1 << 20 },
		"network": func(s *backend.Spec) { s.Subnet = "none" },
		"subnet":  func(s *backend.Spec) { s.Subnet = "bridge:" },
		"gpu":     func(s *backend.Spec) { s.Size = "gpu-1" },
	} {
		s := b.spec("empty")
		change(&s)
		err := b.Prepare(t.Context(), s, nil)
		require.Error(t, err, name)
		require.NotEmpty(t, api.AsError(err).Message, name)
		_, err = b.Create(t.Context(), s)
		require.Error(t, err, name)
	}
	s := b.spec("empty")
	s.Access = nil
	_, err := b.Create(t.Context(), s)
	require.ErrorContains(t, err, "key")
	s.Token = "a b"
	_, err = b.Create(t.Context(), s)
	require.ErrorContains(t, err, "token")
	b.gone(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, b.Prepare(ctx, b.spec("empty"), nil), context.Canceled)
}

// testSealed writes the seed again over a longer one.
func testSealed(t *testing.T, b *bench) {
	s := b.spec("empty")
	b.defined(t, s)
	seed := filepath.Join(b.d.Pool, volName(b.env.HomeID, s.Token, volSeed))
	before, err := os.ReadFile(seed)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(seed, append(before, []byte("-----BEGIN OPENSSH PRIVATE KEY-----")...), 0o600))
	require.NoError(t, b.Seal(t.Context(), refOf(s)))
	after, err := os.ReadFile(seed)
	require.NoError(t, err)
	require.NotContains(t, string(after), "PRIVATE KEY")
	require.Contains(t, string(after), s.Token)
	require.NoError(t, b.Delete(t.Context(), refOf(s)))
	require.ErrorIs(t, b.Seal(t.Context(), refOf(s)), backend.ErrNotFound)
}

func testChecks(t *testing.T, b *bench) {
	seen, says := map[string]string{}, map[string]string{}
	before := b.cfg.sizes
	defer func() { b.cfg.sizes = before }()
	b.cfg.sizes = filepath.Join(t.TempDir(), "sizes.toml")
	require.NoError(t, os.WriteFile(b.cfg.sizes,
		[]byte("[[size]]\nname='big'\nvcpus=4000\nmemory='60TiB'\n[[size]]\nname='tiny'\nvcpus=1\nmemory='64MiB'\n"), 0o600))
	for _, c := range b.Check(t.Context()) {
		says[c.Name] = c.Message
		require.Contains(t, []string{"ok", "info", "warn", "fail"}, c.Status)
		require.NotEmpty(t, c.Message)
		seen[c.Name] = c.Status
	}
	require.Equal(t, "ok", seen["libvirtd"])
	require.Equal(t, "info", seen["acceleration"])
	require.Equal(t, "ok", seen["network"])
	require.Contains(t, seen, "pool")
	require.Equal(t, "warn", seen["size big"])
	require.Regexp(t, `it has \d+ of 4000 vCPUs, it has .* of 60 TiB of memory`, says["size big"])
	require.NotContains(t, seen, "size tiny")
	require.Contains(t, says["sizes"], "gpu-8", "of Berth's own in one line")
}

// testChange redefines a machine, keeping what others have written into its metadata.
func testChange(t *testing.T, b *bench) {
	s := b.spec("empty")
	b.defined(t, s)
	l := b.d.Connect()
	dom, err := l.DomainLookupByUUID(uuidOf(s.Token))
	require.NoError(t, err)
	require.NoError(t, l.DomainSetMetadata(dom, int32(golibvirt.DomainMetadataElement),
		golibvirt.OptString{"<mine a='1'/>"}, golibvirt.OptString{"o"}, golibvirt.OptString{"urn:other"},
		golibvirt.DomainAffectConfig))
	b.ports.refuse(b.port(s.Token), time.Now())
	port := b.port(s.Token)
	require.NoError(t, b.movePort(t.Context(), dom, port))
	text, err := l.DomainGetXMLDesc(dom, 0)
	require.NoError(t, err)
	require.Contains(t, text, "urn:other")
	require.Contains(t, text, fmt.Sprintf("hostfwd=tcp:127.0.0.1:%d-:22", port))
	e, err := b.entry(t.Context(), dom)
	require.NoError(t, err)
	require.Equal(t, port, e.meta.Port)
	require.NoError(t, b.Delete(t.Context(), refOf(s)))
}

// testPlanned edits the files of sizes and images between the steps of a create: it goes on with what it was planned
// with. One that an older build began looks them up again.
func testPlanned(t *testing.T, b *bench) {
	s := b.spec("empty")
	var err error
	s.Plan, err = b.Plan(t.Context(), s)
	require.NoError(t, err)
	old := b.spec("empty")
	kept := map[string][]byte{}
	for _, f := range []string{b.cfg.images, b.cfg.sizes} {
		kept[f], err = os.ReadFile(f)
		require.NoError(t, err)
	}
	defer func() {
		for f, text := range kept {
			require.NoError(t, os.WriteFile(f, text, 0o600))
		}
	}()
	write := func(images, sizes string) {
		require.NoError(t, os.WriteFile(b.cfg.images, []byte(images), 0o600))
		require.NoError(t, os.WriteFile(b.cfg.sizes, []byte(sizes), 0o600))
	}
	other := filepath.Join(t.TempDir(), "other.qcow2")
	out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", other, "2G").CombinedOutput()
	require.NoError(t, err, string(out))

	require.NoError(t, b.Prepare(t.Context(), s, nil))
	for name, edit := range map[string]func(){
		"removed": func() { write("", "") },
		"broken":  func() { write("[[image]]\ncolour = 1\n", "[[size]]\n") },
		"replaced": func() {
			write(fmt.Sprintf("[[image]]\nname = 'empty'\narch = 'amd64'\nuser = 'eve'\npath = %q\n", other),
				"[[size]]\nname='t1'\nvcpus=2\nmemory='256MiB'\n")
		},
	} {
		edit()
		n := b.again(t) // another daemon
		require.NoError(t, n.Prepare(t.Context(), s, nil), name)
		_, err = n.define(t.Context(), s)
		require.NoError(t, err, name)
		m, err := n.Get(t.Context(), refOf(s))
		require.NoError(t, err)
		require.Equal(t, []any{"empty", "berth", "t1", 1, int64(128 << 20), int64(1 << 30)}, []any{m.Image, m.User, m.Size,
			m.VCPUs, m.MemoryBytes, m.DiskBytes}, name)
		require.NoError(t, b.Delete(t.Context(), refOf(s)))
		if name == "removed" {
			require.ErrorContains(t, n.Prepare(t.Context(), old, nil), `no size "t1"`)
		}
	}
	for f, text := range kept {
		require.NoError(t, os.WriteFile(f, text, 0o600))
	}
	require.NoError(t, b.Prepare(t.Context(), old, nil))
	old.Plan = []byte("{")
	require.ErrorContains(t, b.Prepare(t.Context(), old, nil), "what "+old.Name+" was planned with")
	b.gone(t)
}

// TestADiskThatIsTooSmallIsRefusedBeforeTheCopy has an image that is not in the pool yet.
func TestADiskThatIsTooSmallIsRefusedBeforeTheCopy(t *testing.T) {
	b := openBare(t)
	s := b.spec("empty") // 64 MiB
	s.DiskBytes = 64<<20 - 512
	for _, f := range []func() error{
		func() error { return b.Validate(t.Context(), s) },
		func() error { return b.Prepare(t.Context(), s, nil) },
		func() error { return b.Validate(t.Context(), s) }, // the pool is there now
	} {
		err := f()
		require.ErrorIs(t, err, &api.Error{Code: api.CodeUsage})
		require.Equal(t, "the smallest is --disk 64MiB", api.AsError(err).Hint)
	}
	files, err := filepath.Glob(filepath.Join(b.d.Pool, "*"))
	require.NoError(t, err)
	require.Empty(t, files, "the image was not copied")
	s.DiskBytes = 64 << 20
	require.NoError(t, b.Validate(t.Context(), s))
	require.NoError(t, b.Prepare(t.Context(), s, nil))
}

// TestAVolumeThatWasDeletedIsNamed deletes the files of a machine behind it.
func TestAVolumeThatWasDeletedIsNamed(t *testing.T) {
	b := openBare(t)
	s := b.spec("empty")
	b.defined(t, s)
	dom, e, err := b.lookup(t.Context(), refOf(s))
	require.NoError(t, err)
	machine := func() (out []api.Check) {
		for _, c := range b.Check(t.Context()) {
			if c.Name == "machine "+s.Name {
				out = append(out, c)
			}
		}
		return out
	}
	require.Empty(t, machine())
	p, err := b.openPool(t.Context(), false)
	require.NoError(t, err)
	all := e.files(p)
	require.Len(t, all, 3)
	for _, f := range all {
		require.FileExists(t, f.path)
		require.NoError(t, os.Rename(f.path, f.path+".away"))
		err := b.run(t.Context(), dom, e)
		require.ErrorContains(t, err, "its "+f.what+" "+f.path+" was deleted outside Berth")
		require.Equal(t, f.means, api.AsError(err).Hint)
		said := machine()
		require.Len(t, said, 1, f.what)
		require.Equal(t, "fail", said[0].Status)
		require.Contains(t, said[0].Message, f.path)
		require.NoError(t, os.Rename(f.path+".away", f.path))
	}
	require.Empty(t, machine())
	require.NoError(t, b.Delete(t.Context(), refOf(s)))
}

// TestAPauseIsTold pauses a machine behind the backend, which tells of it without being asked.
func TestAPauseIsTold(t *testing.T) {
	b := openBare(t)
	told := make(chan string, 100)
	b.env.Changed = func(id string) { told <- id }
	b.Backend = b.again(t)
	s := b.spec("empty")
	m := b.defined(t, s)
	require.NoError(t, b.Start(t.Context(), refOf(s)))
	hear := func() {
		for id := range told {
			if id == m.ID {
				return
			}
		}
	}
	hear()
	l := b.d.Connect()
	dom, err := l.DomainLookupByUUID(uuidOf(s.Token))
	require.NoError(t, err)
	for len(told) > 0 {
		<-told
	}
	require.NoError(t, l.DomainSuspend(dom))
	hear()
	m, err = b.Get(t.Context(), refOf(s))
	require.NoError(t, err)
	require.Equal(t, api.StateUnusable, m.State)
	require.Contains(t, m.Reason, "paused")
	require.NoError(t, b.ForceStop(t.Context(), refOf(s)))
	require.NoError(t, b.Delete(t.Context(), refOf(s)))
}
