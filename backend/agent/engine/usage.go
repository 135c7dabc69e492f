package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"berth/backend/agent/process"
	"berth/gpu/procs/proc"
)

// groupsAt is where the system's control groups are.
const groupsAt = "/sys/fs/cgroup"

// usage is what a container used, by its control groups: they are gone soon after its end. Engines say less of it, and
// Podman not always that a process was killed for want of memory.
type usage struct {
	mu     sync.Mutex
	root   string
	memory string // folders; "": not known
	cpu    string
	v2     bool

	killed int64         // processes, for want of memory
	peak   int64         // bytes
	used   time.Duration // of processors
}

// of finds the groups from a process's list of them: /proc/PID/cgroup.
func (u *usage) of(list []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for s := bufio.NewScanner(bytes.NewReader(list)); s.Scan(); {
		number, rest, _ := strings.Cut(s.Text(), ":")
		names, path, ok := strings.Cut(rest, ":")
		if !ok || !filepath.IsAbs(path) || strings.Contains(path, "..") || path == "/" { // all of the system's
			continue
		}
		if number == "0" && names == "" {
			dir := filepath.Join(u.root, path)
			if _, err := os.Stat(filepath.Join(dir, "memory.events")); err == nil && u.memory == "" {
				u.memory, u.cpu, u.v2 = dir, dir, true
			}
			continue
		}
		for n := range strings.SplitSeq(names, ",") {
			switch n {
			case "memory":
				u.memory, u.v2 = filepath.Join(u.root, n, path), false
			case "cpuacct":
				u.cpu = filepath.Join(u.root, n, path)
			}
		}
	}
}

// look reads what was used until now. What can't be read is as it was.
func (u *usage) look() {
	u.mu.Lock()
	defer u.mu.Unlock()
	most := func(n *int64, dir, file, key string) {
		if dir == "" {
			return
		}
		if v, ok := readNumber(filepath.Join(dir, file), key); ok {
			*n = max(*n, v)
		}
	}
	cpu := int64(u.used)
	if u.v2 {
		most(&u.killed, u.memory, "memory.events", "oom_kill")
		most(&u.peak, u.memory, "memory.peak", "")
		micros := cpu / 1000
		most(&micros, u.cpu, "cpu.stat", "usage_usec")
		cpu = max(cpu, micros*1000)
	} else {
		most(&u.killed, u.memory, "memory.oom_control", "oom_kill")
		most(&u.peak, u.memory, "memory.max_usage_in_bytes", "")
		most(&cpu, u.cpu, "cpuacct.usage", "")
	}
	u.used = time.Duration(cpu)
}

// readNumber reads a number from a file: all that is in it, or what comes after a key in a line of it.
func readNumber(path, key string) (int64, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if key != "" {
			var found bool
			if line, found = strings.CutPrefix(line, key+" "); !found {
				continue
			}
		}
		n, err := strconv.ParseInt(line, 10, 64)
		return n, err == nil && n >= 0
	}
	return 0, false
}

// What a container uses is looked at while it runs, at first often and at last every lookMost: when it has ended, its
// groups may be gone sooner than they are read.
const (
	lookFirst = 20 * time.Millisecond
	lookMost  = time.Second
)

// awaitProcess waits for the end of a container by that of its main process, and looks at what it uses. Podman itself
// looks for that only now and then.
func (e *engine) awaitProcess(ctx context.Context, name string, u *usage) error {
	for wait := 5 * time.Millisecond; ctx.Err() == nil; wait *= 2 {
		c, err := e.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
		if err == nil && c.Container.State == nil {
			err = errors.New("the engine does not say what becomes of the container")
		}
		if err != nil {
			return err
		}
		s := c.Container.State
		if !s.Running && !s.Paused && s.Status != container.StateCreated {
			return nil
		}
		if st, err := proc.ReadStat(s.Pid); err == nil && s.Pid > 0 && !st.Zombie() {
			if list, err := proc.Cgroups(s.Pid); err == nil {
				u.of(list)
			}
			if err := u.awaitEnd(ctx, st.Identity()); err != nil {
				return err
			}
		}
		pause(ctx, min(wait, lookMost))
	}
	return ctx.Err()
}

// awaitEnd looks until a process has ended, and once more then.
func (u *usage) awaitEnd(ctx context.Context, id proc.Identity) error {
	for wait := lookFirst; ; wait = min(2*wait, lookMost) {
		u.look()
		limited, cancel := context.WithTimeout(ctx, wait)
		err := process.AwaitEnd(limited, id)
		cancel()
		switch {
		case err == nil:
			u.look()
			return nil
		case ctx.Err() != nil:
			return err
		}
	}
}
