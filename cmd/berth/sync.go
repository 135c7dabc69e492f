//go:build !front

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/backend/base/atomicfile"
	"berth/backend/base/plaintext"
	"berth/backend/transport/filecopy"
	"berth/backend/transport/filecopy/ignore"
)

// syncing is one call of sync.
type syncing struct {
	dir                            string // absolute
	to                             side
	sent                           string // the key of the agent's own folder that it goes to, instead
	keep                           string // the UUID of the job that it is kept for by the service, instead
	remove, dry, force, verbose    bool
	m                              *meter
	rules                          *ignore.Rules
	made, replaced, other, removed int
}

func (a *app) syncCmd() *cobra.Command {
	var y syncing
	cmd := &cobra.Command{
		Use: "sync DIR NAME[:DIR]", Short: "Make a folder on an instance as one here",
		Long: "sync sends what has changed in a folder since the last time, by size and time, into a folder on an instance (without :DIR\n" +
			"into one of the same name in the home folder there). What .gitignore and .berthignore name is left out.\n" +
			"--delete removes there what is not here, but not what is left out; berth help copy says when it refuses.",
		Example:           "  berth sync . vision:project\n  berth sync data vision:/mnt/data --delete --dry-run",
		Args:              exactArgs("DIR", "NAME[:DIR]"),
		ValidArgsFunction: a.completeSyncSides,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.sync(cmd.Context(), &y, args[0], args[1])
		},
	}
	f := cmd.Flags()
	f.BoolVar(&y.remove, "delete", false, "remove there what is not here")
	f.BoolVar(&y.dry, "dry-run", false, "print what would be done, and do nothing")
	f.BoolVar(&y.force, "force", false, "delete though the folder here is empty, or on another device than last time")
	f.BoolVarP(&y.verbose, "verbose", "v", false, "print what is done")
	return cmd
}

func (a *app) completeSyncSides(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	return a.completeSides(cmd, args, typed)
}

func (a *app) sync(ctx context.Context, y *syncing, dir, to string) error {
	if _, err := os.Lstat(dir); err != nil && readSide(dir).instance != "" {
		return api.Errorf(api.CodeUsage, "sync goes from a folder here to an instance, and %s is none here", dir).
			WithHint("berth cp %s %s copies from an instance", dir, to)
	}
	if !strings.Contains(to, ":") {
		to += ":"
	}
	y.to = readSide(to)
	if y.to.instance == "" {
		return api.Errorf(api.CodeUsage, "%s is no place on an instance", to).WithHint("berth sync DIR NAME[:DIR]")
	}
	var err error
	if y.dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if y.dir == "/" && y.to.path == "" {
		return api.Errorf(api.CodeUsage, "the folder / has no name to go under").WithHint("berth sync / %sDIR", to)
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	y.m = a.newMeter()
	defer y.m.close()
	return c.WithQuestions(ctx, func(ctx context.Context) error {
		var err error
		if y.to, err = jobSide(ctx, c, y.to); err != nil {
			return err
		}
		if y.to.path == "" {
			y.to.path = filepath.Base(y.dir)
		}
		return a.syncAs(ctx, c, y)
	})
}

// syncAs does it, unless something stands against the deletions.
func (a *app) syncAs(ctx context.Context, c *api.WorkspaceClient, y *syncing) error {
	fi, err := os.Stat(y.dir)
	if err == nil && !fi.IsDir() {
		return api.Errorf(api.CodeFailed, "%s is no folder", y.dir)
	}
	if err != nil && (!y.remove || !errors.Is(err, fs.ErrNotExist)) {
		return err
	}
	note := a.noteOf(y)
	if y.remove {
		why, hint, err := note.against(y.dir)
		if err != nil {
			return err
		}
		missing := fi == nil
		if why != "" && (!y.force || missing) {
			if err := y.refuse(ctx, c, why, hint, missing); err != nil {
				return err
			}
		}
	}
	if err := y.run(ctx, c, y.dir, y.dry, a.change(y)); err != nil {
		return err
	}
	if y.dry {
		return y.m.end()
	}
	if err := note.write(y.dir); err != nil {
		return err
	}
	y.m.close()
	fmt.Fprintf(a.err, "berth: %d new, %d changed, %d removed\n", y.made, y.replaced+y.other, y.removed)
	return y.m.end()
}

// refuse counts what would be deleted, and refuses that. Where nothing would be, nothing stands against it.
func (y *syncing) refuse(ctx context.Context, c *api.WorkspaceClient, why, hint string, missing bool) error {
	dir := y.dir
	if missing {
		empty, err := os.MkdirTemp("", "berth-empty-")
		if err != nil {
			return err
		}
		defer os.Remove(empty)
		dir = empty
	}
	var n int
	err := y.run(ctx, c, dir, true, func(what filecopy.Change, _ string) {
		if what&^filecopy.FolderFlag == filecopy.Removed {
			n++
		}
	})
	switch {
	case err != nil:
		return err
	case n == 0 && !missing:
		return nil
	}
	return api.Errorf(api.CodeRefused, "%s: %d files and folders of %s:%s would be deleted, and nothing was", why, n,
		y.to.instance, y.to.path).WithHint("%s", hint)
}

// run does one sync of a folder.
func (y *syncing) run(ctx context.Context, c *api.WorkspaceClient, dir string, dry bool,
	changed func(filecopy.Change, string)) error {
	agent := c.Agent(y.to.instance)
	open := func() (*api.Stream, error) {
		return agent.OpenCopy(ctx, api.CopyRequest{To: []byte(y.to.path), Sent: y.sent, Contents: true, Update: true,
			List: y.remove, Dry: dry})
	}
	if y.keep != "" {
		open = func() (*api.Stream, error) { return agent.KeepFolder(ctx, y.keep) }
	}
	st, err := open()
	if err != nil {
		return err
	}
	y.rules = ignore.New(dir)
	f := filecopy.Sender{Common: y.m.common(y.to.instance), Source: dir + "/.", Skip: y.rules.Skip, Count: y.m.live,
		Changed: changed}
	if y.remove {
		f.Delete = func(extra []filecopy.Entry) ([]filecopy.Entry, error) {
			list := unprotected(extra, y.rules.Skip)
			if err := y.rules.Err(); err != nil {
				return nil, err
			}
			for _, e := range list {
				what := filecopy.Removed
				if e.Folder {
					what |= filecopy.FolderFlag
				}
				changed(what, e.Path)
			}
			return list, nil
		}
	}
	r, err := f.Send(ctx, st)
	y.m.problems += r.Problems
	if err == nil {
		err = y.rules.Err()
	}
	return err
}

// unprotected is what of the extra things is not left out, nor a folder with something in it that is. What is in a
// folder comes before it.
func unprotected(extra []filecopy.Entry, skip func(string, bool) bool) (out []filecopy.Entry) {
	stays := map[string]bool{}
	for _, e := range extra {
		if !stays[e.Path] && !skip(e.Path, e.Folder) {
			out = append(out, e)
			continue
		}
		for dir := filepath.Dir(e.Path); dir != "." && !stays[dir]; dir = filepath.Dir(dir) {
			stays[dir] = true
		}
	}
	return out
}

// change notes and prints what a sync changes.
func (a *app) change(y *syncing) func(filecopy.Change, string) {
	return func(what filecopy.Change, path string) {
		folder := what&filecopy.FolderFlag != 0
		what &^= filecopy.FolderFlag
		switch what {
		case filecopy.Made:
			y.made++
		case filecopy.Replaced:
			y.replaced++
		case filecopy.Removed:
			y.removed++
		default:
			y.other++
		}
		if !y.dry && !y.verbose {
			return
		}
		if folder {
			path += "/"
		}
		if plaintext.Clean(path) != path || strings.HasPrefix(path, `"`) {
			path = strconv.Quote(path)
		}
		y.m.print(a.out, fmt.Sprintf("%c %s\n", what, path))
	}
}

// print prints a line of the result.
func (m *meter) print(w io.Writer, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clear()
	fmt.Fprint(w, text)
}

// syncNote is what is kept of a sync, to know whether the next one is of the same folder. It is in the home's state.
type syncNote struct {
	Version int    `json:"version"`
	Source  string `json:"source"`
	Target  string `json:"target"`
	Device  string `json:"device"`

	path string
}

func (a *app) noteOf(y *syncing) *syncNote {
	n := &syncNote{Version: 1, Source: y.dir, Target: y.to.instance + ":" + y.to.path}
	sum := sha256.Sum256([]byte(n.Source + "\x00" + n.Target))
	n.path = filepath.Join(a.home.State, "syncs", hex.EncodeToString(sum[:8])+".json")
	return n
}

// against is what stands against deleting what is not in a folder, and what to do about it.
func (n *syncNote) against(dir string) (why, hint string, err error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return dir + " is missing", "is it on a disk that is not mounted? nothing overrides this", nil
	case err != nil:
		return "", "", err
	case len(entries) == 0:
		return dir + " is empty", "--force deletes all the same", nil
	}
	var last syncNote
	err = atomicfile.Read(n.path, &last)
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	now, err := filecopy.Device(dir)
	if err == nil && last.Version == n.Version && now != last.Device {
		why = fmt.Sprintf("%s is on another device than last time (%s, now %s)", dir, last.Device, now)
		hint = "is its disk mounted? --force deletes all the same"
	}
	return why, hint, err
}

func (n *syncNote) write(dir string) error {
	d, err := filecopy.Device(dir)
	if err != nil {
		return err
	}
	n.Device = d
	if err := os.MkdirAll(filepath.Dir(n.path), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(n.path, n)
}
