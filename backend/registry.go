package backend

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"berth/backend/base/paths"
)

// Env is what a backend is given when it is opened.
type Env struct {
	Home     paths.Home        // where the backend may keep its state
	Settings map[string]string // the [backend.NAME] section of the configuration
	Log      *slog.Logger
	// Executable returns the path of a content-addressed copy of this program, which no upgrade
	// deletes: what a backend starts as agent on this host.
	Executable func() (string, error)
	// Remote reaches machines over SSH; nil where the workspace has no connections (package ssh
	// then answers ErrUnsupported).
	Remote Prober
	// Agent returns the agent's program for machines of a system and architecture, as Go names them: what
	// can be handed in with a machine's first boot. nil where there are no connections.
	Agent func(ctx context.Context, goos, goarch string) (AgentProgram, error)
	// HomeID is the random id of this home's store: TagHome of what it makes.
	HomeID string
	// Changed is told the Machine.ID of a machine that the provider says has changed; "" where any may have. It returns
	// at once. May be nil: a backend that hears nothing is asked now and then.
	Changed func(id string)
	// Fault is called at named points inside calls, for tests that kill the process there; may be nil.
	Fault func(point string)
}

// Factory opens a backend.
type Factory func(env Env) (Backend, error)

var registry = struct {
	sync.Mutex
	m map[string]Factory
}{m: map[string]Factory{}}

// Register makes a backend known by name; it is called from the init of the backend's package and
// panics on a duplicate.
func Register(name string, f Factory) {
	registry.Lock()
	defer registry.Unlock()
	if _, dup := registry.m[name]; dup {
		panic(fmt.Sprintf("backend %q registered twice", name))
	}
	registry.m[name] = f
}

// Registered returns the names of all registered backends, sorted.
func Registered() []string {
	registry.Lock()
	defer registry.Unlock()
	return slices.Sorted(maps.Keys(registry.m))
}

// Open opens the registered backend of that name.
func Open(name string, env Env) (Backend, error) {
	registry.Lock()
	f := registry.m[name]
	registry.Unlock()
	if f == nil {
		return nil, fmt.Errorf("there is no backend %q; known: %v", name, Registered())
	}
	return f(env)
}
