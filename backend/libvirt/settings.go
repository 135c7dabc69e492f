package libvirt

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"berth/backend"
	"berth/backend/api"
)

// settings is the section of the configuration, checked.
type settings struct {
	uri      uri
	set      bool // the uri is the user's, not the default
	pool     string
	poolPath string // "": where libvirt keeps images
	network  string // as network.go reads it
	accel    string // auto, kvm or emulate
	gpus     string // devices that the host uses and that may be taken
	sizes    string // file
	sizesSet bool
	images   string // file
	graceful bool   // ForceStop lets qemu write out its caches first
}

// uri is a connection URI that Berth can follow.
type uri struct {
	text    string
	session bool
	host    *backend.SSHTarget // nil: this host
	socket  string             // "": the usual ones
}

// defaultURI is where machines are made when the configuration does not say.
const defaultURI = "qemu:///system"

var plainName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`) })

// parseSettings reads the section [backend.libvirt]; configDir is where sizes.toml and images.toml are.
func parseSettings(m map[string]string, configDir string) (settings, error) {
	s := settings{set: m["uri"] != "" && m["uri"] != defaultURI, pool: or(m["pool"], "berth"), poolPath: m["pool_path"],
		network: or(m["network"], "auto"),
		accel:   or(m["accel"], "auto"), gpus: m["gpus"], sizes: m["sizes"], sizesSet: m["sizes"] != "",
		images: filepath.Join(configDir, "images.toml"), graceful: true}
	for k := range m {
		if !slices.Contains([]string{"uri", "pool", "pool_path", "network", "accel", "gpus", "sizes", "graceful"}, k) {
			return s, bad(k, m[k], "there is no such setting")
		}
	}
	var err error
	if s.uri, err = parseURI(or(m["uri"], defaultURI)); err != nil {
		return s, err
	}
	if s.sizes == "" {
		s.sizes = filepath.Join(configDir, "sizes.toml")
	}
	switch {
	case !plainName().MatchString(s.pool):
		return s, bad("pool", s.pool, "a name of letters, digits, - _ . is wanted")
	case s.poolPath != "" && !filepath.IsAbs(s.poolPath):
		return s, bad("pool_path", s.poolPath, "an absolute path on libvirtd's host is wanted")
	case !slices.Contains([]string{"auto", "kvm", "emulate"}, s.accel):
		return s, bad("accel", s.accel, "it must be auto, kvm or emulate")
	}
	if g := m["graceful"]; g != "" {
		if s.graceful, err = strconv.ParseBool(g); err != nil {
			return s, bad("graceful", g, "it must be true or false")
		}
	}
	_, err = parseNetwork(s.network)
	return s, err
}

func bad(key, value, why string) error {
	return api.Errorf(api.CodeUsage, "backend.libvirt.%s is %q: %s", key, value, why).
		WithHint("berth help config lists the settings")
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// parseURI reads a libvirt connection URI.
func parseURI(s string) (uri, error) {
	u := uri{text: s}
	p, err := url.Parse(s)
	if err != nil {
		return u, bad("uri", s, "it can't be read")
	}
	switch p.Path {
	case "/system":
	case "/session":
		u.session = true
	default:
		return u, bad("uri", s, "it must end with /system or /session")
	}
	q := p.Query()
	for k := range q {
		if k != "socket" {
			return u, bad("uri", s, "the only parameter that is understood is socket=PATH")
		}
	}
	if u.socket = q.Get("socket"); u.socket != "" && !filepath.IsAbs(u.socket) {
		return u, bad("uri", s, "the socket must be an absolute path")
	}
	switch p.Scheme {
	case "qemu", "qemu+unix":
		if p.Host != "" || p.User != nil {
			return u, bad("uri", s, "a host needs qemu+ssh://")
		}
		return u, nil
	case "qemu+ssh":
	default:
		return u, bad("uri", s, "it must be qemu:///system, qemu:///session or qemu+ssh://user@host/system")
	}
	if p.Hostname() == "" || strings.HasPrefix(p.Hostname(), "-") || strings.HasPrefix(p.User.Username(), "-") {
		return u, bad("uri", s, "the host is missing")
	}
	if u.session && u.socket == "" {
		return u, bad("uri", s, "a session daemon on another host needs socket=PATH")
	}
	u.host = &backend.SSHTarget{Host: p.Hostname(), User: p.User.Username()}
	if p.Port() != "" {
		u.host.Port, err = strconv.Atoi(p.Port())
		if err != nil || u.host.Port < 1 || u.host.Port > 65535 {
			return u, bad("uri", s, "the port must be 1 to 65535")
		}
	}
	return u, nil
}

// virsh begins a command line of virsh for this libvirtd.
func (u uri) virsh() string {
	if strings.ContainsAny(u.text, "?*[&;$' ") {
		return "virsh -c '" + strings.ReplaceAll(u.text, "'", `'\''`) + "'"
	}
	return "virsh -c " + u.text
}

// look says how to see whether its libvirtd runs.
func (u uri) look() string {
	if u.session || u.socket != "" {
		return "see whether libvirtd runs there: " + u.virsh() + " list"
	}
	return "see whether libvirtd runs there: systemctl status libvirtd virtqemud"
}

// via is the host of a remote libvirtd as SSHTarget.Via takes it; "" for this host.
func (u uri) via() string {
	if u.host == nil {
		return ""
	}
	h := u.host.Host
	switch {
	case u.host.Port != 0:
		h = net.JoinHostPort(h, strconv.Itoa(u.host.Port))
	case strings.Contains(h, ":"):
		h = "[" + h + "]"
	}
	if u.host.User != "" {
		h = u.host.User + "@" + h
	}
	return h
}

// sockets are the sockets to try: of the one daemon and of the modular one.
func (u uri) sockets() []string {
	if u.socket != "" {
		return []string{u.socket}
	}
	dir := "/run/libvirt"
	if u.session {
		dir = filepath.Join(runtimeDir(), "libvirt")
	}
	return []string{filepath.Join(dir, "libvirt-sock"), filepath.Join(dir, "virtqemud-sock")}
}

// runtimeDir is where a session daemon of this user has its socket, as libvirt finds it.
func runtimeDir() string {
	if d := os.Getenv("XDG_RUNTIME_DIR"); d != "" {
		return d
	}
	if d := "/run/user/" + strconv.Itoa(os.Getuid()); isDir(d) {
		return d
	}
	return or(os.Getenv("XDG_CACHE_HOME"), filepath.Join(os.Getenv("HOME"), ".cache"))
}

// dataDir is where a session daemon of this user keeps its images.
func dataDir() string {
	return or(os.Getenv("XDG_DATA_HOME"), filepath.Join(os.Getenv("HOME"), ".local", "share"))
}

func isDir(p string) bool {
	fi, err := os.Stat(p)
	return err == nil && fi.IsDir()
}
