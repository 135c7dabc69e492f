package setup

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"berth/backend/agent/durable"
	"berth/backend/agent/proc"
	"berth/backend/api"
)

// endAll ends a set of processes: SIGTERM, and SIGKILL after a grace. Those of root are signalled by sudo,
// where that is given. It returns how many were left.
func endAll(ctx context.Context, set proc.Set, grace time.Duration, sudo []string) int {
	if sudo == nil {
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
			argv := append(append([]string{}, sudo...), "kill", "-s", sig.name)
			fresh := false
			for _, m := range members {
				if !told[m] {
					told[m], fresh = true, true
					_ = m.Signal(sig.sig)
					argv = append(argv, strconv.Itoa(m.PID))
				}
			}
			if fresh {
				_, _ = command(ctx, argv...) // some have ended by now
			}
			time.Sleep(20 * time.Millisecond)
			members, _ = set.Members()
		}
	}
	return len(members)
}

// command runs a small command and returns its output.
func command(ctx context.Context, argv ...string) ([]byte, error) {
	path, err := lookPath(argv[0], nil)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, argv[1:]...)
	cmd.Env = []string{"PATH=" + defaultPath, "LC_ALL=C"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it has nobody to ask
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("%s did not end in time: %w", argv[0], ctx.Err())
	}
	return out, err
}

// endRunner tells the runner of a step to end it, and waits until it has.
func (e *Engine) endRunner(ctx context.Context, p *plan, i, k int) {
	var who started
	if durable.Read(stepFile(p.dir, i, k, "run"), &who) != nil || who.Boot != e.o.Boot || !who.alive() {
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
func (e *Engine) endRest(ctx context.Context, session int, root bool) {
	sudo := e.o.Sudo
	if !root {
		sudo = nil
	}
	endAll(ctx, proc.Set{Session: session}, e.o.Grace, sudo)
}

// restartMachine asks the system to restart.
func (e *Engine) restartMachine(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out, err := command(ctx, append(append([]string{}, e.o.Sudo...), "sh", "-c", "sync; shutdown -r now || systemctl reboot || reboot")...)
	if err == nil || ctx.Err() != nil {
		return nil // the system's own answer may be cut off by what was asked for
	}
	return api.Errorf(api.CodeFailed, "restarting the machine failed: %w: %s", err, lastLine(plain(out))).
		WithHint("restart it; the set-up then goes on by itself")
}

// fullDisk says which of the folders' file systems is full, or "".
func fullDisk(dirs ...string) string {
	for _, d := range dirs {
		var st unix.Statfs_t
		if unix.Statfs(d, &st) != nil || st.Blocks == 0 {
			continue
		}
		if free := uint64(st.Bavail) * uint64(st.Bsize); free < 1<<20 {
			return fmt.Sprintf("the disk of %s is full (%s free)", d, humanize.Bytes(free))
		}
	}
	return ""
}
