package process

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/gpu/host/procfile"
)

// Cgroup is a control group that holds the processes of one instance: of version 2 (it can be
// killed as one) or a freezer of version 1 (it can be frozen while it is killed).
type Cgroup struct {
	Path string `json:"path"`
	V2   bool   `json:"v2"`
}

// Kinds of process sets, for the kind argument of NewCgroup.
const (
	KindAuto    = "auto"
	KindV2      = "v2"
	KindFreezer = "freezer"
	KindTree    = "tree"
)

// NewCgroup makes (or finds again) the control group of that name. It tries version 2, then a
// version 1 freezer, unless kind names one of them. The error says what was tried; the caller goes
// on without a group, by tree and mark.
func NewCgroup(name, kind string) (*Cgroup, error) { return new(groups).make(name, kind) }

// groups is what a process knows of the control groups here, once it was looked up.
type groups struct {
	mounts []cgroupMount
	own    map[bool]string // as ownCgroups
	works  map[string]bool // in which groups groups were made that processes can be put into
}

func (g *groups) look() error {
	if g.mounts != nil {
		return nil
	}
	mounts, err := cgroupMounts()
	if err != nil {
		return err
	}
	g.mounts, g.own, g.works = mounts, ownCgroups(), map[string]bool{}
	return nil
}

func (g *groups) make(name, kind string) (*Cgroup, error) {
	if kind == KindTree {
		return nil, errors.New("no control group was asked for")
	}
	if err := g.look(); err != nil {
		return nil, err
	}
	var tried []error
	for _, m := range g.mounts {
		if (m.v2 && kind == KindFreezer) || (!m.v2 && kind == KindV2) {
			continue
		}
		parents := []string{filepath.Join(m.path, g.own[m.v2])}
		if os.Geteuid() == 0 { // at the top it outlives the session scope that the caller may be in
			parents = append([]string{m.path}, parents...)
		}
		for _, parent := range parents {
			c := &Cgroup{Path: filepath.Join(parent, name), V2: m.v2}
			if err := c.make(g); err != nil {
				tried = append(tried, err)
				continue
			}
			g.works[parent] = true
			return c, nil
		}
	}
	if len(tried) == 0 {
		return nil, errors.New("no control group hierarchy is mounted here")
	}
	return nil, errors.Join(tried...)
}

// make creates the group and checks that processes can really be put into it.
func (c *Cgroup) make(g *groups) error {
	if err := os.Mkdir(c.Path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if g.works[filepath.Dir(c.Path)] {
		return nil
	}
	need := []string{"cgroup.procs"}
	if c.V2 {
		need = append(need, "cgroup.kill")
	} else {
		need = append(need, "freezer.state")
	}
	for _, n := range need {
		if err := unix.Access(filepath.Join(c.Path, n), unix.W_OK); err != nil {
			_ = os.Remove(c.Path)
			return fmt.Errorf("%s of control group %s: %w", n, c.Path, err)
		}
	}
	// Migration also needs the right to take a process from where it is now: try it on ourselves.
	back, err := c.enter(g)
	if err == nil {
		err = back()
	}
	if err != nil {
		_ = os.Remove(c.Path)
	}
	return err
}

// enter moves this process into the group, so that what it starts is in there from its first
// instruction on, and returns the way back.
func (c *Cgroup) enter(g *groups) (back func() error, err error) {
	pid := []byte(strconv.Itoa(os.Getpid()))
	if err := g.look(); err != nil {
		return nil, err
	}
	var home string
	for _, m := range g.mounts {
		if m.v2 == c.V2 && strings.HasPrefix(c.Path, m.path) {
			home = filepath.Join(m.path, g.own[c.V2])
		}
	}
	if err := os.WriteFile(filepath.Join(c.Path, "cgroup.procs"), pid, 0); err != nil {
		return nil, fmt.Errorf("entering control group %s: %w", c.Path, err)
	}
	return func() error {
		if err := os.WriteFile(filepath.Join(home, "cgroup.procs"), pid, 0); err != nil {
			return fmt.Errorf("leaving control group %s for %s: %w", c.Path, home, err)
		}
		return nil
	}, nil
}

// Start runs start with this process inside the group, so that its child begins there.
func (c *Cgroup) Start(start func() error) error { return c.startWithin(new(groups), start) }

func (c *Cgroup) startWithin(g *groups, start func() error) error {
	if c == nil {
		return start()
	}
	back, err := c.enter(g)
	if err != nil {
		return err
	}
	return errors.Join(start(), back())
}

// spawn starts a program within the group. Where the system can, its process begins there, and this one stays where it
// is: to move costs more, and whoever ends the group ends what is in it.
func (c *Cgroup) spawn(g *groups, name string, argv []string, attr *os.ProcAttr) (p *os.Process, err error) {
	if c != nil && c.V2 {
		if dir, err := os.Open(c.Path); err == nil {
			defer dir.Close()
			within, sys := *attr, *attr.Sys
			sys.UseCgroupFD, sys.CgroupFD = true, int(dir.Fd())
			within.Sys = &sys
			if p, err := os.StartProcess(name, argv, &within); err == nil {
				return p, nil
			} // else the system is old, say; or it is the program that can't be started, which is said below
		}
	}
	err = c.startWithin(g, func() (err error) {
		p, err = os.StartProcess(name, argv, attr)
		return err
	})
	return p, err
}

// pids lists the processes of the group and of all groups below it.
func (c *Cgroup) pids() ([]int, error) {
	var out []int
	err := filepath.WalkDir(c.Path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		if !d.IsDir() {
			return nil
		}
		b, err := os.ReadFile(filepath.Join(p, "cgroup.procs"))
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
				return nil
			}
			return err
		}
		for f := range bytes.FieldsSeq(b) {
			if pid, err := strconv.Atoi(string(f)); err == nil && pid > 0 {
				out = append(out, pid)
			}
		}
		return nil
	})
	return out, err
}

// kill kills all of the group. Errors are left to the next pass, which looks at what is left.
func (c *Cgroup) kill() {
	if c.V2 {
		_ = os.WriteFile(filepath.Join(c.Path, "cgroup.kill"), []byte("1"), 0)
		return
	}
	state := filepath.Join(c.Path, "freezer.state")
	_ = os.WriteFile(state, []byte("FROZEN"), 0)
	pids, _ := c.pids()
	for _, p := range pids {
		if p != os.Getpid() {
			_ = syscall.Kill(p, syscall.SIGKILL) // frozen: the PID can't be another's meanwhile
		}
	}
	_ = os.WriteFile(state, []byte("THAWED"), 0)
}

// used is what its processes used so far: CPU in seconds, and the most memory at once in bytes. 0: it does not tell.
func (c *Cgroup) used() (cpu float64, memory int64) {
	if c == nil || !c.V2 {
		return 0, 0
	}
	b, _ := os.ReadFile(filepath.Join(c.Path, "cpu.stat"))
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "usage_usec "); ok {
			n, _ := strconv.ParseFloat(strings.TrimSpace(v), 64)
			cpu = n / 1e6
		}
	}
	b, _ = os.ReadFile(filepath.Join(c.Path, "memory.peak"))
	memory, _ = strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return cpu, memory
}

// Remove removes the group and those below it, once they are empty. A group that is still in use
// for a moment (its last process is being taken apart) is tried again.
func (c *Cgroup) Remove() error {
	if c == nil {
		return nil
	}
	var err error
	for range 50 {
		var dirs []string
		_ = filepath.WalkDir(c.Path, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, p)
			}
			return nil
		})
		err = nil
		for i := len(dirs) - 1; i >= 0; i-- {
			if e := os.Remove(dirs[i]); e != nil && !errors.Is(e, fs.ErrNotExist) {
				err = e
			}
		}
		if err == nil {
			return nil
		}
		time.Sleep(pollEnd)
	}
	return err
}

type cgroupMount struct {
	path string
	v2   bool
}

// cgroupMounts lists where version 2 and the freezer are mounted, version 2 first.
func cgroupMounts() ([]cgroupMount, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var v2, v1 []cgroupMount
	for _, m := range procfile.Mounts(b) {
		switch {
		case m.Type == "cgroup2":
			v2 = append(v2, cgroupMount{m.Point, true})
		case m.Type == "cgroup" && slices.Contains(strings.Split(m.Super, ","), "freezer"):
			v1 = append(v1, cgroupMount{m.Point, false})
		}
	}
	return append(v2, v1...), nil
}

// ownCgroups returns this process's path in version 2 (true) and in the freezer (false).
func ownCgroups() map[bool]string {
	out := map[bool]string{true: "/", false: "/"}
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return out
	}
	for _, g := range procfile.Groups(b) {
		switch {
		case len(g.Controllers) == 0:
			out[true] = g.Path
		case slices.Contains(g.Controllers, "freezer"):
			out[false] = g.Path
		}
	}
	return out
}

// BecomeSubreaper makes orphaned descendants children of this process instead of init's.
func BecomeSubreaper() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }
