package libvirt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"

	"berth/backend"
	"berth/backend/api"
)

// Name is the backend's name, as in --backend.
const Name = "libvirt"

func init() {
	backend.Register(Name, func(env backend.Env) (backend.Backend, error) { return New(env) })
}

// Backend implements backend.Backend and the optional interfaces of machines that Berth makes.
type Backend struct {
	env backend.Env
	cfg settings

	dialing chan struct{} // one connects at a time; guards conn
	conn    *conn

	known  known     // what was read of domains
	locks  keyLock   // one create, start or change a machine; one upload an image
	stops  sync.Map  // golibvirt.UUID → *stopping
	ports  portCache // promised, not yet in a domain's metadata
	marks  sidecars
	sums   sums
	host   once[hostFacts]
	poolAt once[pool]
}

// sums keeps the SHA-256 of files.
type sums struct {
	mu sync.Mutex
	m  map[string]fileSum
}

type fileSum struct {
	size int64
	at   time.Time
	sum  string
}

// stopping is a shutdown request whose effect has not been seen yet.
type stopping struct {
	mu   sync.Mutex
	id   int32 // the domain's run that it was for
	last time.Time
	till time.Time
}

// New opens the backend. It connects to nothing: an error is one of the settings.
func New(env backend.Env) (*Backend, error) {
	cfg, err := parseSettings(env.Settings, env.Home.Config)
	if err != nil {
		return nil, err
	}
	return &Backend{env: env, cfg: cfg, dialing: make(chan struct{}, 1)}, nil
}

// Info implements backend.Backend.
func (b *Backend) Info() backend.Info {
	return backend.Info{Name: Name, Title: "Virtual machines of libvirt", Capabilities: capabilities(), QuietRestart: true}
}

func capabilities() api.Capabilities {
	return api.Capabilities{
		Create: true, Start: true, Stop: true, Restart: true, Delete: true, Console: true, Exec: true, List: true, Disk: true,
		SSH:     true,
		Subnets: true, Profiles: true, Snapshots: true, Clone: true, Build: true,
		Why: map[string]string{
			"adopt":     "berth adopt takes in a machine that is reached over SSH, also one of libvirt",
			"assign":    "libvirt knows no people: a machine belongs to who made it",
			"regions":   "one libvirtd is one place",
			"public_ip": "libvirt gives no public address; a bridge (--subnet bridge:NAME) puts the machine into the host's own network",
		},
	}
}

// FaultPoints are the points at which Env.Fault is called, in their order.
func FaultPoints() []string {
	return []string{"libvirt.create.disk", "libvirt.create.seed", "libvirt.create.defined", "libvirt.create.started",
		"libvirt.delete.destroyed", "libvirt.delete.undefined", "libvirt.delete.volumes"}
}

func (b *Backend) fault(point string) {
	if b.env.Fault != nil {
		b.env.Fault(point)
	}
}

// Whoami returns who signs in to libvirtd: the user of its host. It fails where libvirtd can't be reached.
func (b *Backend) Whoami(ctx context.Context) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if h := b.cfg.uri.host; h != nil && h.User != "" {
		return h.User, nil
	}
	u, err := user.Current()
	if err != nil {
		return "", fmt.Errorf("finding out who runs Berth: %w", err)
	}
	return u.Username, nil
}

// absent reports whether err, from a call, only means that this host has no libvirt for this user and that
// the user never asked for one.
func (b *Backend) absent(err error) bool {
	if b.cfg.set {
		return false
	}
	none := errors.Is(err, backend.ErrUnreachable) && (errors.Is(err, os.ErrNotExist) || errors.Is(err,
		os.ErrPermission) || isRefused(err))
	if !none && !errors.Is(err, backend.ErrAuth) {
		return false
	}
	_, serr := os.Stat(b.usedMark())
	return errors.Is(serr, os.ErrNotExist)
}

// usedMark is a file that says that this home has, or had, machines here: from then on a libvirtd that
// can't be reached is an error and not an empty list.
func (b *Backend) usedMark() string { return filepath.Join(b.env.Home.State, "libvirt", "used") }

func (b *Backend) markUsed() error {
	if b.env.Home.State == "" {
		return nil
	}
	p := b.usedMark()
	if _, err := os.Stat(p); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
		return fmt.Errorf("noting that libvirt is used: %w", err)
	}
	if err := os.WriteFile(p, nil, 0o600); err != nil {
		return fmt.Errorf("noting that libvirt is used: %w", err)
	}
	return nil
}

func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

func lastLine(b []byte) string {
	s := strings.TrimSpace(string(b))
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// lookup finds a domain by its UUID. It is ErrNotFound also for a domain that is not Berth's: what Berth
// did not make it neither shows nor changes.
func (b *Backend) lookup(ctx context.Context, ref backend.Ref) (golibvirt.Domain, *entry, error) {
	id, ok := refUUID(ref)
	if !ok {
		return golibvirt.Domain{}, nil, b.gone(ref)
	}
	dom, err := call(ctx, b, "looking for the machine "+or(ref.Name, uuidText(id)),
		func(l *golibvirt.Libvirt) (golibvirt.Domain, error) {
			return l.DomainLookupByUUID(id)
		})
	if isGone(err) {
		b.known.forget(id)
		return dom, nil, b.gone(ref)
	}
	if err != nil {
		return dom, nil, err
	}
	e, err := b.entry(ctx, dom)
	if err != nil {
		return dom, nil, err
	}
	if e.meta == nil || ref.Token != "" && e.meta.Token != ref.Token {
		return dom, nil, api.Errorf(api.CodeNotFound, "the domain %s (%s) was not made by Berth for %s", dom.Name,
			uuidText(id), or(ref.Name, ref.Token))
	}
	return dom, e, nil
}

func (b *Backend) gone(ref backend.Ref) error {
	return api.Errorf(api.CodeNotFound, "libvirt (%s) has no machine %s", b.cfg.uri.text,
		or(ref.Name, or(ref.ID, ref.Token))).
		WithHint("it was removed outside of Berth; berth rm removes it from the fleet")
}
