// Package enginetest runs a real Podman for tests, with all that it has in a folder of its own.
package enginetest

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Image is the one that it has: busybox, and nothing else.
const Image = "localhost/bb:1"

// Podman is a Podman with its service.
type Podman struct {
	Socket   string
	Registry string // a registry that has no image at all
	t        testing.TB
	dir      string
	serves   *exec.Cmd
}

// configuration is for hosts that are containers themselves: the usual limits of processes can't be set there, nor
// networks be made.
const configuration = `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "none"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
`

// Start starts one. Where there can be none the test is skipped, and says why.
func Start(t testing.TB) *Podman {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: Podman is run as root here")
	}
	for _, name := range []string{"podman", "runc", "busybox"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("needs %s: apt-get install podman runc busybox-static", name)
		}
	}
	dir, err := os.MkdirTemp("", "pod") // short: sockets are in it
	require.NoError(t, err)
	p := &Podman{t: t, dir: dir, Socket: filepath.Join(dir, "p.sock")}
	t.Cleanup(p.end)
	require.NoError(t, os.WriteFile(p.path("containers.conf"), []byte(configuration), 0o600))
	registry := httptest.NewServer(http.HandlerFunc(nothing))
	t.Cleanup(registry.Close)
	p.Registry = registry.Listener.Addr().String()
	require.NoError(t, os.WriteFile(p.path("registries.conf"),
		fmt.Appendf(nil, "[[registry]]\nlocation = %q\ninsecure = true\n", p.Registry), 0o600))
	rootfs := p.path("rootfs.tar")
	require.NoError(t, writeRootfs(rootfs))
	p.Run("import", rootfs, Image)
	p.Serve()
	return p
}

func (p *Podman) path(name string) string { return filepath.Join(p.dir, name) }

// nothing is a registry without images.
func nothing(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v2/" {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusNotFound)
	_, _ = io.WriteString(w, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`)
}

// Command is a call of its program.
func (p *Podman) Command(args ...string) *exec.Cmd {
	all := append([]string{"--root", p.path("root"), "--runroot", p.path("run"), "--tmpdir", p.path("tmp"),
		"--storage-driver", "vfs"}, args...)
	cmd := exec.Command("podman", all...)
	cmd.Dir = p.dir // a container that is ended for want of memory leaves a file there
	cmd.Env = append(os.Environ(), "CONTAINERS_CONF="+p.path("containers.conf"),
		"CONTAINERS_REGISTRIES_CONF="+p.path("registries.conf"), "TMPDIR="+p.dir)
	return cmd
}

// Run runs its program, which is to succeed, and returns what that prints.
func (p *Podman) Run(args ...string) string {
	p.t.Helper()
	cmd := p.Command(args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	require.NoError(p.t, err, "podman %s: %s", strings.Join(args, " "), errs.String())
	return strings.TrimSpace(string(out))
}

// Serve starts its service.
func (p *Podman) Serve() {
	p.t.Helper()
	log, err := os.OpenFile(p.path("service.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(p.t, err)
	defer log.Close()
	p.serves = p.Command("system", "service", "--time=0", "unix://"+p.Socket)
	p.serves.Stdout, p.serves.Stderr = log, log
	require.NoError(p.t, p.serves.Start())
	deadline := time.Now().Add(time.Minute)
	for {
		c, err := new(net.Dialer).DialContext(context.Background(), "unix", p.Socket)
		if err == nil {
			_ = c.Close()
			return
		}
		require.True(p.t, time.Now().Before(deadline), "Podman's service does not answer: %v", err)
		time.Sleep(5 * time.Millisecond)
	}
}

// Kill kills its service; containers go on.
func (p *Podman) Kill() {
	if p.serves != nil {
		_ = p.serves.Process.Kill()
		_ = p.serves.Wait()
		p.serves = nil
	}
}

// Names are those of its containers, also of those that have ended.
func (p *Podman) Names() []string {
	p.t.Helper()
	return strings.Fields(p.Run("ps", "--all", "--format", "{{.Names}}"))
}

func (p *Podman) end() {
	out, err := p.Command("rm", "--all", "--force", "--time", "0").CombinedOutput()
	if err != nil {
		p.t.Logf("removing what is left: %v: %s", err, out)
	}
	p.Kill()
	if p.t.Failed() {
		b, _ := os.ReadFile(p.path("service.log"))
		p.t.Logf("Podman's service said: %s", b)
	}
	if err := os.RemoveAll(p.dir); err != nil {
		p.t.Errorf("removing Podman's folder: %v", err)
	}
}

// writeRootfs writes an image's files: busybox under all its names.
func writeRootfs(path string) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	names, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return fmt.Errorf("%s --list: %w", busybox, err)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := tar.NewWriter(f)
	for _, dir := range []string{"bin/", "tmp/", "etc/", "proc/", "dev/", "sys/"} {
		if err := w.WriteHeader(&tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o777}); err != nil {
			return err
		}
	}
	if err := w.WriteHeader(&tar.Header{Name: "bin/busybox", Mode: 0o755, Size: int64(len(program))}); err != nil {
		return err
	}
	if _, err := w.Write(program); err != nil {
		return err
	}
	for _, name := range strings.Fields(string(names)) {
		if name == "busybox" {
			continue
		}
		h := &tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
	}
	return w.Close()
}
