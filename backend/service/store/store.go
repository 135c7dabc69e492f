package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"berth/backend"
	"berth/backend/api"
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
	// Unreached says why the machine's agent has never answered since the machine was made or started,
	// although the provider calls it running.
	Unreached string `json:"unreached,omitempty"`
	// Revision is how often the instance was written: see Change.
	Revision int64 `json:"-"`
	Features `json:"-"`
}

// Endpoint is what a connection to the instance is made to.
func (in *Instance) Endpoint() backend.Endpoint {
	return backend.Endpoint{ID: in.ID, Name: in.Name, State: in.State, Line: in.Line}
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
	Revision int64 `json:"-"` // see Change

	Create *api.CreateRequest `json:"create,omitempty"`
	Adopt  *api.AdoptRequest  `json:"adopt,omitempty"`
	Force  bool               `json:"force,omitempty"`
	// WhenIdle: it waits until no job runs there.
	WhenIdle bool `json:"when_idle,omitempty"`
	// Adopted: the instance was adopted. To delete it is to forget it.
	Adopted bool              `json:"adopted,omitempty"`
	Setup   *api.SetupRequest `json:"setup,omitempty"`
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
	// Selectors are what may be kept of the environment that it was asked with (backend.Selectors), Withheld the names
	// of what may not.
	Selectors map[string]string `json:"selectors,omitempty"`
	Withheld  []string          `json:"withheld,omitempty"`
}

// Verb is what people call an operation of this kind.
func (op *Operation) Verb() string {
	if op.Adopted && op.Kind == "delete" {
		return "forget"
	}
	return op.Kind
}

// Change is one atomic write.
//
// Every record has a revision, which grows by one with each write. What is to be written carries the revision that its
// writer saw: 0 where it is new. Where the store has another one, the whole Change is refused (api.CodeConflict).
// Revisions, and the numbers of events, are those after the write when Apply has returned nil; after an error they are
// what they were.
type Change struct {
	Instances       []Instance // without their Features, which are Documents: see Put
	RemoveInstances []Removal
	Documents       []Document
	RemoveDocuments []Document // each by its revision; Doc is not looked at
	Operations      []Operation
	Events          []*api.Event
	Settings        map[string]string
}

// Empty reports whether there is nothing to write.
func (c *Change) Empty() bool {
	return len(c.Instances)+len(c.RemoveInstances)+len(c.Documents)+len(c.RemoveDocuments)+len(c.Operations)+
		len(c.Events)+len(c.Settings) == 0
}

// Landed makes c what it is when Apply has returned nil, but for the numbers of its events: for one that was written
// although Apply failed.
func (c *Change) Landed() {
	for i := range c.Instances {
		c.Instances[i].Revision++
	}
	for i := range c.Documents {
		c.Documents[i].Revision++
	}
	for i := range c.Operations {
		c.Operations[i].Revision++
	}
}

// Removal takes an instance away, with its documents.
type Removal struct {
	ID       string
	Revision int64
}

// Conflict is why a Change is refused that was made for another revision of what it writes: has is the store's, 0 where
// there is none.
func Conflict(what string, has, saw int64) error {
	of := func(r int64) string {
		if r == 0 {
			return "none"
		}
		return fmt.Sprintf("revision %d", r)
	}
	return api.Errorf(api.CodeConflict, "%s was changed meanwhile: the store has %s of it, and what was to be written was "+
		"made for %s", what, of(has), of(saw)).WithHint("nothing was written; look at it again, and try again")
}

// EventQuery selects events: those after Since, of one instance if InstanceID is set, of those that had a name, or have
// it as their id, if Called is; the newest Limit.
type EventQuery struct {
	Since      int64
	InstanceID string
	Called     string // in any case; no index has names
	Limit      int
}

// Store keeps a workspace's state. Methods are safe for concurrent use. Errors are *api.Error with
// CodeStore where nothing else is said, except context errors.
type Store interface {
	// Apply writes all changes, in their order and atomically; when it returns nil, they survive a power loss. It is
	// CodeConflict where a revision is not the store's.
	Apply(ctx context.Context, cs ...*Change) error
	// Instances returns all instances, in no order and without their Features.
	Instances(ctx context.Context) ([]Instance, error)
	// Instance returns one of them, or CodeNotFound.
	Instance(ctx context.Context, id string) (Instance, error)
	// Documents returns the documents of an instance, or of all ("").
	Documents(ctx context.Context, instanceID string) ([]Document, error)
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
