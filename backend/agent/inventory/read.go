package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/sys/unix"

	"berth/backend/api"
	"berth/backend/machine/software"
)

const (
	// toolLimit is how long one program may take to say its version.
	toolLimit = 5 * time.Second
	// readLimit is how long all of it may take; what is not done by then is left out.
	readLimit = 9 * time.Second
	// maxFile bounds what is read of a file, in bytes; maxOut what a program may print.
	maxFile = 1 << 20
	maxDpkg = 64 << 20
	maxOut  = 64 << 10
	// running is how many programs are asked at once.
	running = 8
)

// Host is what is read. The zero value with a Home is this one.
type Host struct {
	Root string   // put before absolute paths; for tests
	Home string   // the user's home folder
	Work string   // the working directory; empty: none
	Path []string // folders of programs before the usual ones
	Arch string
	Run  func(ctx context.Context, path string, args ...string) ([]byte, error)
	// Limit replaces readLimit, ToolLimit toolLimit.
	Limit, ToolLimit time.Duration

	have func() map[string]string // dpkg, read once
}

var usualPath = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/snap/bin",
	"/usr/local/cuda/bin"}

// Reader reads inventories of a host. Who asks while one is being read gets that one. A part that hung in an
// earlier Read and still does is not begun again.
type Reader struct {
	h    Host
	once singleflight.Group
	mu   sync.Mutex
	on   map[string]bool // parts under way
}

// NewReader returns a reader of a host.
func NewReader(h Host) *Reader {
	h.Limit, h.ToolLimit = cmp.Or(h.Limit, readLimit), cmp.Or(h.ToolLimit, toolLimit)
	if h.Run == nil {
		h.Run = run
	}
	return &Reader{h: h, on: map[string]bool{}}
}

// found is what one part finds.
type found struct {
	components []api.Component
	conda      []api.Conda
	python     []api.Conda
	kernels    []api.KernelSpec
	errs       []string
	system     string
	release    string
}

func (f *found) add(name, version, path, note string) {
	f.components = append(f.components, api.Component{Name: name, Title: software.Title(name), Version: version,
		Path: path, Note: note})
}

func (f *found) fail(format string, a ...any) { f.errs = append(f.errs, fmt.Sprintf(format, a...)) }

// Read reads what is installed, within about ten seconds. What could not be read stands in Errors and Unread.
func (r *Reader) Read(ctx context.Context) api.Inventory {
	got := r.once.DoChan("", func() (any, error) { // it is also of others, who may stay longer than this caller
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.h.Limit)
		defer cancel()
		return r.read(ctx), nil
	})
	select {
	case g := <-got:
		inv := g.Val.(api.Inventory)
		inv.Components, inv.Conda, inv.Python = slices.Clone(inv.Components), slices.Clone(inv.Conda),
			slices.Clone(inv.Python)
		inv.Kernels, inv.Errors, inv.Unread, inv.Drift = slices.Clone(inv.Kernels), slices.Clone(inv.Errors),
			slices.Clone(inv.Unread), []api.Drift{}
		return inv
	case <-ctx.Done():
		return api.Inventory{ReadAt: time.Now().UTC(), Errors: []string{"nothing was read: " + ctx.Err().Error()}}
	}
}

func (r *Reader) read(ctx context.Context) api.Inventory {
	h := r.h
	h.have = sync.OnceValue(h.dpkg)
	slots := make(chan struct{}, running)
	parts := map[string]func(context.Context) found{
		partSystem: h.system, partDriver: h.driver, partCUDA: h.cuda, partLibraries: h.libraries, partPythons: h.pythons,
		partVenvs: h.workVenvs,
	}
	for _, t := range tools {
		parts[t.name] = func(ctx context.Context) found { return h.tool(ctx, t, slots) }
	}
	type done struct {
		name string
		found
	}
	c := make(chan done, len(parts))
	inv := api.Inventory{ReadAt: time.Now().UTC(), Arch: r.h.Arch, Kernel: kernel(), Components: []api.Component{},
		Conda:  []api.Conda{},
		Python: []api.Conda{}, Kernels: []api.KernelSpec{}, Drift: []api.Drift{}}
	waits := map[string]bool{}
	for name, part := range parts {
		r.mu.Lock()
		busy := r.on[name]
		r.on[name] = true
		r.mu.Unlock()
		if busy {
			inv.Errors = append(inv.Errors, name+": an earlier look at it still hangs")
			inv.Unread = append(inv.Unread, tellsOf(name)...)
			continue
		}
		waits[name] = true
		go func() { // ends when what it reads answers
			f := part(ctx)
			r.mu.Lock()
			delete(r.on, name)
			r.mu.Unlock()
			c <- done{name, f}
		}()
	}
	for len(waits) > 0 {
		select {
		case d := <-c:
			delete(waits, d.name)
			inv.Components = append(inv.Components, d.components...)
			inv.Conda = append(inv.Conda, d.conda...)
			inv.Python = append(inv.Python, d.python...)
			inv.Kernels = append(inv.Kernels, d.kernels...)
			inv.System, inv.Release = cmp.Or(inv.System, d.system), cmp.Or(inv.Release, d.release)
			for _, e := range d.errs {
				inv.Errors = append(inv.Errors, d.name+": "+e)
			}
		case <-ctx.Done():
			for n := range waits {
				inv.Errors = append(inv.Errors, fmt.Sprintf("%s: no answer within %v; a mount may hang", n, r.h.Limit))
				inv.Unread = append(inv.Unread, tellsOf(n)...)
			}
			clear(waits)
		}
	}
	order(&inv)
	return inv
}

// The parts that are no program's.
const (
	partSystem    = "the system"
	partDriver    = "the NVIDIA driver"
	partCUDA      = "CUDA toolkits"
	partLibraries = "cuDNN and NCCL"
	partPythons   = "Pythons and Jupyter kernels"
	partVenvs     = "virtual environments in the working directory"
)

// tellsOf are the components that a part tells of.
func tellsOf(part string) []string {
	switch part {
	case partSystem:
		return nil
	case partDriver:
		return []string{"nvidia-driver"}
	case partCUDA:
		return []string{"cuda"}
	case partLibraries:
		return []string{"cudnn", "nccl"}
	case partPythons:
		return []string{software.UnreadPackages, software.KernelPrefix}
	case partVenvs:
		return []string{software.UnreadPackages}
	}
	return []string{part} // of one program
}

// order makes an inventory the same however fast its parts were.
func order(inv *api.Inventory) {
	rank := map[string]int{}
	for i, n := range []string{"nvidia-driver", "cuda", "cudnn", "nccl", "docker", "podman", "nvidia-container-toolkit",
		"nginx", "mpi", "protobuf", "python", "r", "conda"} {
		rank[n] = i - 100
	}
	slices.SortFunc(inv.Components, func(a, b api.Component) int {
		return cmp.Or(rank[a.Name]-rank[b.Name], strings.Compare(a.Name, b.Name), strings.Compare(a.Path, b.Path))
	})
	byPath := func(a, b api.Conda) int { return strings.Compare(a.Path, b.Path) }
	slices.SortFunc(inv.Conda, byPath)
	slices.SortFunc(inv.Python, byPath)
	slices.SortFunc(inv.Kernels, func(a, b api.KernelSpec) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Path, b.Path))
	})
	slices.Sort(inv.Errors)
	slices.Sort(inv.Unread)
	inv.Unread = slices.Compact(inv.Unread)
}

func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// path is where an absolute path of the host is.
func (h *Host) path(p string) string { return filepath.Join("/", h.Root, p) }

// out is the host's own name for a path.
func (h *Host) out(p string) string {
	if h.Root == "" {
		return p
	}
	return cmp.Or(strings.TrimPrefix(p, filepath.Clean(h.Root)), "/")
}

// file reads a plain file, at most limit bytes of it. Devices and pipes, which might never end, are not
// opened.
func (h *Host) file(p string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(h.path(p), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no plain file", p)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// real follows the links of a host's path, as the host itself would, and returns where it ends.
func (h *Host) real(p string) (string, error) {
	if h.Root == "" {
		return filepath.EvalSymlinks(p)
	}
	at, rest := "/", strings.Split(filepath.Clean(p), "/")
	for links := 0; len(rest) > 0; {
		n := rest[0]
		rest = rest[1:]
		next := filepath.Join(at, n)
		fi, err := os.Lstat(h.path(next))
		if err != nil {
			return "", err
		}
		if fi.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if links++; links > 40 {
			return "", fmt.Errorf("%s: too many links", p)
		}
		to, err := os.Readlink(h.path(next))
		if err != nil {
			return "", err
		}
		if filepath.IsAbs(to) {
			at = "/"
		}
		rest = append(strings.Split(filepath.Clean(to), "/"), rest...)
	}
	return at, nil
}

// names lists a folder of the host; none where it is not there.
func (h *Host) names(p string) []string {
	d, err := os.Open(h.path(p))
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(20000)
	slices.Sort(names)
	return names
}

func (h *Host) isDir(p string) bool {
	fi, err := os.Stat(h.path(p))
	return err == nil && fi.IsDir()
}

// glob returns the host's paths that match.
func (h *Host) glob(patterns ...string) []string {
	var out []string
	for _, p := range patterns {
		m, _ := filepath.Glob(h.path(p))
		for _, f := range m {
			out = append(out, h.out(f))
		}
	}
	return out
}

func (h *Host) system(context.Context) (f found) {
	for _, p := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		if b, err := h.file(p, maxFile); err == nil {
			f.system, f.release = osRelease(b)
			return f
		}
	}
	f.fail("there is no /etc/os-release")
	return f
}

// dpkg is what Debian's package manager says is installed.
func (h *Host) dpkg() map[string]string {
	b, err := h.file("/var/lib/dpkg/status", maxDpkg)
	if err != nil {
		return nil
	}
	return dpkgStatus(b)
}

// program finds a program of the host.
func (h *Host) program(names, more []string) string {
	for _, d := range slices.Concat(h.Path, more, usualPath) {
		for _, n := range names {
			p := filepath.Join(d, n)
			if real, err := h.real(p); err == nil {
				if fi, err := os.Stat(h.path(real)); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
					return p
				}
			}
		}
	}
	return ""
}

// tool asks a program for its version, unless its package tells.
func (h *Host) tool(ctx context.Context, t tool, slots chan struct{}) (f found) {
	p := h.program(t.programs, t.paths)
	if p == "" {
		return f
	}
	real, err := h.real(p)
	if err == nil && len(t.packages) > 0 && strings.HasPrefix(real, "/usr/") && !strings.HasPrefix(real, "/usr/local/") {
		have := h.have()
		for _, pkg := range t.packages {
			if v := have[pkg]; v != "" {
				note := ""
				if t.name == "mpi" {
					note = map[string]string{"openmpi-bin": "Open MPI", "mpich": "MPICH"}[pkg]
				}
				f.add(t.name, versionOr(v), p, note)
				return f
			}
		}
	}
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, h.ToolLimit)
	defer cancel()
	b, err := h.Run(ctx, h.path(p), t.args...)
	v := versionIn(b)
	if v == "" && err != nil {
		f.fail("%s %s: %v", p, strings.Join(t.args, " "), err)
	}
	note := ""
	if t.name == "mpi" && strings.Contains(string(b), "Open MPI") {
		note = "Open MPI"
	}
	f.add(t.name, v, p, note)
	return f
}

// versionOr is the version in a package's version, or all of it.
func versionOr(v string) string { return cmp.Or(versionIn([]byte(v)), v) }

// run runs a program that is to say something and end. It has no terminal and nobody to ask.
func run(ctx context.Context, path string, args ...string) ([]byte, error) {
	var out limited
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + strings.Join(usualPath, ":"), "HOME=" + os.Getenv("HOME"), "LC_ALL=C", "TERM=dumb"}
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 300 * time.Millisecond
	err := cmd.Run()
	if ctx.Err() != nil {
		err = errors.New("it did not end in time")
	}
	out.mu.Lock()
	defer out.mu.Unlock()
	return slices.Clone(out.b), err
}

// limited keeps the first maxOut bytes.
type limited struct {
	mu sync.Mutex
	b  []byte
}

func (l *limited) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if room := maxOut - len(l.b); room > 0 {
		l.b = append(l.b, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
