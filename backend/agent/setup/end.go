package setup

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"berth/backend/agent/process"
	"berth/backend/agent/root"
	"berth/backend/api"
	"berth/backend/base/atomicfile"
	"berth/gpu/procs/proc"
)

// endAll ends a set of processes: SIGTERM, and SIGKILL after a grace. Those of root are signalled as root,
// where by says how. It returns how many were left.
func endAll(ctx context.Context, set process.Set, grace time.Duration, by *root.Caller) int {
	if by == nil {
		left, _ := set.End(ctx, grace, nil)
		return len(left)
	}
	members, _ := set.Members()
	for _, sig := range []struct {
		name string
		sig  syscall.Signal
		wait time.Duration
	}{{"TERM", syscall.SIGTERM, grace}, {"KILL", syscall.SIGKILL, grace}} {
		deadline := time.Now().Add(sig.wait)
		told := map[proc.Identity]bool{}
		for len(members) > 0 && time.Now().Before(deadline) && ctx.Err() == nil {
			var others []root.Target
			for _, m := range members {
				if !told[m] {
					told[m] = true
					if err := m.Signal(sig.sig); err != nil && !errors.Is(err, proc.ErrGone) {
						others = append(others, root.Target{PID: m.PID, StartedAt: m.StartedAt()})
					}
				}
			}
			if len(others) > 0 {
				ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
				_ = by.Signal(ctx, sig.name, others...) // what is left is counted
				cancel()
			}
			time.Sleep(20 * time.Millisecond)
			members, _ = set.Members()
		}
	}
	return len(members)
}

// endRunner tells the runner of a step to end it, and waits until it has.
func (e *Engine) endRunner(ctx context.Context, p *plan, i, k int) {
	var who started
	if atomicfile.Read(stepFile(p.dir, i, k, "run"), &who) != nil || who.Boot != e.o.Boot || !who.alive() {
		return
	}
	who.Identity.Boot = proc.BootID() // the system's own, also where a test says otherwise
	if who.Identity.Signal(syscall.SIGTERM) != nil {
		return
	}
	deadline := time.Now().Add(2*e.o.Grace + 15*time.Second)
	for who.alive() && time.Now().Before(deadline) && ctx.Err() == nil {
		time.Sleep(20 * time.Millisecond)
	}
}

func (s started) alive() bool {
	id := s.Identity
	id.Boot = proc.BootID()
	return id.Alive()
}

// endRest ends what a runner left behind that was killed.
func (e *Engine) endRest(ctx context.Context, session int, ofRoot bool) {
	var by *root.Caller
	if ofRoot && len(e.o.Root.Sudo) > 0 {
		by = &e.o.Root
	}
	endAll(ctx, process.Set{Session: session}, e.o.Grace, by)
}

// restartMachine asks the system to restart.
func (e *Engine) restartMachine(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err := e.o.Root.Run(ctx, "restarting the machine", "restart")
	if err == nil || ctx.Err() != nil {
		return nil // the system's own answer may be cut off by what was asked for
	}
	return api.AsError(err).WithHint("restart it; the set-up then goes on by itself")
}

// fullDisk says which of the folders' file systems is full, or "".
func fullDisk(dirs ...string) string {
	for _, d := range dirs {
		var st unix.Statfs_t
		if unix.Statfs(d, &st) != nil || st.Blocks == 0 {
			continue
		}
		if free := uint64(st.Bavail) * uint64(st.Bsize); free < 1<<20 {
			return fmt.Sprintf("the disk of %s is full (%s free)", d, humanize.IBytes(free))
		}
	}
	return ""
}
