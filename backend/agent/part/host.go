package part

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"berth/backend/agent/environ"
	"berth/backend/agent/root"
	"berth/backend/api"
	"berth/gpu"
)

// Host is what the agent gives to each of its parts.
type Host struct {
	Options
	Exe      string   // this program's content-addressed copy, or whatever was started
	Hostname string   // of the machine
	Base     []string // the environment that a login shell begins with
	Log      *slog.Logger
	Agent
}

// Agent is what a running agent does for its parts. All methods may be called at once.
type Agent interface {
	// Context ends when streams are to end.
	Context() context.Context
	// Begin counts a stream, or another thing that the agent has to wait for when it leaves; Done ends it. False means
	// that the agent leaves and begins nothing new: answer with Leaving.
	Begin() bool
	Done()
	// LoginEnvironment is the newest environment of the user's login shell.
	LoginEnvironment(ctx context.Context) []string
	// Active notes input or output.
	Active()
	// Event tells the followers of the instance's events what happened; level is info, warn or error.
	Event(kind, level, message string)
	// Grace is how long a command has to end after its client hung up.
	Grace() time.Duration
	// Processes lists those of all parts.
	Processes() []Process
	// GPUs says who has the GPUs, by their UUIDs.
	GPUs() map[string]gpu.Use
	// Watch gives what the host shows, now and then every so often, until the function that it returns is called or ctx
	// ends; the channel is closed then. The samples may not be changed.
	Watch(ctx context.Context, every time.Duration) (<-chan *gpu.Sample, func())
	// ShimCommand is the command line of the shim that holds a process with an id.
	ShimCommand(id string) []string
	// Contain runs f, a loop of the part say: a panic in it is logged, and shown as the part's failure.
	Contain(what string, f func())
}

// Environment is what a command or terminal runs with.
func (h *Host) Environment(ctx context.Context, over []string, tty bool, term string) []string {
	env := environ.Merge(h.LoginEnvironment(ctx), h.Env()...)
	if tty {
		if term == "" {
			term = "xterm-256color"
		}
		env = environ.Merge(env, "TERM="+term)
	}
	return environ.Merge(env, over...)
}

// Dir is where a command runs: below the working directory if the request's path is relative.
func (h *Host) Dir(dir string) (string, error) {
	if dir == "" {
		dir = h.Workdir
	} else if dir == "~" || strings.HasPrefix(dir, "~/") {
		dir = filepath.Join(h.Home, dir[1:])
	} else if !filepath.IsAbs(dir) {
		dir = filepath.Join(h.Workdir, dir)
	}
	fi, err := os.Stat(dir)
	if err == nil && !fi.IsDir() {
		err = errors.New("it is no folder")
	}
	if err != nil {
		return "", api.Errorf(api.CodeFailed, "the working directory %s can't be used: %w", dir, err)
	}
	return dir, nil
}

// Root calls this program as root.
func (h *Host) Root() root.Caller { return root.New(Command(h.Exe, "root")) }
