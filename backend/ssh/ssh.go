package ssh

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os/user"
	"strconv"
	"strings"
	"time"

	"berth/backend"
	"berth/backend/api"
)

// Name is the backend's name, as in --backend.
const Name = "ssh"

func init() {
	backend.Register(Name, func(env backend.Env) (backend.Backend, error) { return New(env.Remote), nil })
}

// Backend implements backend.Backend and backend.Adopter.
type Backend struct {
	remote backend.Prober
}

// New returns the backend, which reaches its machines through remote.
func New(remote backend.Prober) *Backend { return &Backend{remote: remote} }

// data is what the workspace keeps for a machine.
type data struct {
	Target backend.SSHTarget `json:"target"`
	Facts  backend.HostFacts `json:"facts"`
	Token  string            `json:"token"`
	Tags   map[string]string `json:"tags,omitempty"`
	Since  time.Time         `json:"since"`
}

// Info implements backend.Backend.
func (b *Backend) Info() backend.Info {
	return backend.Info{Name: Name, Title: "A machine that exists, over SSH", Capabilities: capabilities()}
}

// Whoami returns the user of this computer: there is no provider to ask.
func (b *Backend) Whoami(context.Context) (string, error) {
	u, err := user.Current()
	if err != nil {
		return "", fmt.Errorf("finding out who runs Berth: %w", err)
	}
	return u.Username, nil
}

// Sizes is empty: a machine has the size that it has.
func (b *Backend) Sizes(context.Context) ([]api.Size, error) { return nil, nil }

// Images is empty, as Sizes.
func (b *Backend) Images(context.Context) ([]api.Image, error) { return nil, nil }

const (
	whyNoPower = "Berth reaches this machine over SSH only and can't switch it on or off"
	whyNoMake  = "machines of this kind exist already: take one in with berth adopt NAME user@host"
	whyNoDisk  = "Berth reaches this machine over SSH only: its disk is not Berth's to copy"
	whyNoTouch = "the machine is not Berth's: rm forgets it and removes Berth's agent, nothing else"
)

func capabilities() api.Capabilities {
	return api.Capabilities{
		Adopt: true, Exec: true, Profiles: true,
		Why: map[string]string{
			"create": whyNoMake, "start": whyNoPower, "stop": whyNoPower, "restart": whyNoPower, "delete": whyNoTouch,
			"console": "there is no provider that keeps a console",
			"assign":  "there is no provider that assigns machines to people",
			"list":    "there is no provider to ask", "snapshots": whyNoDisk, "clone": whyNoDisk, "build": whyNoDisk,
		},
	}
}

func unsupported(verb, why string) error {
	return api.Errorf(api.CodeUnsupported, "%s is not possible for a machine of the backend ssh: %s", verb, why)
}

// Create is ErrUnsupported.
func (b *Backend) Create(context.Context, backend.Spec) (backend.Machine, error) {
	return backend.Machine{}, unsupported("create", whyNoMake)
}

// Start is ErrUnsupported.
func (b *Backend) Start(context.Context, backend.Ref) error { return unsupported("start", whyNoPower) }

// Stop is ErrUnsupported.
func (b *Backend) Stop(context.Context, backend.Ref) error { return unsupported("stop", whyNoPower) }

// Restart is ErrUnsupported.
func (b *Backend) Restart(context.Context, backend.Ref) error {
	return unsupported("restart", whyNoPower)
}

// Delete forgets the machine: there is nothing to forget here.
func (b *Backend) Delete(ctx context.Context, _ backend.Ref) error { return ctx.Err() }

// List is ErrUnsupported.
func (b *Backend) List(context.Context) ([]backend.Machine, error) {
	return nil, unsupported("listing", "there is no provider to ask")
}

// Console is ErrUnsupported.
func (b *Backend) Console(context.Context, backend.Ref) ([]byte, error) {
	return nil, unsupported("console", "there is no provider that keeps one")
}

// Adopt looks at the machine over SSH.
func (b *Backend) Adopt(ctx context.Context, spec backend.AdoptSpec) (backend.Machine, error) {
	if spec.Local {
		return backend.Machine{}, unsupported("adopting this very host", "the backend local does that (adopt --local)")
	}
	t, err := ParseTarget(spec.Target)
	if err != nil {
		return backend.Machine{}, err
	}
	if spec.Share != "" && !strings.HasPrefix(spec.Share, "/") {
		return backend.Machine{}, api.Errorf(api.CodeUsage, "the share %q is not an absolute path on the machine", spec.Share)
	}
	t.HostKey, t.Share, t.Transport = spec.HostKey, spec.Share, spec.Transport
	if b.remote == nil {
		return backend.Machine{}, unsupported("adopt", "this workspace has no SSH connections")
	}
	facts, err := b.remote.Probe(ctx, t)
	if err != nil {
		return backend.Machine{}, err
	}
	if t.Share != "" && !facts.Share {
		return backend.Machine{}, api.Errorf(api.CodeUsage, "there is no folder %s on %s", t.Share, facts.ID).
			WithHint("give the share as a folder that exists on the machine")
	}
	if t.HostKey != "" {
		t.PinnedBy = spec.Name
	}
	return machine(data{Target: t, Facts: facts, Token: spec.Token, Tags: spec.Tags,
		Since: time.Now().UTC().Truncate(time.Second)})
}

// Get tries the line and returns the machine as it was when it was adopted, running.
func (b *Backend) Get(ctx context.Context, ref backend.Ref) (backend.Machine, error) {
	if err := ctx.Err(); err != nil {
		return backend.Machine{}, err
	}
	var d data
	if len(ref.Data) == 0 {
		return backend.Machine{}, api.Errorf(api.CodeNotFound, "the machine %q was never adopted", ref.ID)
	}
	if err := json.Unmarshal(ref.Data, &d); err != nil {
		return backend.Machine{}, fmt.Errorf("reading what is kept of the machine %q: %w", ref.ID, err)
	}
	if b.remote == nil {
		return backend.Machine{}, unsupported("asking for the machine", "this workspace has no SSH connections")
	}
	if err := b.remote.Reach(ctx, d.Target); err != nil {
		return backend.Machine{}, err
	}
	return machine(d)
}

// machine makes the backend's answer of what is kept.
func machine(d data) (backend.Machine, error) {
	raw, err := json.Marshal(d)
	if err != nil {
		return backend.Machine{}, fmt.Errorf("encoding the machine: %w", err)
	}
	f, t := d.Facts, d.Target
	workdir := t.Share
	if workdir == "" {
		workdir = f.Home
	}
	return backend.Machine{
		ID: f.ID, Name: f.Hostname, Token: d.Token, State: api.StateRunning, Address: f.Address, Port: f.Port, User: f.User,
		SSHEnabled: true, Adopted: true, GPUs: f.GPUs, VCPUs: f.VCPUs, MemoryBytes: f.MemoryBytes, DiskBytes: f.DiskBytes,
		Workdir: workdir,
		Tags:    d.Tags, CreatedAt: d.Since, Capabilities: capabilities(), Line: backend.Line{SSH: &t}, Data: raw,
		Notes: []string{whyNoPower + ".", "Removing it ends Berth's own terminals and agent there and touches nothing else."},
	}, nil
}

// ParseTarget reads what adopt takes: [user@]host[:port] or ssh://…, where host may be a Host of
// ~/.ssh/config. An IPv6 address stands in brackets if a port follows.
func ParseTarget(s string) (backend.SSHTarget, error) {
	bad := func(why string) (backend.SSHTarget, error) {
		return backend.SSHTarget{}, api.Errorf(api.CodeUsage, "%q is not a machine to adopt: %s", s, why).
			WithHint("give user@host, user@host:port or a Host of ~/.ssh/config")
	}
	t := backend.SSHTarget{}
	rest := strings.TrimSuffix(strings.TrimPrefix(s, "ssh://"), "/")
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		t.User, rest = rest[:i], rest[i+1:]
		if t.User == "" {
			return bad("the user is empty")
		}
	}
	if strings.HasPrefix(rest, "[") || strings.Count(rest, ":") == 1 {
		host, port, err := net.SplitHostPort(rest)
		if err != nil && strings.HasSuffix(rest, "]") {
			host, err = strings.Trim(rest, "[]"), nil
		} else if err == nil {
			n, perr := strconv.Atoi(port)
			if perr != nil || n < 1 || n > 65535 {
				return bad("the port must be 1 to 65535")
			}
			t.Port = n
		}
		if err != nil {
			return bad(err.Error())
		}
		rest = host
	}
	switch {
	case rest == "":
		return bad("the host is empty")
	case strings.HasPrefix(rest, "-") || strings.HasPrefix(t.User, "-"):
		return bad("it begins with a dash")
	case strings.ContainsFunc(rest+t.User, func(r rune) bool {
		return r <= ' ' || r == 0x7f || strings.ContainsRune("\"'`$;&|<>()\\/[]", r)
	}):
		return bad("it holds characters that no name has")
	}
	t.Host = rest
	return t, nil
}
