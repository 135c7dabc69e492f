package libvirttest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"

	"berth/backend/base/flock"
)

// nobody is the user as whom the daemon runs where the tests run as root. libvirt wants one that has a
// name.
const nobody = 65534

// startLimit is for the first start, which asks every qemu on the machine what it can do: 9 s on an idle
// one.
const startLimit = 2 * time.Minute

// Daemon is a running session libvirtd.
type Daemon struct {
	Dir    string // its folder, short, owned by its user
	Pool   string // a folder in it for a storage pool
	Socket string
	URI    string // qemu:///session?socket=…
	UID    int    // its user
	t      testing.TB
	cmd    *exec.Cmd
	done   chan struct{}
	lock   *os.File
}

// Start starts a libvirtd, which ends with the test, as do its machines. It skips the test where libvirtd
// or qemu is missing.
func Start(t testing.TB) *Daemon {
	t.Helper()
	for _, p := range []string{"libvirtd", "qemu-system-x86_64", "qemu-img"} {
		if _, err := look(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
	sweep()
	dir, err := os.MkdirTemp("/tmp", "bv-")
	if err != nil {
		t.Fatal(err)
	}
	d := &Daemon{Dir: dir, Pool: filepath.Join(dir, "pool"), UID: os.Getuid(), t: t}
	if d.UID == 0 {
		d.UID = nobody
	}
	t.Cleanup(d.end)
	if d.lock, err = lockDir(dir); err != nil {
		t.Fatal(err)
	}
	d.Socket = filepath.Join(dir, "run", "libvirt", "libvirt-sock")
	d.URI = "qemu:///session?socket=" + url.QueryEscape(d.Socket)
	if err := d.prepare(); err != nil {
		t.Fatalf("preparing a libvirtd in %s: %v", dir, err)
	}
	d.start()
	d.saveCapabilities()
	return d
}

// Kill ends the daemon at once, as kill -9 does. Its machines go on.
func (d *Daemon) Kill() {
	d.t.Helper()
	d.stop()
}

// Launch starts the daemon again after Kill and does not wait until it answers.
func (d *Daemon) Launch() {
	d.t.Helper()
	d.launch()
}

// Restart starts the daemon again, killing it before if it runs.
func (d *Daemon) Restart() {
	d.t.Helper()
	d.stop()
	d.start()
}

// Connect returns a connection of its own to the daemon, closed with the test.
func (d *Daemon) Connect() *libvirt.Libvirt {
	d.t.Helper()
	l := libvirt.NewWithDialer(dialers.NewLocal(dialers.WithSocket(d.Socket)))
	if err := l.ConnectToURI(libvirt.QEMUSession); err != nil {
		d.t.Fatalf("connecting to the libvirtd in %s: %v", d.Dir, err)
	}
	d.t.Cleanup(func() { _ = l.Disconnect() })
	return l
}

// Log returns what the daemon has written.
func (d *Daemon) Log() string {
	b, _ := os.ReadFile(filepath.Join(d.Dir, "libvirtd.log"))
	return string(b)
}

func look(program string) (string, error) {
	if p, err := exec.LookPath(program); err == nil {
		return p, nil
	}
	return exec.LookPath(filepath.Join("/usr/sbin", program))
}

func (d *Daemon) prepare() error {
	conf := filepath.Join(d.Dir, "config", "libvirt")
	for _, p := range []string{conf, filepath.Join(d.Dir, "run"), filepath.Join(d.Dir, "cache", "libvirt", "qemu", "cache",
		"capabilities"), filepath.Join(d.Dir, "data"), d.Pool} {
		if err := os.MkdirAll(p, 0o755); err != nil {
			return err
		}
	}
	// No machine may find a group, a device or a daemon of the system's.
	qemu := "stdio_handler = \"file\"\nsecurity_driver = \"none\"\nsecurity_default_confined = 0\nnamespaces = [ ]\ncgroup_controllers = [ ]\nmax_core = 0\n"
	lv := "auth_unix_ro = \"none\"\nauth_unix_rw = \"none\"\nlog_outputs = \"2:file:" + filepath.Join(d.Dir,
		"libvirtd.log") + "\"\n"
	for name, text := range map[string]string{"qemu.conf": qemu, "libvirtd.conf": lv} {
		if err := os.WriteFile(filepath.Join(conf, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if ownFolder(capabilityCache()) {
		copyCapabilities(capabilityCache(), filepath.Join(d.Dir, "cache", "libvirt", "qemu", "cache", "capabilities"))
	}
	if err := os.Chmod(d.Dir, 0o755); err != nil {
		return err
	}
	return filepath.WalkDir(d.Dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil || d.UID == os.Getuid() {
			return err
		}
		return os.Lchown(p, d.UID, d.UID)
	})
}

func (d *Daemon) launch() {
	d.t.Helper()
	d.dropHalfStarted()
	program, err := look("libvirtd")
	if err != nil {
		d.t.Fatal(err)
	}
	d.cmd = exec.Command(program, "-p", filepath.Join(d.Dir, "run", "lv.pid"))
	d.cmd.Dir = d.Dir
	d.cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=" + d.Dir,
		"XDG_RUNTIME_DIR=" + filepath.Join(d.Dir, "run"), "XDG_CONFIG_HOME=" + filepath.Join(d.Dir, "config"),
		"XDG_CACHE_HOME=" + filepath.Join(d.Dir, "cache"), "XDG_DATA_HOME=" + filepath.Join(d.Dir, "data"),
	}
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if d.UID != os.Getuid() {
		d.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(d.UID), Gid: uint32(d.UID)}
	}
	if err := d.cmd.Start(); err != nil {
		d.t.Fatalf("starting libvirtd: %v", err)
	}
	d.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) { _ = cmd.Wait(); close(done) }(d.cmd, d.done)
}

func (d *Daemon) start() {
	d.t.Helper()
	d.launch()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	for {
		err := d.answers()
		if err == nil {
			return
		}
		select {
		case <-d.done:
			d.t.Fatalf("libvirtd ended at its start: %v\n%s", d.cmd.ProcessState, d.Log())
		case <-ctx.Done():
			d.t.Fatalf("libvirtd did not answer within %s: %v\n%s", startLimit, err, d.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// answers makes a call that needs the daemon to know its qemus.
func (d *Daemon) answers() error {
	c, err := net.Dial("unix", d.Socket)
	if err != nil {
		return err
	}
	l := libvirt.NewWithDialer(dialers.NewAlreadyConnected(c))
	defer c.Close()
	if err := l.ConnectToURI(libvirt.QEMUSession); err != nil {
		return err
	}
	defer func() { _ = l.Disconnect() }()
	_, err = l.ConnectGetCapabilities()
	return err
}

func (d *Daemon) stop() {
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Kill()
	<-d.done
	d.cmd = nil
}

func (d *Daemon) end() {
	if d.t.Failed() {
		d.t.Logf("libvirtd's log:\n%s", tail(d.Log(), 4<<10))
	}
	d.stop()
	if err := killAll(d.Dir); err != nil {
		d.t.Error(err)
	}
	if err := os.RemoveAll(d.Dir); err != nil {
		d.t.Error(err)
	}
	if d.lock != nil {
		_ = d.lock.Close()
	}
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// killAll ends every process whose arguments or environment name the folder: the daemon and its machines.
func killAll(dir string) error {
	deadline := time.Now().Add(20 * time.Second)
	for {
		left := 0
		procs, err := os.ReadDir("/proc")
		if err != nil {
			return err
		}
		for _, p := range procs {
			var pid int
			if _, err := fmt.Sscanf(p.Name(), "%d", &pid); err != nil || pid <= 1 || pid == os.Getpid() {
				continue
			}
			env, err := os.ReadFile(filepath.Join("/proc", p.Name(), "environ"))
			if err != nil || !strings.Contains(string(env), "="+dir+"/") {
				continue
			}
			left++
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if left == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes of %s do not end", left, dir)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// lockDir marks the folder as one whose test runs.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	return f, flock.Try(f)
}

// sweep removes what tests left that were killed.
func sweep() {
	dirs, _ := filepath.Glob("/tmp/bv-*")
	for _, dir := range dirs {
		if _, err := os.Lstat(filepath.Join(dir, "lock")); errors.Is(err, fs.ErrNotExist) {
			// Its test may be about to lock it.
			if fi, err := os.Lstat(dir); err != nil || time.Since(fi.ModTime()) < time.Hour {
				continue
			}
		}
		f, err := lockDir(dir)
		if err == nil {
			_ = killAll(dir)
			_ = os.RemoveAll(dir)
		}
		if f != nil {
			_ = f.Close()
		}
	}
}
