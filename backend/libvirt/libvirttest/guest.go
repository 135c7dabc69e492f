package libvirttest

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"
)

//go:embed guests
var scripts embed.FS

// Guest is a test guest: a qcow2 root disk that is booted with a kernel of its own. Its files are shared
// between tests and read-only for them.
type Guest struct {
	Name    string // tiny, deaf, fast or cloud
	Disk    string // path of the qcow2 image
	Kernel  string
	Initrd  string
	Cmdline string
	User    string // the login user that its catalogue entry names
	Arch    string // as Go names it
	SHA256  string // of Disk
}

// The guests, by name.
const (
	Tiny  = "tiny"  // busybox and dropbear; 5 s to a login under emulation
	Deaf  = "deaf"  // tiny, but it ignores the power button
	Fast  = "fast"  // Debian with OpenSSH, sudo, bash, tmux, cron and the guest agent, without systemd
	Cloud = "cloud" // Debian with systemd and cloud-init
)

const exitMissing = 77 // of build.sh: a program is not installed

// GetGuest returns a guest, built if it is not in the cache ($BERTH_GUESTS, else berth-guests in the user's
// cache folder, for root in /var/cache). It skips the test where that can't be.
func GetGuest(t testing.TB, name string) Guest {
	t.Helper()
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skipf("the test guests run on linux/amd64 only, not %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	dir := t.TempDir()
	entries, err := scripts.ReadDir("guests")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := fs.ReadFile(scripts, "guests/"+e.Name())
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, e.Name()), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", filepath.Join(dir, "build.sh"), name)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == exitMissing {
			t.Skipf("the guest %s can't be built: %s", name, strings.TrimSpace(stderr.String()))
		}
		if os.Getuid() != 0 {
			t.Skipf("needs root: the guest %s could not be built: %v: %s", name, err, stderr.String())
		}
		t.Fatalf("building the guest %s: %v\n%s", name, err, stderr.String())
	}
	out := strings.TrimSpace(stdout.String())
	read := func(file string) string {
		b, err := os.ReadFile(filepath.Join(out, file))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	return Guest{
		Name: name, Disk: filepath.Join(out, "disk.qcow2"), Kernel: filepath.Join(out, "vmlinuz"), Initrd: filepath.Join(out,
			"initrd"),
		Cmdline: read("cmdline"), User: read("user"), Arch: read("arch"), SHA256: read("sha256"),
	}
}

// WriteCatalogue writes an images.toml for these guests into dir and returns its path. The first guest is
// the default image.
func WriteCatalogue(t testing.TB, dir string, guests ...Guest) string {
	t.Helper()
	type entry struct {
		Name        string `toml:"name"`
		Description string `toml:"description"`
		Arch        string `toml:"arch"`
		User        string `toml:"user"`
		Path        string `toml:"path"`
		SHA256      string `toml:"sha256"`
		Default     bool   `toml:"default"`
		Kernel      string `toml:"kernel"`
		Initrd      string `toml:"initrd"`
		Cmdline     string `toml:"cmdline"`
	}
	var file struct {
		Image []entry `toml:"image"`
	}
	for i, g := range guests {
		file.Image = append(file.Image, entry{
			Name: g.Name, Description: fmt.Sprintf("the test guest %s", g.Name), Arch: g.Arch, User: g.User, Path: g.Disk,
			SHA256:  g.SHA256,
			Default: i == 0, Kernel: g.Kernel, Initrd: g.Initrd, Cmdline: g.Cmdline,
		})
	}
	b, err := toml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "images.toml")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
