package process

import (
	"context"
	"os"
	"slices"
	"syscall"
	"time"

	"berth/gpu/procs/proc"
)

// Set describes processes that belong together. A process is in it if any of the fields says so;
// zero fields say nothing. The calling process is never in it.
type Set struct {
	Cgroup  *Cgroup // everything in it and below it
	Root    int     // all descendants of this process, which should be a subreaper
	Session int     // all of this session
	// SessionStart is when the leader of the session started: another leader means another session with its number.
	// 0: that isn't known.
	SessionStart uint64
	Mark         string // KEY=VALUE in the environment that the process was started with
	Except       int    // a process that is spared

	Limit *Limited // everything in its groups
}

const (
	pollEnd = 10 * time.Millisecond
	// trapTime is how long what began after the first request is let alone: it may be what somebody's trap runs.
	trapTime = 500 * time.Millisecond
	// killLimit is how long End goes on killing what does not die: a process in an uninterruptible
	// wait of the kernel can't be ended by anybody.
	killLimit = 10 * time.Second
	// emptyPasses is how many passes in a row must find no process. What forks a successor and ends can slip through
	// one: the successor came after the list was read, and it ended before its turn. The kernel's own list of a control
	// group has no such gap, but one that is just being moved there.
	emptyPasses       = 5
	emptyGroupsPasses = 2
)

// Members lists the living processes of the set.
func (s Set) Members() ([]proc.Identity, error) {
	sts, err := s.scan()
	if err != nil {
		return nil, err
	}
	out := make([]proc.Identity, 0, len(sts))
	for _, st := range sts {
		out = append(out, st.Identity())
	}
	return out, nil
}

// Empty reports whether no process of the set lives. Where only a cgroup is asked for, it costs one
// read.
func (s Set) Empty() (bool, error) {
	m, err := s.Members()
	return len(m) == 0, err
}

func (s Set) scan() ([]proc.Stat, error) {
	all, err := proc.All()
	if err != nil {
		return nil, err
	}
	in := map[int]bool{}
	if s.Cgroup != nil {
		pids, err := s.Cgroup.pids()
		if err != nil {
			return nil, err
		}
		for _, p := range pids {
			in[p] = true
		}
	}
	for _, p := range s.Limit.pids() {
		in[p] = true
	}
	if s.Root > 0 {
		kids := map[int][]int{}
		for _, st := range all {
			kids[st.PPID] = append(kids[st.PPID], st.PID)
		}
		for todo := slices.Clone(kids[s.Root]); len(todo) > 0; {
			p := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			todo = append(todo, kids[p]...)
			in[p] = true
		}
	}
	session := s.Session
	for _, st := range all {
		if st.PID == session && s.SessionStart != 0 && st.Start != s.SessionStart {
			session = 0
		}
	}
	self := os.Getpid()
	return slices.DeleteFunc(all, func(st proc.Stat) bool {
		switch {
		case st.Zombie() || st.PID == self || st.PID == s.Except || st.PID <= 1:
			return true
		case in[st.PID] || (session > 0 && st.Session == session):
			return false
		}
		return s.Mark == "" || !proc.HasEnv(st.PID, s.Mark)
	}), nil
}

// End ends every process of the set: SIGTERM (and SIGHUP to what has a terminal, since a shell
// ignores SIGTERM there), then after grace SIGKILL, until some passes in a row find none. It returns
// the processes that even that did not end. reap, if not nil, is called in each pass, for a caller
// that is the parent of what ends.
func (s Set) End(ctx context.Context, grace time.Duration, reap func()) (left []proc.Identity, err error) {
	if reap == nil {
		reap = func() {}
	}
	deadline := time.Now().Add(grace)
	asked := map[proc.Identity]bool{}
	var seen map[proc.Identity]time.Time // since when; nil before the first pass
	for time.Now().Before(deadline) && ctx.Err() == nil {
		reap()
		sts, err := s.scan()
		if err != nil {
			return nil, err
		}
		if len(sts) == 0 {
			break
		}
		now := time.Now()
		old := now
		if seen == nil {
			seen, old = map[proc.Identity]time.Time{}, now.Add(-trapTime)
		}
		for _, st := range sts {
			id := st.Identity()
			if seen[id].IsZero() {
				seen[id] = old
			}
			if asked[id] || now.Sub(seen[id]) < trapTime {
				continue
			}
			asked[id] = true
			_ = id.Signal(syscall.SIGTERM) // gone meanwhile, or another user's: the next pass tells
			if st.TTY {
				_ = id.Signal(syscall.SIGHUP)
			}
			_ = id.Signal(syscall.SIGCONT)
		}
		time.Sleep(pollEnd)
	}
	return s.kill(ctx, reap)
}

// kill stops the set from growing and kills it, until some passes in a row find none.
func (s Set) kill(ctx context.Context, reap func()) ([]proc.Identity, error) {
	deadline := time.Now().Add(killLimit)
	enough := emptyPasses
	if s.Cgroup != nil {
		enough = emptyGroupsPasses
	}
	for empty := 0; ; {
		reap()
		sts, err := s.scan()
		if err != nil {
			return nil, err
		}
		if len(sts) == 0 {
			if empty++; empty == enough {
				return nil, nil
			}
			time.Sleep(pollEnd)
			continue
		}
		empty = 0
		if ctx.Err() != nil || time.Now().After(deadline) {
			var left []proc.Identity
			for _, st := range sts {
				left = append(left, st.Identity())
			}
			return left, ctx.Err()
		}
		s.killPass(sts)
		reap()
		time.Sleep(pollEnd)
	}
}

// killPass kills what is there now. Without a cgroup that can be frozen or killed as one, all are
// stopped first, again and again until no new one appears: what is stopped does not fork.
func (s Set) killPass(sts []proc.Stat) {
	if s.Cgroup != nil {
		s.Cgroup.kill()
	}
	stopped := map[proc.Identity]bool{}
	for range 50 {
		fresh := false
		for _, st := range sts {
			id := st.Identity()
			if !stopped[id] {
				stopped[id], fresh = true, true
				_ = id.Signal(syscall.SIGSTOP)
			}
		}
		if !fresh {
			break
		}
		var err error
		if sts, err = s.scan(); err != nil {
			break
		}
	}
	for id := range stopped {
		_ = id.Signal(syscall.SIGKILL)
	}
}
