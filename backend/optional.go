package backend

import (
	"context"
	"encoding/json"

	"berth/backend/api"
)

// Accounter is a backend whose provider has accounts: what one has made, another does not see.
type Accounter interface {
	// Account returns the account (subscription, project) that the caller's environment signs in to, as the provider
	// names it; empty: it has none. It changes nothing, and is asked often. ErrAuth says that nobody is signed in.
	Account(ctx context.Context) (string, error)
}

// Validator is a backend that can tell at once what Create would refuse.
type Validator interface {
	// Validate refuses a spec that Create could not carry out, as far as that is known without fetching or making
	// anything. It is asked before anything is written down, so that a wrong word leaves nothing behind.
	// Spec.Access is not set.
	Validate(ctx context.Context, spec Spec) error
}

// Planner is a backend whose sizes and images are described in files that may be edited at any time.
type Planner interface {
	// Plan returns what Size and Image of a new spec mean now. It becomes Spec.Plan, is kept with the operation, and
	// is what Validate, Prepare and Create go by: an edit between them changes nothing.
	Plan(ctx context.Context, spec Spec) (json.RawMessage, error)
}

// Preparer is a backend that needs something on its side before Create.
type Preparer interface {
	// Prepare makes ready what Create with this spec needs (an image in the provider's cache, space) and refuses what
	// Create could not do. It may take as long as a download, while it calls say at least every minute; called again after
	// an interruption it goes on where it was. Spec.Access is not set.
	Prepare(ctx context.Context, spec Spec, say func(Progress)) error
}

// Progress says how far a long call is.
type Progress struct {
	What  string // "fetching debian-12"
	Done  int64  // bytes
	Total int64  // bytes; 0: not known
}

// Tagger is a backend that can change the tags of a machine that it made.
type Tagger interface {
	// Retag replaces the tags of a machine; all else of it, and what runs there, stays as it is.
	Retag(ctx context.Context, ref Ref, tags map[string]string) error
}

// Forcer is a backend that can switch a machine off or reset it without asking its system: for those
// that do not react to Stop and Restart.
type Forcer interface {
	ForceStop(ctx context.Context, ref Ref) error
	ForceRestart(ctx context.Context, ref Ref) error
}

// Sealer is a backend that keeps what Access handed in.
type Sealer interface {
	// Seal removes Access.HostKey from everything that the provider keeps: the machine has made a new
	// one. A second call succeeds.
	Seal(ctx context.Context, ref Ref) error
}

// Snapshotter is a backend that keeps earlier states of a machine's disk (Capabilities.Snapshots).
// Names are those of instances. ErrNotFound and ErrConflict say that a name is not there, or is taken.
type Snapshotter interface {
	Snapshots(ctx context.Context, ref Ref) ([]api.Snapshot, error)
	Snapshot(ctx context.Context, ref Ref, name string) error
	// Restore takes the disk (and, where it was kept, the memory) back to the snapshot.
	Restore(ctx context.Context, ref Ref, name string) error
	// DeleteSnapshot succeeds if there is no such snapshot.
	DeleteSnapshot(ctx context.Context, ref Ref, name string) error
}

// Imager is a backend that makes images of machines (Capabilities.Build).
type Imager interface {
	// BuildImage copies the disk of a stopped machine into an image that Images lists from then on. An
	// image of that name made from the same machine is replaced; any other is ErrConflict.
	BuildImage(ctx context.Context, ref Ref, image api.Image, say func(Progress)) error
	// DeleteImage removes an image that BuildImage made or Prepare fetched; ErrRefused names the
	// machines that are based on it.
	DeleteImage(ctx context.Context, name string) error
}

// Checker is a backend with checks of its own for doctor: what the provider or the host lacks, in plain
// words, and what to do about it.
type Checker interface {
	Check(ctx context.Context) []api.Check
}

// Sweeper is a backend that makes more than machines: disks, seeds, leases that a crash may leave.
type Sweeper interface {
	// Leftovers lists what carries the tags of a home but belongs to no machine. known reports
	// whether an instance with that token is in the fleet: what belongs to one is no leftover.
	Leftovers(ctx context.Context, known func(token string) bool) ([]Leftover, error)
	// RemoveLeftover removes one; it succeeds if it is gone.
	RemoveLeftover(ctx context.Context, id string) error
}

// Leftover is something that belongs to no machine.
type Leftover struct {
	ID    string // for RemoveLeftover
	Home  string // of TagHome
	What  string // "disk of 4.1 GB, berth-….qcow2 in the pool berth"
	Bytes int64
}
