package cloudinit

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"text/template"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"

	"berth/assets"
	"berth/backend/api"
)

// Config is what a machine is told at its first boot.
type Config struct {
	// InstanceID tells cloud-init whether this is a new machine: with the same one, what is done once for
	// each instance is not done again.
	InstanceID string
	Hostname   string
	User       string // the login user; gets root by sudo, and no password
	// AuthorizedKeys are lines of authorized_keys; at least one.
	AuthorizedKeys []string
	// HostKey is the private SSH host key (ed25519) as OpenSSH PEM, HostKeyPublic its public half as a line
	// of authorized_keys. Both empty: a sealed seed, which leaves the machine's host keys alone.
	HostKey       string
	HostKeyPublic string

	// Copied: the disk is a copy of another machine's. What makes that one itself is made anew at the first
	// boot, before services of users start: its machine-id, and what its agent keeps (commands at boot
	// included).
	Copied bool

	// Agent, if not nil, is handed in: it is put into the user's folder and started as soon as there is a
	// user, and listens on AgentSocket.
	Agent *Agent

	Groups   []string // further groups of the user; nil: adm and video
	Shell    string   // empty: /bin/bash
	Mounts   []Mount
	Packages []string // installed at first boot; this needs the network
}

// Agent is a build of Berth's agent for the machine.
type Agent struct {
	Name    string    // what its file is called
	Args    []string  // what stands before its subcommands
	Hash    string    // SHA-256, 64 hex digits
	Built   time.Time // the time of its file
	Program []byte    // the file; nil where only the text of the seed is wanted
}

// AgentSocket is where an agent that was handed in listens, for whoever does not know its user's folders.
const AgentSocket = "/var/lib/berth/agent.sock"

// Mount is a file system to mount at every boot.
type Mount struct {
	Device  string // "/dev/vdc", "LABEL=data", "server:/export"
	Path    string // absolute
	Type    string // empty: auto
	Options string // empty: defaults,nofail
}

// Fields are the six fields of its line in fstab.
func (m Mount) Fields() []string {
	or := func(s, d string) string {
		if s == "" {
			return d
		}
		return s
	}
	return []string{m.Device, m.Path, or(m.Type, "auto"), or(m.Options, "defaults,nofail"), "0", "2"}
}

// Identity is the script that makes anew what a copied disk has of another machine: the machine-id, what
// was leased under it, and the records and start lines of the other machine's agent.
func (c Config) Identity() string {
	return `rm -f /etc/machine-id /var/lib/dbus/machine-id /var/lib/dhcp/*.leases
systemd-machine-id-setup >/dev/null 2>&1 || tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
[ ! -d /var/lib/dbus ] || ln -sf /etc/machine-id /var/lib/dbus/machine-id
h=$(getent passwd ` + c.User + ` | cut -d: -f6)
[ -n "$h" ] || exit 0
rm -rf "$h/.local/state/berth" "$h/.config/systemd/user/berth-agent.service" "$h"/.config/systemd/user/*.wants/berth-agent.service
if command -v crontab >/dev/null && crontab -u ` + c.User + ` -l 2>/dev/null | grep -q "berth agent"; then
  crontab -u ` + c.User + ` -l | grep -v "berth agent" | grep -v "/.local/state/berth/hosts/" | crontab -u ` + c.User + ` -
fi
# What had the network under the other machine's id asks again under its own.
if command -v systemctl >/dev/null; then systemctl try-restart systemd-networkd 2>/dev/null || :; fi`
}

// HandIn is the script that takes the agent from the seed.
func (c Config) HandIn() string {
	return `m=/run/berth-seed
for l in cidata CIDATA; do d=$(blkid -L $l 2>/dev/null); [ -z "$d" ] || break; done
mkdir -p $m
if [ -n "$d" ] && mount -o ro "$d" $m; then sh $m/` + agentScript + ` $m; umount $m; fi`
}

var (
	userName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`) })
	hostName = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)
	})
	instanceID = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`) })
	agentName  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`) })
	agentHash  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-f]{64}$`) })
	pkgName    = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9][a-zA-Z0-9+.:~=_-]*$`) })
)

// check refuses what cloud-init, or the programs that it calls, would take for something else.
func (c Config) check() error {
	if !instanceID().MatchString(c.InstanceID) {
		return fmt.Errorf("the instance id %q: letters, digits and . _ - only", c.InstanceID)
	}
	if !hostName().MatchString(c.Hostname) {
		return fmt.Errorf("the host name %q: letters, digits and - only, at most 63", c.Hostname)
	}
	if !userName().MatchString(c.User) {
		return fmt.Errorf("the user name %q: small letters, digits, _ and - only, at most 32", c.User)
	}
	if c.Shell != "" && (!path.IsAbs(c.Shell) || strings.ContainsAny(c.Shell, " :\t\r\n\x00")) {
		return fmt.Errorf("the shell %q: an absolute path without spaces and colons", c.Shell)
	}
	for _, g := range c.Groups {
		if !userName().MatchString(g) {
			return fmt.Errorf("the group %q: small letters, digits, _ and - only", g)
		}
	}
	if len(c.AuthorizedKeys) == 0 {
		return errors.New("no key is given: nobody could sign in")
	}
	for _, k := range c.AuthorizedKeys {
		if err := checkKey(k); err != nil {
			return fmt.Errorf("the key %.60q: %w", k, err)
		}
	}
	if a := c.Agent; a != nil && (!agentName().MatchString(a.Name) || !agentHash().MatchString(a.Hash) ||
		len(a.Args) > 1 || (len(a.Args) == 1 && !agentName().MatchString(a.Args[0]))) {
		return fmt.Errorf("the agent %q (%q) can't be handed in", a.Name, a.Hash)
	}
	for _, m := range c.Mounts {
		if m.Device == "" || !path.IsAbs(m.Path) || strings.ContainsAny(m.Device+m.Path+m.Type+m.Options, " \t\r\n\x00") {
			return fmt.Errorf("the mount of %q at %q: it needs a device and an absolute path, without spaces", m.Device, m.Path)
		}
	}
	for _, p := range c.Packages {
		if !pkgName().MatchString(p) {
			return fmt.Errorf("%q is no package's name", p)
		}
	}
	return c.checkHostKey()
}

func checkKey(line string) error {
	if strings.ContainsAny(line, "\r\n\x00") {
		return errors.New("it is more than one line")
	}
	if !utf8.ValidString(line) {
		return errors.New("it is no UTF-8 text")
	}
	_, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	return err
}

func (c Config) checkHostKey() error {
	if c.HostKey == "" && c.HostKeyPublic == "" {
		return nil
	}
	signer, err := ssh.ParsePrivateKey([]byte(c.HostKey))
	if err != nil {
		return fmt.Errorf("the host key can't be read: %w", err) // the parser's errors carry nothing of the key
	}
	if t := signer.PublicKey().Type(); t != ssh.KeyAlgoED25519 {
		return fmt.Errorf("the host key is of type %s; it must be %s", t, ssh.KeyAlgoED25519)
	}
	if err := checkKey(c.HostKeyPublic); err != nil {
		return fmt.Errorf("the host key's public half: %w", err)
	}
	pub, _, _, _, _ := ssh.ParseAuthorizedKey([]byte(c.HostKeyPublic)) // checked above
	if string(pub.Marshal()) != string(signer.PublicKey().Marshal()) {
		return errors.New("the host key and its public half do not belong together")
	}
	return nil
}

// quote writes a string as YAML, double-quoted and in ASCII: Go's escapes are all YAML's too.
func quote(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("%q is no UTF-8 text", s)
	}
	return strconv.QuoteToASCII(s), nil
}

func list(words []string) (string, error) {
	quoted := make([]string, len(words))
	for i, w := range words {
		q, err := quote(w)
		if err != nil {
			return "", err
		}
		quoted[i] = q
	}
	return "[" + strings.Join(quoted, ", ") + "]", nil
}

// The seed's files of an agent that is handed in.
const (
	agentScript  = "berth-agent.sh"
	agentProgram = "berth-agent"
)

// Files returns the seed's files by name: user-data and meta-data, and what puts the agent in place.
func Files(c Config) (map[string][]byte, error) {
	if err := c.check(); err != nil {
		return nil, api.Errorf(api.CodeUsage, "writing the first-boot data of %q: %w", c.Hostname, err)
	}
	if c.Groups == nil {
		c.Groups = []string{"adm", "video"}
	}
	if c.Shell == "" {
		c.Shell = "/bin/bash"
	}
	files := map[string][]byte{}
	names := []string{"user-data", "meta-data"}
	if c.Agent != nil {
		names = append(names, agentScript)
	}
	for _, name := range names {
		text, ok := assets.CloudInit(name)
		if !ok {
			return nil, fmt.Errorf("this build has no cloud-init template %q", name)
		}
		t, err := template.New(name).Option("missingkey=error").Funcs(template.FuncMap{"q": quote, "list": list}).Parse(text)
		if err != nil {
			return nil, fmt.Errorf("the cloud-init template %q: %w", name, err)
		}
		var b strings.Builder
		if err := t.Execute(&b, c); err != nil {
			return nil, fmt.Errorf("writing %s of %q: %w", name, c.Hostname, err)
		}
		files[name] = []byte(b.String())
	}
	if c.Agent != nil && c.Agent.Program != nil {
		files[agentProgram] = c.Agent.Program
	}
	return files, nil
}
