package agent

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"time"

	"berth/backend/agent/boot"
	"berth/backend/agent/server"
	"berth/backend/api"
	"berth/backend/base/flock"
	"berth/backend/base/paths"
	"berth/gpu/procs/proc"
)

// Uninstall ends the agent of the options' state folder and removes what it put on this host: its
// unit or crontab line, its folder, its programs. With end it first ends terminals and commands;
// without, it refuses while there are any. Nothing else is touched.
func Uninstall(ctx context.Context, o Options, end bool) error {
	info, err := askInfo(ctx, o.Socket)
	if err == nil {
		if n := info.Terminals + info.Execs; n > 0 && !end {
			return api.Errorf(api.CodeRefused, "the agent has %d terminals and %d commands under way",
				info.Terminals, info.Execs).WithHint("end them first, or use --end")
		}
		c := NewClient(o.Socket)
		defer c.Close()
		if err := c.Stop(ctx, api.StopRequest{End: end}); err != nil {
			return err
		}
	}
	rec, _ := server.ReadRecord(o) // gone, where it stopped in order
	l, err := flock.OpenWithin(ctx, o.LockPath(), 10*time.Second)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return api.Errorf(api.CodeFailed, "the agent (process %d) does not end: %w", rec.PID, err)
	default:
		defer l.Close()
	}
	var errs []error
	errs = append(errs, boot.Remove(ctx, o))
	exits, cancel := context.WithTimeout(ctx, exitLimit)
	defer cancel()
	for _, f := range programs(o.BinDir()) {
		if inUse(exits, f) {
			continue // another agent of this user's runs from it
		}
		errs = append(errs, os.Remove(f))
		_ = os.Remove(filepath.Dir(f)) // stays if there is more in it
	}
	_ = os.Remove(o.BinDir())
	errs = append(errs, os.RemoveAll(o.State))
	_ = os.Remove(o.Scratch) // stays if there is something in it: that is the user's
	if run := filepath.Dir(o.Socket); filepath.Dir(run) == paths.RunBase() {
		_ = os.Remove(run) // stays with a daemon's socket in it
		_ = os.Remove(paths.RunBase())
	}
	if err := errors.Join(errs...); err != nil {
		return api.Errorf(api.CodeFailed, "removing the agent: %w", err)
	}
	return nil
}

// programs are the copies of small agents and shims; a berth that serves other purposes stays.
func programs(bin string) (out []string) {
	all, _ := filepath.Glob(filepath.Join(bin, "*", "berth-*"))
	for _, f := range all {
		if n := filepath.Base(f); strings.HasPrefix(n, "berth-agent") || strings.HasPrefix(n, "berth-shim") {
			out = append(out, f)
		}
	}
	return out
}

// exitLimit is how long what was told to end may take until its programs are no longer in use.
const exitLimit = 2 * time.Second

// inUse reports whether another process runs from a program, still at ctx's end, as far as the system
// shows that.
func inUse(ctx context.Context, program string) bool {
	want, err := os.Stat(program)
	if err != nil {
		return false
	}
	for {
		if len(proc.Running(want)) == 0 {
			return false
		}
		select {
		case <-ctx.Done():
			return true
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func uninstallCommand(ctx context.Context, args []string, stdio Stdio) error {
	end := false
	o, err := parse("uninstall", args, stdio.Err, func(fs *flag.FlagSet) {
		fs.BoolVar(&end, "end", false, "also end terminals and commands")
	})
	if err != nil {
		return err
	}
	return Uninstall(ctx, o, end)
}
