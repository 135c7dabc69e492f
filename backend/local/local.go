package local

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"berth/backend"
	"berth/backend/agent"
	"berth/backend/api"
	"berth/backend/base/paths"
)

func init() {
	backend.Register("local", func(env backend.Env) (backend.Backend, error) { return New(env) })
}

// Backend is the local backend. It keeps nothing in memory but a lock and what it asked of the host.
type Backend struct {
	env   backend.Env
	gpus  *gpus
	group string // kind of process set; a setting, for hosts (and tests) where the best one is not wanted
	grace float64

	mu       sync.Mutex
	adopting map[string]bool // agents of adopted hosts that are being started
}

// New opens the backend. Settings: "share", a folder that becomes BERTH_SHARE and the working
// directory; "process_group", one of auto, v2, freezer, tree; "stop_grace_seconds".
func New(env backend.Env) (*Backend, error) {
	b := &Backend{env: env, adopting: map[string]bool{}}
	b.group = env.Settings["process_group"]
	switch b.group {
	case "", "auto", "v2", "freezer", "tree":
	default:
		return nil, api.Errorf(api.CodeUsage,
			"the setting process_group of the local backend is %q, want auto, v2, freezer or tree", b.group)
	}
	if s := env.Settings["stop_grace_seconds"]; s != "" {
		g, err := strconv.ParseFloat(s, 64)
		if err != nil || g <= 0 || g > 600 {
			return nil, api.Errorf(api.CodeUsage,
				"the setting stop_grace_seconds of the local backend is %q, want seconds, more than 0 and at most 600", s)
		}
		b.grace = g
	}
	if s := env.Settings["share"]; s != "" && !filepath.IsAbs(s) {
		return nil, api.Errorf(api.CodeUsage, "the setting share of the local backend is %q, want an absolute path", s)
	}
	b.gpus = findGPUs()
	return b, nil
}

const notADisk = "an environment on this computer is a folder, not a disk"

const notAssignable = "an environment on this computer runs as the user who made it"

// Info implements backend.Backend.
func (b *Backend) Info() backend.Info {
	return backend.Info{Name: "local", Title: "This computer", Private: true, Capabilities: api.Capabilities{
		Create: true, Adopt: true, Start: true, Stop: true, Restart: true, Delete: true, Console: true, Exec: true,
		List: true,
		Why: map[string]string{"assign": notAssignable, "regions": "it is this computer",
			"disk": "instances share this computer's disk",
			"ssh":  "berth ssh goes straight in; no SSH server is started", "subnets": "it uses this computer's network",
			"public_ip": "it has this computer's address",
			"profiles":  "they install system software, and this computer's is not Berth's to change",
			"snapshots": notADisk, "clone": notADisk, "build": notADisk},
	}}
}

// Whoami implements backend.Backend: the user of the operating system.
func (b *Backend) Whoami(ctx context.Context) (string, error) { return whoami(), ctx.Err() }

var whoami = sync.OnceValue(func() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Getuid())
})

// The only size and image: this host as it is.
const hostSize, hostImage = "host", "host"

// Sizes implements backend.Backend.
func (b *Backend) Sizes(ctx context.Context) ([]api.Size, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := b.gpus.wait(ctx); err != nil {
		return nil, err
	}
	gpus, _ := b.gpus.known()
	free := 0.0
	return []api.Size{{Name: hostSize, Backend: "local",
		Description: "all of this computer, shared with everything else on it", VCPUs: runtime.NumCPU(),
		MemoryBytes: agent.MemoryBytes(), DiskBytes: b.diskBytes(), GPUs: gpus, PriceUSD: &free, Default: true}}, nil
}

// Images implements backend.Backend.
func (b *Backend) Images(ctx context.Context) ([]api.Image, error) {
	return []api.Image{{Name: hostImage, Backend: "local", Description: "the software of this computer",
		Arch: runtime.GOARCH, User: whoami(), Default: true}}, ctx.Err()
}

func (b *Backend) diskBytes() int64 {
	for dir := b.env.Home.Data; ; dir = filepath.Dir(dir) {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil {
			return int64(st.Blocks) * int64(st.Bsize)
		}
		if dir == filepath.Dir(dir) {
			return 0
		}
	}
}

// Create implements backend.Backend.
func (b *Backend) Create(ctx context.Context, spec backend.Spec) (backend.Machine, error) {
	switch {
	case spec.Token == "":
		return backend.Machine{}, api.Errorf(api.CodeUsage, "creating %q on this computer: no token was given", spec.Name)
	case spec.Size != "" && spec.Size != hostSize:
		return backend.Machine{}, api.Errorf(api.CodeUsage, "this computer has no size %q, only %q", spec.Size, hostSize)
	case spec.Image != "" && spec.Image != hostImage:
		return backend.Machine{}, api.Errorf(api.CodeUsage, "this computer has no image %q, only %q", spec.Image, hostImage)
	case spec.AssignTo != "" && spec.AssignTo != whoami():
		return backend.Machine{}, api.Errorf(api.CodeUnsupported, "%q can't be assigned to %s: %s", spec.Name, spec.AssignTo,
			notAssignable)
	}
	share := spec.Share
	if share == "" {
		share = b.env.Settings["share"]
	}
	if share != "" {
		if err := checkShare(share); err != nil {
			return backend.Machine{}, err
		}
	}
	id := idOf(spec.Token)
	unlock, err := b.lock(ctx, id)
	if err != nil {
		return backend.Machine{}, err
	}
	defer unlock()
	in, err := b.load(id)
	switch {
	case errors.Is(err, fs.ErrNotExist) && b.deleting(id):
		err = api.Errorf(api.CodeConflict, "creating %q: the instance of this token is just being deleted", spec.Name)
	case errors.Is(err, fs.ErrNotExist):
		in = instance{Token: spec.Token, Machine: paths.MachineID(), Name: spec.Name, Size: hostSize, Image: hostImage,
			Share: share, Tags: spec.Tags, CreatedAt: time.Now().UTC()}
		in.ID = id
		if err := b.lay(in); err != nil {
			return backend.Machine{}, err
		}
		if in, err = b.load(id); err != nil {
			return backend.Machine{}, api.Errorf(api.CodeFailed, "creating %q: %w", spec.Name, err)
		}
		err = b.spawn(ctx, in, false)
	case err == nil:
		if v := b.look(id); v.broken == nil && v.status.PID == 0 && !v.resulted && !v.asked {
			err = b.spawn(ctx, in, false) // an earlier call was killed before it had started anything
		}
	default:
		err = api.Errorf(api.CodeFailed, "creating %q: %w", spec.Name, err)
	}
	if err != nil {
		return backend.Machine{}, err
	}
	return b.machine(ctx, in, nil), nil
}

func checkShare(share string) error {
	fi, err := os.Stat(share)
	if err == nil && !fi.IsDir() {
		err = errors.New("it is no folder")
	}
	if err == nil && !filepath.IsAbs(share) {
		err = errors.New("it is not an absolute path")
	}
	if err != nil {
		return api.Errorf(api.CodeUsage, "the share %q can't be used on this computer: %w", share, err)
	}
	return nil
}

// Get implements backend.Backend.
func (b *Backend) Get(ctx context.Context, ref backend.Ref) (backend.Machine, error) {
	id, err := refID(ref)
	if err != nil {
		return backend.Machine{}, err
	}
	if err := ctx.Err(); err != nil {
		return backend.Machine{}, err
	}
	in, err := b.load(id)
	if b.absent(id, err) {
		return backend.Machine{}, errGone(ref)
	}
	if err != nil && in.ID == "" {
		in.ID, in.Name, in.Token = id, orElse(ref.Name, b.nameOf(id)), ref.Token
	}
	return b.machine(ctx, in, err), nil
}

// List implements backend.Backend. An instance whose folder is broken is listed as unusable.
func (b *Backend) List(ctx context.Context) ([]backend.Machine, error) {
	entries, err := os.ReadDir(b.env.Home.Data)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, api.Errorf(api.CodeFailed, "listing the local instances: %w", err)
	}
	var out []backend.Machine
	have := map[string]bool{}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		id := strings.TrimSuffix(strings.TrimPrefix(e.Name(), "."), ".deleting")
		if !validID().MatchString(id) {
			continue
		}
		in, err := b.load(id)
		if errors.Is(err, fs.ErrNotExist) && !b.deleting(id) {
			continue
		}
		if in.ID == "" {
			in.ID, in.Name = id, id
		}
		have[id] = true
		out = append(out, b.machine(ctx, in, err))
	}
	for _, id := range b.folderless(have) {
		var in instance
		in.ID, in.Name = id, b.nameOf(id)
		out = append(out, b.machine(ctx, in, fs.ErrNotExist))
	}
	return out, ctx.Err()
}

// consoleBytes is how much of the supervisor's log Console returns.
const consoleBytes = 64 << 10

// Console implements backend.Backend: the end of the supervisor's and the agent's log.
func (b *Backend) Console(ctx context.Context, ref backend.Ref) ([]byte, error) {
	id, err := refID(ref)
	if err != nil {
		return nil, err
	}
	if _, err := b.load(id); errors.Is(err, fs.ErrNotExist) {
		return nil, errGone(ref)
	}
	out, err := tail(b.dir(id).Log(), consoleBytes)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, api.Errorf(api.CodeFailed, "reading the log of %q: %w", ref.Name, err)
	}
	return out, ctx.Err()
}

func tail(path string, n int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if fi.Size() > n {
		if _, err := f.Seek(-n, io.SeekEnd); err != nil {
			return nil, err
		}
	}
	return io.ReadAll(io.LimitReader(f, n))
}

// refID is the id that a Ref means.
func refID(ref backend.Ref) (string, error) {
	id := ref.ID
	if id == "" && ref.Token != "" {
		id = idOf(ref.Token)
	}
	if !validID().MatchString(id) {
		return "", api.Errorf(api.CodeNotFound, "there is no local instance %.60q (id %.40q)", ref.Name, id)
	}
	return id, nil
}

func orElse(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func errGone(ref backend.Ref) error {
	return api.Errorf(api.CodeNotFound, "the local instance %.60q (%s) does not exist", ref.Name, ref.ID)
}
