//go:build vm

package libvirt

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/backendtest"
	"berth/backend/libvirt/libvirttest"
)

const patience = 5 * time.Minute

// openVM starts a daemon and a backend whose images are these guests.
func openVM(t *testing.T, guests ...string) *bench {
	t.Helper()
	d := libvirttest.Start(t)
	var gs []libvirttest.Guest
	for _, g := range guests {
		gs = append(gs, libvirttest.GetGuest(t, g))
	}
	b := &bench{d: d, key: newKey(t)}
	b.env = environment(t, d, libvirttest.WriteCatalogue(t, t.TempDir(), gs...))
	b.Backend = b.again(t)
	return b
}

// withKey sets what the workspace sets: how to get in.
type withKey struct {
	*Backend
	key ssh.Signer
}

func (w withKey) Create(ctx context.Context, s backend.Spec) (backend.Machine, error) {
	s.Access = access(w.key)
	return w.Backend.Create(ctx, s)
}

func TestSuite(t *testing.T) {
	b := openVM(t, libvirttest.Tiny)
	backendtest.Suite{
		Open: func(t *testing.T) backend.Backend { return withKey{b.again(t), b.key} },
		Wait: 2 * time.Minute,
	}.Run(t)
}

// await polls until the machine has the state.
func (b *bench) await(t *testing.T, ref backend.Ref, want api.State) backend.Machine {
	t.Helper()
	end := time.Now().Add(patience)
	for {
		m, err := b.Get(t.Context(), ref)
		require.NoError(t, err)
		if m.State == want {
			return m
		}
		require.True(t, time.Now().Before(end), "state %s (%s), want %s", m.State, m.Reason, want)
		time.Sleep(20 * time.Millisecond)
	}
}

// login waits until the machine can be signed in to, and runs a command there. hostKey is what it must
// show; nil: anything.
func (b *bench) login(t *testing.T, m backend.Machine, hostKey ssh.PublicKey, command string) string {
	t.Helper()
	check := ssh.InsecureIgnoreHostKey()
	if hostKey != nil {
		check = ssh.FixedHostKey(hostKey)
	}
	s := m.Line.SSH
	require.NotNil(t, s)
	require.True(t, s.Made)
	end := time.Now().Add(patience)
	for {
		out, err := trySSH(net.JoinHostPort(s.Host, strconv.Itoa(s.Port)), &ssh.ClientConfig{User: s.User,
			Auth: []ssh.AuthMethod{ssh.PublicKeys(b.key)}, HostKeyCallback: check,
			HostKeyAlgorithms: []string{ssh.KeyAlgoED25519}}, command)
		if err == nil {
			return strings.TrimSpace(out)
		}
		require.True(t, time.Now().Before(end), "no login: %v", err)
		time.Sleep(50 * time.Millisecond)
	}
}

func trySSH(addr string, c *ssh.ClientConfig, command string) (string, error) {
	nc, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return "", err
	}
	defer nc.Close()
	// A forwarded port accepts at once and is silent until the guest is up.
	_ = nc.SetDeadline(time.Now().Add(3 * time.Second))
	var first [1]byte
	if _, err := nc.Read(first[:]); err != nil {
		return "", err
	}
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	cc, ch, rq, err := ssh.NewClientConn(&unread{Conn: nc, b: first[:]}, addr, c)
	if err != nil {
		return "", err
	}
	cl := ssh.NewClient(cc, ch, rq)
	defer cl.Close()
	se, err := cl.NewSession()
	if err != nil {
		return "", err
	}
	defer se.Close()
	out, err := se.CombinedOutput(command)
	return string(out), err
}

type unread struct {
	net.Conn
	b []byte
}

func (u *unread) Read(p []byte) (int, error) {
	if len(u.b) > 0 {
		n := copy(p, u.b)
		u.b = u.b[n:]
		return n, nil
	}
	return u.Conn.Read(p)
}

func hostKey(t *testing.T) (string, ssh.PublicKey) {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	block, err := ssh.MarshalPrivateKey(priv, "")
	require.NoError(t, err)
	p, err := ssh.NewPublicKey(pub)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(block)), p
}

// TestMachine takes one machine through what a user does with it.
func TestMachine(t *testing.T) {
	b := openVM(t, libvirttest.Tiny)
	s := b.spec("tiny")
	var hk ssh.PublicKey
	s.Access.HostKey, hk = hostKey(t)
	s.Access.HostKeyPublic = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(hk)))
	var said []backend.Progress
	require.NoError(t, b.Prepare(t.Context(), s, func(p backend.Progress) { said = append(said, p) }))
	require.NotEmpty(t, said)
	images, err := b.Images(t.Context())
	require.NoError(t, err)
	require.True(t, images[0].Cached)

	began := time.Now()
	m, err := b.Create(t.Context(), s)
	require.NoError(t, err)
	t.Logf("create: %s", time.Since(began))
	require.Equal(t, api.StateRunning, m.State)
	require.Equal(t, s.Name, b.login(t, m, hk, "hostname"))
	t.Logf("first login: %s", time.Since(began))
	require.Equal(t, 1, m.VCPUs)
	require.Equal(t, int64(128<<20), m.MemoryBytes)
	require.Equal(t, int64(1<<30), m.DiskBytes)

	console, err := b.Console(t.Context(), refOf(s))
	require.NoError(t, err)
	require.Contains(t, string(console), "tiny: ready")

	seed := filepath.Join(b.d.Pool, volName(b.env.HomeID, s.Token, volSeed))
	text, err := os.ReadFile(seed)
	require.NoError(t, err)
	require.Contains(t, string(text), "PRIVATE KEY")
	for range 2 {
		require.NoError(t, b.Seal(t.Context(), refOf(s)))
		text, err = os.ReadFile(seed)
		require.NoError(t, err)
		require.NotContains(t, string(text), "PRIVATE KEY")
	}

	// A restart and a stop leave what is on the disk, and the host key.
	b.login(t, m, hk, "echo kept > /persist/file; sync")
	boot := b.login(t, m, hk, "cat /proc/sys/kernel/random/boot_id")
	require.NoError(t, b.Restart(t.Context(), refOf(s)))
	require.Eventually(t, func() bool { return b.login(t, m, hk, "cat /proc/sys/kernel/random/boot_id") != boot },
		patience, 100*time.Millisecond)
	require.NoError(t, b.ForceRestart(t.Context(), refOf(s)))

	// One that somebody has paused can't shut down.
	dom, _, err := b.lookup(t.Context(), refOf(s))
	require.NoError(t, err)
	pause := func(f func(l *golibvirt.Libvirt) error) {
		t.Helper()
		_, err := call(t.Context(), b.Backend, "pausing it", func(l *golibvirt.Libvirt) (struct{}, error) {
			return struct{}{}, f(l)
		})
		require.NoError(t, err)
	}
	pause(func(l *golibvirt.Libvirt) error { return l.DomainSuspend(dom) })
	err = b.Stop(t.Context(), refOf(s))
	require.ErrorIs(t, err, &api.Error{Code: api.CodeRefused})
	require.Contains(t, api.AsError(err).Hint, "berth stop "+s.Name+" --force")
	pause(func(l *golibvirt.Libvirt) error { return l.DomainResume(dom) })
	require.NoError(t, b.Stop(t.Context(), refOf(s)))
	b.await(t, refOf(s), api.StateStopped)
	require.NoError(t, b.Start(t.Context(), refOf(s)))
	m = b.await(t, refOf(s), api.StateRunning)
	require.Equal(t, "kept", b.login(t, m, hk, "cat /persist/file"))
	require.NoError(t, b.Delete(t.Context(), refOf(s)))
	b.gone(t)
}

// TestManySideBySide makes machines at once, twenty in the long form: none fails and none gets the port of another.
func TestManySideBySide(t *testing.T) {
	b := openVM(t, libvirttest.Tiny)
	specs := make([]backend.Spec, 8)
	if os.Getenv("BERTH_CHAOS") != "" {
		specs = make([]backend.Spec, 20)
	}
	made := make([]backend.Machine, len(specs))
	errs := make([]error, len(specs))
	var wg sync.WaitGroup
	began := time.Now()
	for i := range specs {
		specs[i] = b.spec("tiny")
		wg.Go(func() { made[i], errs[i] = b.Create(t.Context(), specs[i]) })
	}
	wg.Wait()
	t.Logf("the creates: %s", time.Since(began))
	ports := map[int]bool{}
	for i, err := range errs {
		require.NoError(t, err)
		require.False(t, ports[made[i].Port], "port %d twice", made[i].Port)
		ports[made[i].Port] = true
	}
	for i, m := range made {
		wg.Go(func() {
			if got := b.login(t, m, nil, "hostname"); got != specs[i].Name {
				t.Errorf("%s answers on the port of %s", got, specs[i].Name)
			}
		})
	}
	wg.Wait()
	t.Logf("the logins: %s", time.Since(began))
	for i := range specs {
		wg.Go(func() { errs[i] = b.Delete(context.Background(), refOf(specs[i])) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	b.gone(t)
}

// TestPortTaken has something else on the port that a machine would get, at its creation and at a start.
func TestPortTaken(t *testing.T) {
	b := openVM(t, libvirttest.Tiny)
	s := b.spec("tiny")
	take := func(port int) net.Listener {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		require.NoError(t, err)
		t.Cleanup(func() { l.Close() })
		return l
	}
	var other portCache
	first := other.choose(s.Token, nil, time.Now())
	take(first)
	m, err := b.Create(t.Context(), s)
	require.NoError(t, err)
	require.NotEqual(t, first, m.Port)
	b.login(t, m, nil, "true")
	require.NoError(t, b.ForceStop(t.Context(), refOf(s)))
	take(m.Port)
	require.NoError(t, b.Start(t.Context(), refOf(s)))
	again, err := b.Get(t.Context(), refOf(s))
	require.NoError(t, err)
	require.NotEqual(t, m.Port, again.Port)
	b.login(t, again, nil, "true")
	require.NoError(t, b.Delete(t.Context(), refOf(s)))
	b.gone(t)
}

// TestDeaf switches off a machine that does not react to the power button.
func TestDeaf(t *testing.T) {
	b := openVM(t, libvirttest.Deaf)
	s := b.spec("deaf")
	m, err := b.Create(t.Context(), s)
	require.NoError(t, err)
	b.login(t, m, nil, "true")
	require.NoError(t, b.Stop(t.Context(), refOf(s)))
	require.Never(t, func() bool {
		got, err := b.Get(t.Context(), refOf(s))
		return err != nil || got.State != api.StateRunning
	}, 5*time.Second, 500*time.Millisecond)
	require.NoError(t, b.ForceStop(t.Context(), refOf(s)))
	b.await(t, refOf(s), api.StateStopped)
	require.NoError(t, b.ForceStop(t.Context(), refOf(s)))
	require.NoError(t, b.Delete(t.Context(), refOf(s)))
	b.gone(t)
}

// TestPanic finds a machine whose kernel has panicked unusable, or silent, with the reason on its console.
func TestPanic(t *testing.T) {
	b := openVM(t, libvirttest.Tiny)
	s := b.spec("tiny")
	catalogue, err := os.ReadFile(b.cfg.images)
	require.NoError(t, err)
	catalogue = bytes.Replace(catalogue, []byte("cmdline = '"), []byte("cmdline = 'berth.test=panic "), 1)
	require.Contains(t, string(catalogue), "berth.test=panic")
	require.NoError(t, os.WriteFile(b.cfg.images, catalogue, 0o600))
	_, err = b.Create(t.Context(), s)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		c, err := b.Console(t.Context(), refOf(s))
		return err == nil && bytes.Contains(c, []byte("Kernel panic"))
	}, patience, 100*time.Millisecond)
	m, err := b.Get(t.Context(), refOf(s))
	require.NoError(t, err)
	t.Logf("state %s: %s", m.State, m.Reason)
	require.NoError(t, b.ForceStop(t.Context(), refOf(s)))
	b.await(t, refOf(s), api.StateStopped)
	require.NoError(t, b.Delete(t.Context(), refOf(s)))
	b.gone(t)
}

// TestEarlierStates takes a machine back, copies it and makes an image of it.
func TestEarlierStates(t *testing.T) {
	b := openVM(t, libvirttest.Tiny)
	s := b.spec("tiny")
	m, err := b.Create(t.Context(), s)
	require.NoError(t, err)
	b.login(t, m, nil, "echo one > /persist/file; echo ram > /tmp/ram; sync")
	require.NoError(t, b.Snapshot(t.Context(), refOf(s), "before"))
	require.ErrorIs(t, b.Snapshot(t.Context(), refOf(s), "before"), backend.ErrConflict)
	b.login(t, m, nil, "echo two > /persist/file; rm /tmp/ram; sync")
	require.NoError(t, b.Restore(t.Context(), refOf(s), "before"))
	m = b.await(t, refOf(s), api.StateRunning)
	require.Equal(t, "one ram", strings.ReplaceAll(b.login(t, m, nil, "cat /persist/file /tmp/ram"), "\n", " "))
	snaps, err := b.Snapshots(t.Context(), refOf(s))
	require.NoError(t, err)
	require.Len(t, snaps, 1)
	require.True(t, snaps[0].Memory)
	require.True(t, snaps[0].Current)

	clone := b.spec("")
	from := refOf(s)
	clone.From = &from
	_, err = b.Create(t.Context(), clone)
	require.ErrorIs(t, err, backend.ErrRefused)
	require.ErrorIs(t, b.BuildImage(t.Context(), refOf(s), api.Image{Name: "base"}, nil), backend.ErrRefused)
	b.login(t, m, nil, "sync")
	require.NoError(t, b.Stop(t.Context(), refOf(s)))
	b.await(t, refOf(s), api.StateStopped)
	cm, err := b.Create(t.Context(), clone)
	require.NoError(t, err)
	require.Equal(t, clone.Name+" one", strings.ReplaceAll(b.login(t, cm, nil, "hostname; cat /persist/file"), "\n", " "))

	require.NoError(t, b.BuildImage(t.Context(), refOf(s), api.Image{Name: "base", Profiles: []string{"p"}}, nil))
	require.NoError(t, b.BuildImage(t.Context(), refOf(s), api.Image{Name: "base", Profiles: []string{"q"}}, nil))
	require.NoError(t, b.Delete(t.Context(), refOf(s)))
	third := b.spec("base")
	tm, err := b.Create(t.Context(), third)
	require.NoError(t, err)
	require.Equal(t, third.Name+" one", strings.ReplaceAll(b.login(t, tm, nil, "hostname; cat /persist/file"), "\n", " "))
	require.ErrorIs(t, b.DeleteImage(t.Context(), "base"), backend.ErrRefused)
	require.NoError(t, b.Delete(t.Context(), refOf(third)))
	require.NoError(t, b.DeleteImage(t.Context(), "base"))
	require.NoError(t, b.Delete(t.Context(), refOf(clone)))
	b.gone(t)
	files, err := filepath.Glob(filepath.Join(b.d.Pool, "berth-image.*"))
	require.NoError(t, err)
	require.Empty(t, files)
}

// TestKilled ends a call at each of its points, as a kill does, and repeats it with another backend.
func TestKilled(t *testing.T) {
	b := openVM(t, libvirttest.Tiny)
	for _, point := range FaultPoints() {
		t.Run(point, func(t *testing.T) {
			s := b.spec("tiny")
			env := b.env
			hit := false
			env.Fault = func(p string) {
				if p == point {
					hit = true
					runtime.Goexit()
				}
			}
			dying, err := New(env)
			require.NoError(t, err)
			run := func(f func() error) {
				done := make(chan struct{})
				go func() { defer close(done); _ = f() }()
				<-done
			}
			run(func() error { _, err := dying.Create(t.Context(), s); return err })
			if strings.HasPrefix(point, "libvirt.delete.") {
				run(func() error { return dying.Delete(t.Context(), refOf(s)) })
			} else {
				_, err := b.Create(t.Context(), s)
				require.NoError(t, err)
				b.await(t, refOf(s), api.StateRunning)
			}
			require.True(t, hit)
			require.NoError(t, b.Delete(t.Context(), refOf(s)))
			b.gone(t)
		})
	}
}

// TestDaemonKilled kills libvirtd in the middle of a create.
func TestDaemonKilled(t *testing.T) {
	b := openVM(t, libvirttest.Tiny)
	for _, point := range FaultPoints()[:4] {
		t.Run(point, func(t *testing.T) {
			s := b.spec("tiny")
			env := b.env
			env.Fault = func(p string) {
				if p == point {
					b.d.Kill()
				}
			}
			dying, err := New(env)
			require.NoError(t, err)
			_, err = dying.Create(t.Context(), s)
			require.ErrorIs(t, err, backend.ErrUnreachable)
			_, err = b.List(t.Context())
			require.ErrorIs(t, err, backend.ErrUnreachable, "a list without an answer is no empty list")
			b.d.Restart()
			m, err := b.Create(t.Context(), s)
			require.NoError(t, err)
			b.login(t, m, nil, "true")
			require.NoError(t, b.Delete(t.Context(), refOf(s)))
			b.gone(t)
		})
	}
}

// TestDaemonRestarted finds a running machine again after libvirtd was killed.
func TestDaemonRestarted(t *testing.T) {
	b := openVM(t, libvirttest.Tiny)
	s := b.spec("tiny")
	_, err := b.Create(t.Context(), s)
	require.NoError(t, err)
	b.d.Restart()
	m := b.await(t, refOf(s), api.StateRunning)
	b.login(t, m, nil, "true")
	require.NoError(t, b.Stop(t.Context(), refOf(s)))
	b.await(t, refOf(s), api.StateStopped)
	require.NoError(t, b.Delete(t.Context(), refOf(s)))
	b.gone(t)
}
