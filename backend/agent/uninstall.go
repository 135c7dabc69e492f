package agent

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
// unit or crontab line, its folder, its programs, and what is empty of the folders that were made for it. With end it
// first ends terminals and commands; without, it refuses while there are any. Nothing else is touched.
func Uninstall(ctx context.Context, o Options, end bool) error {
	_, err := uninstall(ctx, o, end, "")
	return err
}

// uninstall is Uninstall for one home, or for all (""). Where others use the agent, too, only what is of that home
// goes, and the others are returned.
func uninstall(ctx context.Context, o Options, end bool, home string) (others []api.HomeUse, err error) {
	o.Socket = socketOf(ctx, o)
	if home != "" {
		if others, err = leave(ctx, o, home); err != nil || len(others) > 0 {
			return others, err
		}
	}
	return nil, remove(ctx, o, end)
}

// socketOf is where the agent of the options' state folder listens, or would: the agent of another folder, which is not
// to be ended, may have the socket that the options or an old record name.
func socketOf(ctx context.Context, o Options) string {
	sockets := []string{o.Socket}
	if rec, err := server.ReadRecord(o); err == nil && rec.Socket != "" && rec.Socket != o.Socket {
		sockets = append(sockets, rec.Socket)
	}
	free := ""
	for _, s := range sockets {
		info, err := askInfo(ctx, s)
		switch {
		case err != nil:
			free = cmp.Or(free, s)
		case info.StateDir == "" || sameFolder(info.StateDir, o.State): // an old one does not say
			return s
		}
	}
	return cmp.Or(free, filepath.Join(o.State, "agent.sock"))
}

func sameFolder(a, b string) bool {
	fa, aerr := os.Stat(a)
	fb, berr := os.Stat(b)
	return a == b || aerr == nil && berr == nil && os.SameFile(fa, fb)
}

// uninstallFound is uninstall of an agent that was looked for. It does nothing where that is not this login's on this
// machine (the folders beside it are those of other machines that share the user's home, and of the user's other
// homes), or where home is not known to use it. An older Berth that does is told of: it may be that one.
func uninstallFound(ctx context.Context, o Options, end bool, home string) (others []api.HomeUse, err error) {
	usual := Options{Home: o.Home, Workdir: o.Workdir}
	if err := usual.Defaults(); err != nil {
		return nil, err
	}
	known, err := server.ReadHomes(o)
	switch {
	case !isOutside(o.State) && !sameFolder(usual.State, o.State):
		return nil, removeOwn(ctx)
	case err != nil:
		return nil, errors.Join(fmt.Errorf("reading who uses the agent: %w", err), removeOwn(ctx))
	case home != "" && !known.Know(home):
		if others = known.Others(home); !nameless(others) {
			others = nil
		}
		return others, removeOwn(ctx)
	}
	if others, err = uninstall(ctx, o, end, home); len(others) > 0 {
		err = errors.Join(err, removeOwn(ctx))
	}
	return others, err
}

func nameless(homes []api.HomeUse) bool {
	_, ok := api.NamelessUntil(homes)
	return ok
}

// isOutside reports whether the folder of an agent stands where no home is.
func isOutside(state string) bool { return outside().MatchString(filepath.Base(filepath.Dir(state))) }

// leave ends what is of a home, and returns who else uses the agent. An agent that does not run is started for that.
func leave(ctx context.Context, o Options, home string) ([]api.HomeUse, error) {
	known, err := server.ReadHomes(o)
	if err != nil {
		return nil, fmt.Errorf("reading who else uses the agent: %w", err)
	}
	if len(known.Others(home)) == 0 {
		return nil, nil
	}
	if _, err := Start(ctx, o, false); err != nil {
		return nil, err
	}
	c := NewClient(o.Socket)
	defer c.Close()
	answer, err := c.Leave(ctx, api.LeaveRequest{Home: home})
	if errors.Is(err, &api.Error{Code: api.CodeNotFound}) {
		err = nil // it is older than the record
	}
	return answer.Others, err
}

// remove ends the agent and removes it.
func remove(ctx context.Context, o Options, end bool) error {
	exe := ""
	if rec, err := server.ReadRecord(o); err == nil {
		exe = rec.Exe
	}
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
	made := readMade(o.State)
	errs = append(errs, os.RemoveAll(o.State))
	if spare := o.SpareDir(); spare != "" {
		errs = append(errs, os.RemoveAll(spare))
		_ = os.Remove(filepath.Dir(spare)) // stays while another agent's is in it
	}
	_ = os.Remove(o.Scratch) // stays if there is something in it: that is the user's
	bins := []string{sharedBin(exe)}
	if isOutside(o.State) {
		bins = append(bins, o.BinDir())
	}
	errs = append(errs, removeBins(exits, o, bins...))
	prune(filepath.Dir(o.State), made)
	if run := filepath.Dir(o.Socket); filepath.Dir(run) == paths.RunBase() {
		_ = os.Remove(run) // stays with a daemon's socket in it
		_ = os.Remove(paths.RunBase())
	}
	if err := errors.Join(errs...); err != nil {
		return api.Errorf(api.CodeFailed, "removing the agent: %w", err)
	}
	return nil
}

// removeBins removes what nobody uses any more from folders for programs ("": none), and from that of this program.
func removeBins(ctx context.Context, o Options, bins ...string) error {
	own, _ := os.Executable()
	bins = append(bins, sharedBin(own))
	slices.Sort(bins)
	var errs []error
	for _, bin := range slices.Compact(bins) {
		if bin != "" {
			errs = append(errs, removeShared(ctx, o, bin))
			_ = os.Remove(bin) // stays if others run from it
			prune(filepath.Dir(bin), nil)
		}
	}
	return errors.Join(errs...)
}

// removeOwn removes the copy of this program that came here to remove what it does not.
func removeOwn(ctx context.Context) error {
	exits, cancel := context.WithTimeout(ctx, exitLimit)
	defer cancel()
	return removeBins(exits, Options{})
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
	end, found, home := false, false, ""
	o, err := parse("uninstall", args, stdio.Err, func(fs *flag.FlagSet) {
		fs.BoolVar(&end, "end", false, "also end terminals and commands")
		fs.StringVar(&home, "for", "", "the id of a home: where others use the agent, too, end only what is of that one")
		fs.BoolVar(&found, "found", false, "it was looked for: do nothing where it is another home's or machine's")
	})
	if err != nil {
		return err
	}
	remove := uninstall
	if found {
		remove = uninstallFound
	}
	others, err := remove(ctx, o, end, home)
	if err != nil || len(others) == 0 {
		return err
	}
	return printJSON(stdio.Out, api.LeaveAnswer{Others: others})
}
