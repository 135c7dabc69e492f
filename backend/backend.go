package backend

import (
	"context"
	"encoding/json"
	"time"

	"berth/backend/api"
)

// Backend drives one provider. Its promises, each checked by backendtest:
//
//   - Methods return when the provider has accepted, never waiting for the machine itself; they never
//     sleep and never retry. They end soon after ctx ends, with its error.
//   - Calls may come from several goroutines at once, also for the same machine.
//   - Create with a Token that was used before returns the machine of the first call.
//   - Start of what runs, Stop of what is stopped and Delete of what is gone succeed, as do those of what an earlier
//     call, whose answer nobody heard, has brought on its way.
//   - A machine that is gone is ErrNotFound; what the provider says stands in the error's text.
//   - What the backend did not make, or adopt, it never changes.
type Backend interface {
	// Info describes the backend; it makes no provider call.
	Info() Info
	// Whoami returns the person that the backend acts for, as the provider names them.
	Whoami(ctx context.Context) (string, error)
	// Sizes and Images list what Create accepts; exactly one of each is the default.
	Sizes(ctx context.Context) ([]api.Size, error)
	Images(ctx context.Context) ([]api.Image, error)
	// Create asks for a machine. It is identified by Spec.Token from then on, also when Create's answer was lost.
	Create(ctx context.Context, spec Spec) (Machine, error)
	// Start, Stop and Restart ask for a change; Stop ends the compute charge and keeps the disk.
	Start(ctx context.Context, ref Ref) error
	Stop(ctx context.Context, ref Ref) error
	Restart(ctx context.Context, ref Ref) error
	// Delete removes the machine and all that Create made for it. For an adopted machine it forgets
	// it and touches nothing of it.
	Delete(ctx context.Context, ref Ref) error
	// Get returns the machine as the provider sees it now.
	Get(ctx context.Context, ref Ref) (Machine, error)
	// List returns all machines that carry Berth's tags, in one bulk call. A backend whose provider
	// has no list (Capabilities.List is false) returns ErrUnsupported.
	List(ctx context.Context) ([]Machine, error)
	// Console returns the last output of the machine's console or supervisor.
	Console(ctx context.Context, ref Ref) ([]byte, error)
}

// Adopter is a backend that can take in a machine that already exists.
type Adopter interface {
	// Adopt identifies the machine and returns it. It changes nothing on it; what Berth needs there
	// is put in place by the workspace over the machine's Line.
	Adopt(ctx context.Context, spec AdoptSpec) (Machine, error)
}

// Upgrader is a backend that starts the agents of its machines itself.
type Upgrader interface {
	// Upgrade lets a running machine's agent be replaced by this build's, if this one is newer. What
	// runs on the machine goes on.
	Upgrade(ctx context.Context, ref Ref) error
}

// Info describes a backend.
type Info struct {
	Name         string // as in --backend
	Title        string // for people: "This computer"
	Capabilities api.Capabilities
	// Private means that whatever List returns belongs to this home alone: no other workspace can
	// have made it.
	Private bool
	// QuietRestart means that a machine's state stays running while it restarts: that it has done so
	// shows on the machine itself.
	QuietRestart bool
	// AccountVariable is the variable that chooses the account (Accounter): "AWS_PROFILE".
	AccountVariable string
}

// Spec is what Create is asked for. All fields are checked and defaulted by the workspace.
type Spec struct {
	Token     string // the client token: the operation's id
	Name      string
	Size      string
	Image     string
	Region    string
	DiskBytes int64
	SSH       bool
	Setup     string
	OnStart   string   // the workspace's matter, as Setup and Profiles are
	Profiles  []string // set-up profiles
	AssignTo  string
	Share     string            // folder of the file share on the machine; empty: the backend's own, if any
	Subnet    string            // a network of the backend's; empty: its default
	PublicIP  bool              // an address that can be reached from outside
	From      *Ref              // the machine whose disk is copied; nil: Image
	Plan      json.RawMessage   `json:",omitempty"` // what Planner.Plan returned; none where an older build began it
	Tags      map[string]string // Berth's tags (Tag… constants) included
	Access    *Access           `json:"-"` // how the workspace gets in; set for each call of Create, kept nowhere
}

// Access is how the workspace gets into a machine that it makes: handed in with the first boot
// (cloud-init), so that no key is ever trusted on first use.
type Access struct {
	AuthorizedKeys []string // lines of authorized_keys: the workspace's key, and with Spec.SSH the user's
	HostKey        string   // the machine's first private SSH host key (ed25519), as OpenSSH PEM
	HostKeyPublic  string   // its public half, as a line of authorized_keys
}

// AdoptSpec is what Adopt is asked for.
type AdoptSpec struct {
	Token     string
	Name      string
	Target    string // user@host[:port] or a host of ~/.ssh/config
	Local     bool
	HostKey   string // SHA256:… or empty
	Share     string
	Transport string // as SSHTarget.Transport
	Tags      map[string]string
}

// Ref names a machine to its backend.
type Ref struct {
	ID    string          // Machine.ID; empty where Create's answer was lost
	Token string          // Spec.Token
	Name  string          // the instance's name
	Data  json.RawMessage // Machine.Data of the last answer
}

// The tags that every resource made by Berth carries, where the provider has tags.
const (
	TagWorkspace = "berth-workspace"
	TagHome      = "berth-home"
	TagOp        = "berth-op"
	TagOwner     = "berth-owner"
	TagCreated   = "berth-created"

	OwnTags = "berth-" // how they all begin; no user's tag does
)

// Machine is a machine as its provider sees it.
type Machine struct {
	ID           string // the provider's id, unique within the backend
	Name         string // the provider's name for it
	Instance     string // Spec.Name of the call that made it, where the provider keeps that: its name for other homes
	Token        string // Spec.Token of the call that made it
	State        api.State
	Reason       string // the provider's words for the state
	Size         string
	Image        string
	Region       string
	Owner        string
	AssignedTo   string
	Address      string
	Port         int
	User         string
	SSHEnabled   bool
	Adopted      bool
	GPUs         []api.GPU
	VCPUs        int
	MemoryBytes  int64
	DiskBytes    int64
	Workdir      string
	Tags         map[string]string
	Notes        []string         // what this machine does not promise, for people
	Capabilities api.Capabilities // of this machine
	CreatedAt    time.Time
	Line         Line
	Data         json.RawMessage // opaque; kept by the workspace and handed back in Ref
}

// Line says how a machine's agent is reached. The zero Line means not at all (yet).
type Line struct {
	Socket string     `json:"socket,omitempty"` // the agent's unix socket on this host
	SSH    *SSHTarget `json:"ssh,omitempty"`
}

// Endpoint is an instance as what a connection is made to.
type Endpoint struct {
	ID, Name string
	State    api.State
	Line     Line
}

// AgentUnavailable says that an instance can be reached and no agent can run there: commands and terminals go over
// plain SSH.
type AgentUnavailable struct{ Reason string }

// Error implements error.
func (e *AgentUnavailable) Error() string { return "no agent: " + e.Reason }

// SSHTarget is a machine reached over SSH as the user's own ssh would reach it.
type SSHTarget struct {
	Host string `json:"host"` // a name or address, or a Host of ~/.ssh/config
	User string `json:"user,omitempty"`
	Port int    `json:"port,omitempty"`
	// pinned fingerprints, SHA256:…, with commas between; of jump hosts too
	HostKey      string `json:"host_key,omitempty"`
	PinnedBy     string `json:"pinned_by,omitempty"`     // the instance at whose adoption HostKey was given
	IdentityFile string `json:"identity_file,omitempty"` // a key to try first
	Transport    string `json:"transport,omitempty"`     // "" (own client) or "openssh"
	Share        string `json:"share,omitempty"`
	// Via is the host through which Host is reached, as adopt takes it: user@host[:port] or a Host of
	// ~/.ssh/config. The user's own known hosts and keys count for it.
	Via string `json:"via,omitempty"`
	// Made means that Berth made the machine: it is known by HostKey alone, and signed in to with
	// IdentityFile alone; ~/.ssh plays no part.
	Made bool `json:"made,omitempty"`
	// Agent is the socket of the agent that was handed in with the machine's first boot, if one was. It is
	// tried before an agent is put in place.
	Agent string `json:"agent,omitempty"`
}
