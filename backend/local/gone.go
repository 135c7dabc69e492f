package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"berth/backend"
	"berth/backend/agent/process"
	"berth/backend/agent/supervise"
	"berth/backend/api"
	"berth/gpu/procs/proc"
)

// Somebody may delete the folder of an instance by hand. What runs of it does not end with that, and is still found by
// its supervisor's records, or, where these are gone too, by the mark in its environment.

// left lists the processes of an instance, its supervisor included.
func (b *Backend) left(id string) ([]proc.Identity, error) {
	set := process.Set{Mark: supervise.MarkVariable + "=" + id}
	st, ok, err := b.dir(id).Status()
	if err != nil {
		return nil, err
	}
	var out []proc.Identity
	if ok && !st.OfOtherBoot() {
		set = st.Set(id)
		if st.Alive() {
			out = append(out, st.Identity)
		}
	}
	members, err := set.Members()
	return append(out, members...), err
}

// lives reports whether processes of an instance are left. What can't be found out counts as yes: it is asked again.
func (b *Backend) lives(id string) bool {
	left, err := b.left(id)
	return err != nil || len(left) > 0
}

// absent reports whether an instance is gone for good: its folder is not there, nobody removes it, nothing of it runs.
func (b *Backend) absent(id string, loadErr error) bool {
	return errors.Is(loadErr, fs.ErrNotExist) && !b.deleting(id) && !b.lives(id)
}

// folderGone says of an instance whose folder somebody deleted what is left of it.
func (b *Backend) folderGone(in instance, m *backend.Machine) {
	const why = "its folder was deleted; berth rm ends what still runs of it"
	m.Workdir = ""
	m.Capabilities.Start, m.Capabilities.Restart = false, false
	m.Capabilities.Why["start"], m.Capabilities.Why["restart"] = why, why
	m.State = api.StateUnusable
	left, err := b.left(in.ID)
	if err != nil {
		m.Reason = fmt.Sprintf("its folder %s was deleted, and what still runs of it can't be found: %v", b.folder(in.ID),
			err)
		return
	}
	m.Reason = fmt.Sprintf("its folder %s was deleted, and %s of it still run; berth rm %s ends them", b.folder(in.ID),
		count(len(left)), in.Name)
}

func count(n int) string {
	if n == 1 {
		return "1 process"
	}
	return strconv.Itoa(n) + " processes"
}

// folderless are the ids of the instances whose folder is gone and whose supervisor, or what it left, may live.
func (b *Backend) folderless(have map[string]bool) (out []string) {
	entries, err := os.ReadDir(b.env.Home.State + "/local")
	if err != nil {
		return nil // no instance was ever started here
	}
	for _, e := range entries {
		id := e.Name()
		if have[id] || !validID().MatchString(id) {
			continue
		}
		if st, ok, err := b.dir(id).Status(); err == nil && ok && !st.OfOtherBoot() && !b.deleting(id) && b.lives(id) {
			out = append(out, id)
		}
	}
	return out
}

// nameOf is the name of an instance whose marker is gone: its supervisor's records have it.
func (b *Backend) nameOf(id string) string {
	if c, err := b.dir(id).Config(); err == nil && c.ID == id && c.Name != "" {
		return c.Name
	}
	return id
}

var _ backend.Sweeper = (*Backend)(nil)

// Leftovers implements backend.Sweeper: processes of instances of this home of which neither folder nor records are
// left.
func (b *Backend) Leftovers(ctx context.Context, _ func(token string) bool) ([]backend.Leftover, error) {
	all, err := proc.All()
	if err != nil {
		return nil, api.Errorf(api.CodeFailed, "looking for processes of instances that are gone: %w", err)
	}
	type group struct {
		ours  bool
		words []string
	}
	groups := map[string]*group{}
	for _, st := range all {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		env, err := proc.Environ(st.PID)
		if err != nil || st.Zombie() {
			continue // gone, or another user's
		}
		id := ""
		for _, kv := range env {
			if v, ok := strings.CutPrefix(kv, supervise.MarkVariable+"="); ok && validID().MatchString(v) {
				id = v
			}
		}
		if _, err := b.load(id); id == "" || !errors.Is(err, fs.ErrNotExist) || b.deleting(id) {
			continue
		}
		if _, ok, err := b.dir(id).Status(); ok || err != nil {
			continue // it is listed
		}
		g := groups[id]
		if g == nil {
			g = &group{}
			groups[id] = g
		}
		// Other homes have instances too: theirs are not looked at.
		ours := slices.Contains(env, "HOME="+b.homeOf(id))
		args, _ := proc.Args(st.PID)
		for _, a := range args {
			ours = ours || strings.HasPrefix(a, "--state="+string(b.dir(id))+"/")
		}
		g.ours = g.ours || ours
		g.words = append(g.words, fmt.Sprintf("%d %s", st.PID, brief(strings.Join(args, " "))))
	}
	var out []backend.Leftover
	for id, g := range groups {
		if g.ours {
			out = append(out, backend.Leftover{ID: id, What: fmt.Sprintf("%s (%s)", count(len(g.words)),
				strings.Join(g.words, "; "))})
		}
	}
	slices.SortFunc(out, func(x, y backend.Leftover) int { return strings.Compare(x.ID, y.ID) })
	return out, nil
}

// brief is the beginning of a command line.
func brief(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

// RemoveLeftover implements backend.Sweeper.
func (b *Backend) RemoveLeftover(ctx context.Context, id string) error {
	return b.Delete(ctx, backend.Ref{ID: id, Name: id})
}
