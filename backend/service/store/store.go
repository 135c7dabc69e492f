package store

import (
	"context"
	"encoding/json"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/gpu"
	"berth/gpu/idle"
)

// Instance is the durable record of an instance: what clients are shown, and what only the workspace needs.
type Instance struct {
	api.Instance
	Token   string          `json:"token"`             // client token: the id of the operation that made it
	Line    backend.Line    `json:"line"`              // how its agent is reached
	Data    json.RawMessage `json:"data,omitempty"`    // the backend's own, opaque
	Spec    *backend.Spec   `json:"spec,omitempty"`    // what was asked for
	Share   string          `json:"share,omitempty"`   // the file share's folder on the instance
	Usage   Usage           `json:"usage"`             // for the cost of today
	Foreign bool            `json:"foreign,omitempty"` // found at the provider, made by another home
	// HostKeys are the fingerprints by which a machine that Berth made is known, with commas between.
	HostKeys string `json:"host_keys,omitempty"`
	// Sealed: the host key that was handed in is in use no longer, and its backend keeps it no longer.
	Sealed bool `json:"sealed,omitempty"`
	// KeyKept says why the machine can't have another host key.
	KeyKept string `json:"key_kept,omitempty"`
	// SetupID is the agent's plan of the last set-up, SetupProfiles what it applies that is not done yet;
	// SetupScript: it also runs a script.
	SetupID       string   `json:"setup_id,omitempty"`
	SetupProfiles []string `json:"setup_profiles,omitempty"`
	SetupScript   bool     `json:"setup_script,omitempty"`
	// SetupFailed says why the last set-up failed; empty: it did not, or was gone on with.
	SetupFailed string `json:"setup_failed,omitempty"`
	// Unfinished are set-ups that failed before the last one and were not gone on with, oldest first.
	Unfinished []Setup `json:"unfinished,omitempty"`
	// LastFigures are those that its agent said last before it stopped.
	LastFigures *gpu.Summary `json:"last_figures,omitempty"`
	// IdleDay is in which minutes of its last day its GPUs were idle.
	IdleDay *idle.Day `json:"idle_day,omitempty"`
	// Told are findings, by id, that the hook was called for, with when each began.
	Told map[string]time.Time `json:"told,omitempty"`
	// Acknowledged are findings, by id, that somebody has seen, with when each began; Muted are rules that are
	// to be quiet, with until when.
	Acknowledged map[string]time.Time `json:"acknowledged,omitempty"`
	Muted        map[string]time.Time `json:"muted,omitempty"`
	// Unreached says why the machine's agent has never answered since the machine was made or started,
	// although the provider calls it running.
	Unreached string `json:"unreached,omitempty"`
}

// Endpoint is what a connection to the instance is made to.
func (in *Instance) Endpoint() backend.Endpoint {
	return backend.Endpoint{ID: in.ID, Name: in.Name, State: in.State, Line: in.Line}
}

// Setup is a set-up that failed: the agent's plan, what it applies that is not done yet, and why it failed.
type Setup struct {
	ID       string   `json:"id"`
	Profiles []string `json:"profiles,omitempty"`
	Script   bool     `json:"script,omitempty"` // it also runs a script
	Failed   string   `json:"failed"`
}

// Usage counts how long an instance has run on one day of the workspace's clock.
type Usage struct {
	Day     string     `json:"day,omitempty"`     // 2006-01-02, local time
	Seconds float64    `json:"seconds,omitempty"` // of the ended periods of that day
	Since   *time.Time `json:"since,omitempty"`   // start of the running period, if any
}

// Operation is the durable record of an operation.
type Operation struct {
	api.Operation
	Create *api.CreateRequest `json:"create,omitempty"`
	Adopt  *api.AdoptRequest  `json:"adopt,omitempty"`
	Force  bool               `json:"force,omitempty"`
	Setup  *api.SetupRequest  `json:"setup,omitempty"`
	// Unreadable is why the stored document can't be read, where another build wrote it in another form. Then only
	// what tells the operation from others is there: id, kind, instance, actor, time.
	Unreadable error `json:"-"`
	// Profiled is what the profiles of Create or Setup came to when it was asked for.
	Profiled *api.SetupPlan `json:"profiled,omitempty"`
	// Boot is the boot that was seen before a restart.
	Boot string `json:"boot,omitempty"`
	// Snapshot is the name of the snapshot to take or to go back to.
	Snapshot string `json:"snapshot,omitempty"`
	// Image is the image to build; WasRunning that the instance is started again afterwards.
	Image      *api.Image `json:"image,omitempty"`
	WasRunning bool       `json:"was_running,omitempty"`
}

// Change is one atomic write. Events get their Seq from Apply.
type Change struct {
	Instances       []Instance
	RemoveInstances []string // ids
	Operations      []Operation
	Events          []*api.Event
	Settings        map[string]string
}

// EventQuery selects events: those after Since, of one instance if InstanceID is set, the newest Limit.
type EventQuery struct {
	Since      int64
	InstanceID string
	Limit      int
}

// Store keeps a workspace's state. Methods are safe for concurrent use. Errors are *api.Error with
// CodeStore, except context errors.
type Store interface {
	// Apply writes all changes, in their order and atomically; when it returns nil, they survive a power loss.
	Apply(ctx context.Context, cs ...*Change) error
	// Instances returns all instances, in no order.
	Instances(ctx context.Context) ([]Instance, error)
	// Unfinished returns the operations that have not ended, oldest first.
	Unfinished(ctx context.Context) ([]Operation, error)
	// Operation returns one operation, or CodeNotFound.
	Operation(ctx context.Context, id string) (Operation, error)
	// Events returns the selected events, oldest first.
	Events(ctx context.Context, q EventQuery) ([]api.Event, error)
	// Setting returns a value, or "" where there is none.
	Setting(ctx context.Context, key string) (string, error)
	// Trim forgets all but the newest keep events and the operations that ended before t.
	Trim(ctx context.Context, keep int, t time.Time) error
	Close() error
}
