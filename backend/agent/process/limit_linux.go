package process

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"berth/gpu/host/procfile"
)

// cpuPeriod is the span, in microseconds, of which a limit of processors is a part.
const cpuPeriod = 100_000

// The controllers.
const (
	memoryController = "memory"
	cpuController    = "cpu"
)

// hierarchy is where a controller's groups are: of version 1, or the one of version 2.
type hierarchy struct {
	point string // where it is mounted
	own   string // the group of this process: a folder
}

// hierarchies are those of version 1 by controller; "" is that of version 2.
func hierarchies() (map[string]hierarchy, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	return parseHierarchies(mounts, own, func(dir string) bool {
		fi, err := os.Stat(dir)
		return err == nil && fi.IsDir()
	}), nil
}

func parseHierarchies(mountinfo, cgroup []byte, isDir func(string) bool) map[string]hierarchy {
	paths := map[string]string{}
	for _, g := range procfile.Groups(cgroup) {
		if len(g.Controllers) == 0 {
			paths[""] = g.Path
		}
		for _, c := range g.Controllers {
			paths[c] = g.Path
		}
	}
	out := map[string]hierarchy{}
	add := func(controller, point string) {
		h := hierarchy{point, filepath.Join(point, paths[controller])}
		if !isDir(h.own) { // in a container the group is the mount itself
			h.own = point
		}
		if _, seen := out[controller]; !seen {
			out[controller] = h
		}
	}
	for _, m := range procfile.Mounts(mountinfo) {
		switch m.Type {
		case "cgroup2":
			add("", m.Point)
		case "cgroup":
			for c := range strings.SplitSeq(m.Super, ",") {
				if c == memoryController || c == cpuController {
					add(c, m.Point)
				}
			}
		}
	}
	return out
}

// wanted are the controllers that a limit needs.
func (l Limit) wanted() (out []string) {
	if l.Memory > 0 {
		out = append(out, memoryController)
	}
	if l.CPUs > 0 {
		out = append(out, cpuController)
	}
	return out
}

// limit makes control groups of that name in which a limit holds. Where one can't be made, Why says so.
func (g *groups) limit(name string, l Limit) *Limited {
	out := &Limited{Limit: l}
	all, err := hierarchies()
	if err != nil {
		out.Why = err.Error()
		return out
	}
	if h, ok := all[""]; ok && !slices.ContainsFunc(l.wanted(), func(c string) bool { return all[c] != hierarchy{} }) {
		if err := out.makeV2(h, name); err != nil {
			out.Why = whyNot(err)
		}
		return out
	}
	var why []error
	out.homes = map[string]string{}
	for _, c := range l.wanted() {
		path, err := l.makeV1(all[c], c, name)
		out.homes[path] = all[c].own
		if err != nil {
			why = append(why, err)
		}
		if c == memoryController {
			out.MemoryGroup = path
		} else {
			out.CPUGroup = path
		}
	}
	out.Why = whyNot(why...)
	return out
}

// whyNot says in a line why limits can't be set.
func whyNot(errs ...error) string {
	var out []string
	for _, err := range errs {
		text := err.Error()
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
			text = "this user may not make control groups"
		}
		if !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return strings.Join(out, "; ")
}

// makeV1 makes the group of a controller: below this process's own, whose limits so hold, too, or below the one that
// root has handed over.
func (l Limit) makeV1(h hierarchy, controller, name string) (string, error) {
	if h.point == "" {
		return "", fmt.Errorf("the system has no %s controller", controller)
	}
	var tried error
	for _, parent := range []string{h.own, filepath.Join(h.point, HandedOver(uint32(os.Geteuid())))} {
		path := filepath.Join(parent, name)
		err := makeGroup(path)
		if err == nil {
			if err = l.set(path, controller, false); err == nil {
				return path, nil
			}
			_ = os.Remove(path)
		}
		if tried == nil {
			tried = err
		}
	}
	return "", tried
}

// makeV2 makes the one group of version 2: beside this process's own, since a group that hands controllers on can't
// have processes.
func (l *Limited) makeV2(h hierarchy, name string) error {
	parents := []string{h.point}
	if h.own != h.point {
		parents = []string{filepath.Dir(h.own)}
		if os.Geteuid() == 0 {
			parents = append(parents, h.point)
		}
	}
	var tried error
	for _, parent := range parents {
		path := filepath.Join(parent, name)
		err := handOn(parent, l.wanted())
		if err == nil {
			err = makeGroup(path)
		}
		for _, c := range l.wanted() {
			if err == nil {
				err = l.set(path, c, true)
			}
		}
		if err == nil {
			l.V2 = true
			if l.Memory > 0 {
				l.MemoryGroup = path
			}
			if l.CPUs > 0 {
				l.CPUGroup = path
			}
			return nil
		}
		_ = os.Remove(path)
		if tried == nil {
			tried = err
		}
	}
	return tried
}

// StepAside moves this process, a service that was handed its group of version 2, into a group below that: beside it
// there may be groups with limits then, of which the service manager knows nothing. The service's name begins with
// prefix; anywhere else nothing is done.
func StepAside(prefix string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	return stepAside(all[""], prefix)
}

func stepAside(h hierarchy, prefix string) error {
	if name := filepath.Base(h.own); h.own == h.point || !strings.HasPrefix(name, prefix) || filepath.Ext(name) != ".service" {
		return nil
	}
	group := filepath.Join(h.own, "agent")
	if err := makeGroup(group); err != nil {
		return err
	}
	return write(filepath.Join(group, "cgroup.procs"), strconv.Itoa(os.Getpid()))
}

// handOn has the groups below one have controllers.
func handOn(parent string, controllers []string) error {
	file := filepath.Join(parent, "cgroup.subtree_control")
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for _, c := range controllers {
		if !slices.Contains(strings.Fields(string(b)), c) {
			if err := write(file, "+"+c); err != nil {
				return fmt.Errorf("control group %s does not hand on the %s controller: %w", parent, c, err)
			}
		}
	}
	return nil
}

// makeGroup makes a group that this process can put processes into.
func makeGroup(path string) error {
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	procs := filepath.Join(path, "cgroup.procs")
	if err := unix.Access(procs, unix.W_OK); err != nil {
		_ = os.Remove(path)
		return &fs.PathError{Op: "writing", Path: procs, Err: err}
	}
	return nil
}

// set sets a controller's limit in a group.
func (l Limit) set(path, controller string, v2 bool) error {
	at := func(file string) string { return filepath.Join(path, file) }
	memory := strconv.FormatInt(l.Memory, 10)
	quota := strconv.Itoa(l.CPUs * cpuPeriod)
	switch {
	case controller == memoryController && v2:
		_ = write(at("memory.swap.max"), "0") // there may be no swap to limit
		return write(at("memory.max"), memory)
	case controller == memoryController:
		err := write(at("memory.limit_in_bytes"), memory)
		_ = write(at("memory.memsw.limit_in_bytes"), memory) // as above; it can't be below the other
		return err
	case v2:
		return write(at("cpu.max"), quota+" "+strconv.Itoa(cpuPeriod))
	}
	return errors.Join(write(at("cpu.cfs_period_us"), strconv.Itoa(cpuPeriod)), write(at("cpu.cfs_quota_us"), quota))
}

// write writes to a file of a group, which is there.
func write(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// start starts a process within the groups. Of version 1 that is done by being there for a moment; what this process
// can't enter does not hold then. The group of version 2 is the process's Cgroup.
func (l *Limited) start(start func() (*os.Process, error)) (*os.Process, error) {
	if l == nil || l.V2 {
		return start()
	}
	pid := strconv.Itoa(os.Getpid())
	var entered []string
	for _, group := range l.folders() {
		if err := write(filepath.Join(group, "cgroup.procs"), pid); err != nil {
			l.Why = strings.TrimPrefix(l.Why+"; "+err.Error(), "; ")
			continue
		}
		entered = append(entered, group)
	}
	p, err := start()
	for _, group := range entered {
		// Where this process was may be closed to it; what root has handed over, above the group, is not.
		if back := write(filepath.Join(l.homes[group], "cgroup.procs"), pid); back != nil {
			if write(filepath.Join(filepath.Dir(group), "cgroup.procs"), pid) != nil {
				err = errors.Join(err, fmt.Errorf("leaving control group %s: %w", group, back))
			}
		}
	}
	return p, err
}

// pids are the processes in the groups.
func (l *Limited) pids() (out []int) {
	for _, group := range l.folders() {
		pids, _ := (&Cgroup{Path: group}).pids() // it may be gone, and its processes with it
		out = append(out, pids...)
	}
	return out
}

// Killed is how many processes of it the system has killed for want of memory.
func (l *Limited) Killed() int {
	if l == nil || l.MemoryGroup == "" {
		return 0
	}
	file := "memory.oom_control"
	if l.V2 {
		file = "memory.events"
	}
	return killedBy(filepath.Join(l.MemoryGroup, file))
}

// killed is the same of a group that has no limit of its own.
func (c *Cgroup) killed() int {
	if c == nil || !c.V2 {
		return 0
	}
	return killedBy(filepath.Join(c.Path, "memory.events"))
}

// killedBy reads the counter of a group.
func killedBy(file string) int {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	return parseKilled(b)
}

func parseKilled(b []byte) (n int) {
	procfile.Keyed(b, func(k []byte, v uint64) {
		if bytes.Equal(k, []byte("oom_kill")) {
			n = int(min(v, 1<<30))
		}
	})
	return n
}

// peak is the most memory that it had at once; 0: that isn't known.
func (l *Limited) peak() int64 {
	if l == nil || l.MemoryGroup == "" {
		return 0
	}
	file := "memory.max_usage_in_bytes"
	if l.V2 {
		file = "memory.peak"
	}
	n, _ := readNumber(filepath.Join(l.MemoryGroup, file))
	return n
}

// readNumber reads a file of a group that has one number; "max" is none.
func readNumber(file string) (int64, bool) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64)
	return n, err == nil
}

// Remove removes the groups, once they are empty.
func (l *Limited) Remove() error {
	var errs []error
	for _, group := range l.folders() {
		errs = append(errs, (&Cgroup{Path: group}).Remove())
	}
	return errors.Join(errs...)
}

// CanLimit says why a limit, or a part of it, can't be set here. It makes groups of that name, and removes them.
func CanLimit(name string, l Limit) error {
	made := new(groups).limit(name, l)
	for _, group := range made.folders() {
		_ = os.Remove(group)
	}
	if made.Why != "" {
		return errors.New(made.Why)
	}
	return nil
}

// Machine is how much there is here for what this process starts: memory in bytes, 0 where that isn't known, and
// processors.
func Machine() (memory int64, cpus int) {
	var si unix.Sysinfo_t
	if unix.Sysinfo(&si) == nil {
		memory = int64(si.Totalram) * int64(si.Unit)
	}
	all, _ := hierarchies()
	for controller, file := range map[string]string{memoryController: "memory.limit_in_bytes", "": "memory.max"} {
		h := all[controller]
		for dir := h.own; h.point != "" && len(dir) >= len(h.point); dir = filepath.Dir(dir) {
			if n, ok := readNumber(filepath.Join(dir, file)); ok && n > 0 && n < memory {
				memory = n
			}
		}
	}
	return memory, runtime.NumCPU()
}

// HandOver makes, as root, groups of version 1 for a user, below which the user can limit what is its own.
func HandOver(uid uint32) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	done := 0
	for _, c := range []string{memoryController, cpuController} {
		h, ok := all[c]
		if !ok {
			continue
		}
		group := filepath.Join(h.point, HandedOver(uid))
		if err := os.Mkdir(group, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		_ = write(filepath.Join(group, "memory.use_hierarchy"), "1") // older systems ask for it
		for _, name := range []string{"", "cgroup.procs", "tasks"} {
			if err := os.Chown(filepath.Join(group, name), int(uid), -1); err != nil {
				return err
			}
		}
		done++
	}
	if done == 0 {
		return errors.New("the system has control groups of version 2 only, which can't be handed over to what runs already: " +
			"run the agent as a service of systemd with Delegate=yes")
	}
	return nil
}
