package workspace

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"
	"golang.org/x/sync/errgroup"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/store"
)

// Doctor looks for what is wrong, and for what was left behind.
type Doctor struct{ w *Workspace }

// Check checks the workspace: its backends, its instances, and what was left behind.
func (d Doctor) Check(ctx context.Context) []api.Check {
	w := d.w
	out := []api.Check{{Area: "workspace", Name: "store", Status: "ok",
		Message: english.Plural(w.Len(), "instance", "") + ", " +
			english.Plural(w.operations.Len(), "operation", "") + " under way"}}
	for _, name := range slices.Sorted(maps.Keys(w.opts.Backends)) {
		b := w.opts.Backends[name]
		who, err := within(ctx, w, "backend "+name, b.Whoami)
		if err != nil {
			out = append(out, api.Check{Area: "backend", Name: name, Status: "fail", Message: err.Error(),
				Fix: api.AsError(err).Hint})
			continue
		}
		says := "acts for " + backend.NormalIdentity(who)
		if account, err := w.accounts.of(ctx, name); err == nil && account != "" {
			says += " in the account " + account
		}
		out = append(out, api.Check{Area: "backend", Name: name, Status: "ok", Message: says})
		if c, ok := b.(backend.Checker); ok {
			own, _ := within(ctx, w, "backend "+name, func(ctx context.Context) ([]api.Check, error) {
				return c.Check(ctx), nil
			})
			out = append(out, own...)
		}
		out = append(out, d.orphans(ctx, name, b)...)
		out = append(out, d.leftovers(ctx, name, b)...)
	}
	out = append(out, d.left(ctx)...)
	for _, in := range w.Instances(ctx, api.ListOptions{}) {
		c := api.Check{Area: "instance", Name: in.Name, Status: "ok", Message: string(in.State)}
		switch in.State {
		case api.StateUnknown, api.StateUnusable, api.StateSetupFailed:
			c.Status, c.Message, c.Fix = "warn", string(in.State)+because(in.StateReason), "berth show "+in.Name
		case api.StateCreateFailed:
			c.Status, c.Message, c.Fix = "warn", "was never made"+because(in.StateReason), "berth rm "+in.Name
		}
		if a := in.Agent; in.State == api.StateRunning && a != nil && a.State != "ready" && c.Status == "ok" &&
			a.Reason != "" {
			c.Status, c.Message = "warn", "agent "+a.State+": "+a.Reason
		}
		out = append(out, c)
	}
	return append(out, d.sharing(ctx)...)
}

// sharing asks the agents of the machines that run how their users share GPUs. One that does not answer has its own
// check.
func (d Doctor) sharing(ctx context.Context) []api.Check {
	w := d.w
	var running []store.Instance
	w.mu.Lock()
	for _, e := range w.entries {
		if e.rec.State == api.StateRunning && e.agent != nil && e.agent.State == "ready" {
			running = append(running, e.rec)
		}
	}
	w.mu.Unlock()
	slices.SortFunc(running, func(a, b store.Instance) int { return strings.Compare(a.Name, b.Name) })
	checks := make([]api.Check, len(running))
	var g errgroup.Group
	g.SetLimit(parallelProbes)
	for i := range running {
		g.Go(func() error {
			cctx, cancel := context.WithTimeout(unasked(ctx), showLimit)
			defer cancel()
			client := w.AgentClient(running[i])
			defer client.Close()
			if info, err := client.Info(cctx); err == nil && info.GPUSharing.State != "" {
				checks[i] = info.GPUSharing.Check("gpus", running[i].Name)
			}
			return nil
		})
	}
	_ = g.Wait() // none has an error
	return slices.DeleteFunc(checks, func(c api.Check) bool { return c.Status == "" })
}

// orphans finds machines that an unfinished or failed operation of this store left behind, or that
// belong to an instance that is gone; those of another home are shown, not offered.
func (d Doctor) orphans(ctx context.Context, name string, b backend.Backend) []api.Check {
	w := d.w
	if !b.Info().Capabilities.List {
		return nil
	}
	ms, err := within(ctx, w, "backend "+name, b.List)
	if err != nil {
		return []api.Check{{Area: "backend", Name: name, Status: "fail", Message: "its machines can't be listed: " +
			err.Error(), Fix: api.AsError(err).Hint}}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []api.Check
	for i := range ms {
		m := &ms[i]
		known := ""
		for _, e := range w.entries {
			if e.rec.Backend == name && (e.rec.ProviderID == m.ID || (m.Token != "" && e.rec.Token == m.Token)) {
				known = e.rec.Name
			}
		}
		if known != "" {
			if id := m.Tags[backend.TagWorkspace]; m.Tags[backend.TagHome] == w.homeID && slices.Contains(w.former, id) {
				out = append(out, api.Check{Area: "backend", Name: name, Status: "info",
					Message: fmt.Sprintf("%s still has the tag of the workspace %s: other homes don't see it yet", known, id)})
			}
			continue
		}
		if w.ours(m) && m.Tags[backend.TagHome] != w.homeID && !b.Info().Private {
			continue // it comes into the fleet with the next list, or is on its way out
		}
		c := api.Check{Area: "leftover", Name: name + "/" + m.Name, Status: "warn",
			Message: fmt.Sprintf("machine %s belongs to no instance", m.ID)}
		if m.Tags[backend.TagHome] == w.homeID || b.Info().Private {
			c.OrphanID, c.Fix = name+":"+m.ID, "berth doctor --remove "+name+":"+m.ID
		} else {
			c.Area, c.Status, c.Message, c.Fix = "backend", "info", fmt.Sprintf("machine %s was made by another home, and is %s",
				m.ID, m.State), ""
		}
		out = append(out, c)
	}
	return out
}

// leftoverMark tells, in the id of an orphan, what is no machine.
const leftoverMark = "+"

// leftovers finds what is no machine and belongs to none: disks, seeds, leases.
func (d Doctor) leftovers(ctx context.Context, name string, b backend.Backend) []api.Check {
	w := d.w
	s, ok := b.(backend.Sweeper)
	if !ok {
		return nil
	}
	known := func(token string) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, e := range w.entries {
			if e.rec.Backend == name && e.rec.Token == token {
				return true
			}
		}
		return false
	}
	list, err := within(ctx, w, "backend "+name, func(ctx context.Context) ([]backend.Leftover, error) {
		return s.Leftovers(ctx, known)
	})
	if err != nil {
		return []api.Check{{Area: "backend", Name: name, Status: "fail",
			Message: "what may have been left there can't be listed: " + err.Error(), Fix: api.AsError(err).Hint}}
	}
	var out []api.Check
	for _, l := range list {
		c := api.Check{Area: "leftover", Name: name + "/" + l.ID, Status: "warn", Message: l.What + " belongs to no instance"}
		if l.Home == w.homeID || b.Info().Private {
			c.OrphanID = name + ":" + leftoverMark + l.ID
			c.Fix = "berth doctor --remove " + c.OrphanID
		} else {
			c.Status, c.Fix = "info", "another home made it: look there"
		}
		out = append(out, c)
	}
	return out
}

// RemoveOrphan deletes a leftover by the id that Doctor gave it. With force what stays on a forgotten machine is no
// longer kept in mind, and nothing is done there.
func (d Doctor) RemoveOrphan(ctx context.Context, id string, force bool) error {
	w := d.w
	if strings.HasPrefix(id, leftMark) {
		return d.removeLeft(ctx, id, force)
	}
	name, mid, _ := strings.Cut(id, ":")
	b, err := w.backend(name)
	if err != nil {
		return err
	}
	for _, c := range d.leftovers(ctx, name, b) {
		if c.OrphanID == id {
			_, err := within(ctx, w, "removing "+id, func(ctx context.Context) (struct{}, error) {
				return struct{}{}, b.(backend.Sweeper).RemoveLeftover(ctx, strings.TrimPrefix(mid, leftoverMark))
			})
			return err
		}
	}
	for _, c := range d.orphans(ctx, name, b) {
		if c.OrphanID == id {
			_, err := within(ctx, w, "deleting "+id, func(ctx context.Context) (struct{}, error) {
				return struct{}{}, b.Delete(ctx, backend.Ref{ID: mid})
			})
			if errors.Is(err, backend.ErrNotFound) {
				err = nil
			}
			return err
		}
	}
	return api.Errorf(api.CodeNotFound, "there is no leftover %q that this home made", id).
		WithHint("berth doctor lists them")
}
