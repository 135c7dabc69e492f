package paths

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/adrg/xdg"
)

// Home is one user's Berth on this host. All fields are absolute paths.
type Home struct {
	Root    string // what identifies the home: BERTH_HOME, or the XDG state folder
	Config  string // folder of config.toml, profiles, …
	State   string // the store, logs, bin; on a local file system, per host
	Data    string // local instances
	Run     string // sockets
	Network string // why State was moved, if Root is on a network file system
}

// Find returns the home of this process: BERTH_HOME, else the XDG folders.
func Find() (Home, error) {
	root := os.Getenv("BERTH_HOME")
	if root == "" {
		return fromXDG()
	}
	return At(root)
}

// At returns the home that keeps everything under root.
func At(root string) (Home, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return Home{}, fmt.Errorf("resolving BERTH_HOME %q: %w", root, err)
	}
	return resolve(abs, abs, filepath.Join(abs, "state"), filepath.Join(abs, "instances"))
}

func fromXDG() (Home, error) {
	xdg.Reload()
	if h := os.Getenv("HOME"); h == "" || !filepath.IsAbs(h) {
		return Home{}, errors.New("neither BERTH_HOME nor an absolute HOME is set: Berth does not know where to keep its state")
	}
	state := filepath.Join(xdg.StateHome, "berth")
	return resolve(state, filepath.Join(xdg.ConfigHome, "berth"), state, filepath.Join(xdg.DataHome, "berth", "instances"))
}

func resolve(root, config, state, data string) (Home, error) {
	h := Home{Root: root, Config: config, Data: data}
	// A home reached through two names (a symlink) is one home.
	real := root
	if r, err := filepath.EvalSymlinks(root); err == nil {
		real = r
	}
	sum := sha256.Sum256([]byte(real))
	h.Run = filepath.Join(RunBase(), hex.EncodeToString(sum[:8]))
	state, why, err := LocalState(state)
	if err != nil {
		return Home{}, err
	}
	h.State, h.Network = filepath.Join(state, "hosts", MachineID()), why
	return h, nil
}

// RunBase is the folder of this user's sockets on this host.
func RunBase() string { return filepath.Join("/tmp", "berth-"+strconv.Itoa(os.Getuid())) }

// LocalState returns dir if it lies on a local file system. On a network file system it returns the
// first of /var/lib/berth/UID and /var/tmp/berth-UID that can be used, and why.
func LocalState(dir string) (path, why string, err error) {
	uid := strconv.Itoa(os.Getuid())
	return localState(dir, NetworkFS, filepath.Join("/var/lib/berth", uid), "/var/tmp/berth-"+uid)
}

// localState is LocalState with what tells network file systems, and the folders to turn to.
func localState(dir string, networkFS func(string) string, bases ...string) (path, why string, err error) {
	fstype := networkFS(dir)
	if fstype == "" {
		return dir, "", nil
	}
	why = fmt.Sprintf("%s is on %s", dir, fstype)
	sum := sha256.Sum256([]byte(dir))
	for _, base := range bases {
		if err := PrivateDir(base); err == nil && networkFS(base) == "" {
			return filepath.Join(base, hex.EncodeToString(sum[:8])), why, nil
		}
	}
	return "", why, fmt.Errorf("%s, where a database is not safe, and neither of %s can be used: set BERTH_HOME to a folder on a local disk", why, strings.Join(bases, ", "))
}

// MachineID identifies this host: the first 12 hex digits of a hash of /etc/machine-id, or of the
// host name where there is none.
func MachineID() string {
	id := ""
	for _, p := range []string{"/etc/machine-id", "/var/lib/dbus/machine-id"} {
		if b, err := os.ReadFile(p); err == nil && len(strings.TrimSpace(string(b))) > 0 {
			id = strings.TrimSpace(string(b))
			break
		}
	}
	if id == "" {
		id, _ = os.Hostname()
	}
	// machine-id(5) asks not to show the id itself.
	sum := sha256.Sum256([]byte("berth:" + id))
	return hex.EncodeToString(sum[:6])
}

// PrivateDir makes dir with mode 0700 and checks that it belongs to this user, is no symlink and is
// closed to others: a folder below /tmp might have been made by somebody else first.
func PrivateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	fi, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !fi.IsDir() || (ok && int(st.Uid) != os.Getuid()) {
		return fmt.Errorf("%s is not a folder of this user: somebody else made it; remove it or ask an administrator", dir)
	}
	if fi.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(dir, 0o700); err != nil {
			return fmt.Errorf("closing %s to other users: %w", dir, err)
		}
	}
	return nil
}

// MissingAbove lists the folders above path that are not there, innermost first: who makes them can take note of them.
func MissingAbove(path string) (out []string) {
	for d := filepath.Dir(path); d != filepath.Dir(d) && !Exists(d); d = filepath.Dir(d) {
		out = append(out, d)
	}
	return out
}

// Prepare makes the folders of the home, private to the user.
func (h Home) Prepare() error {
	for _, d := range []string{h.State, h.Data, h.Bin()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return fmt.Errorf("making Berth's folder: %w", err)
		}
	}
	return h.PrepareRun()
}

// PrepareRun makes the folder of sockets; /tmp cleaners may have removed it at any time.
func (h Home) PrepareRun() error {
	if err := PrivateDir(filepath.Dir(h.Run)); err != nil {
		return fmt.Errorf("making the folder for sockets: %w", err)
	}
	if err := PrivateDir(h.Run); err != nil {
		return fmt.Errorf("making the folder for sockets: %w", err)
	}
	return nil
}

// ConfigFile is the path of config.toml.
func (h Home) ConfigFile() string { return filepath.Join(h.Config, "config.toml") }

// DaemonSocket is the daemon's unix socket.
func (h Home) DaemonSocket() string { return filepath.Join(h.Run, "daemon.sock") }

// DaemonLock is the file whose flock makes the daemon the only one of its home.
func (h Home) DaemonLock() string { return filepath.Join(h.State, "daemon.lock") }

// StartLock is the file whose flock decides which client starts the daemon.
func (h Home) StartLock() string { return filepath.Join(h.State, "start.lock") }

// Store is the path of the SQLite store.
func (h Home) Store() string { return filepath.Join(h.State, "berth.db") }

// Log is the daemon's log file.
func (h Home) Log() string { return filepath.Join(h.State, "daemon.log") }

// Key is the file of the workspace's SSH key.
func (h Home) Key() string { return filepath.Join(h.State, "keys", "workspace") }

// Bin is the folder of content-addressed copies of programs.
func (h Home) Bin() string { return filepath.Join(h.State, "bin") }

// Exists reports whether path exists; other errors count as existing, so that nothing is overwritten.
func Exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
