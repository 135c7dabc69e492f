package job

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"berth/backend/api"
	"berth/queue"
)

// handleUsage answers what jobs have used, by user or group.
func (s *service) handleUsage(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	by := v.Get("by")
	since, err := readSince(v)
	if _, known := accounts[by]; err == nil && !known {
		err = api.Errorf(api.CodeUsage, "usage is summed up by user or group, not by %.20q", by)
	}
	var l *loop
	if err == nil {
		l, err = s.queue()
	}
	var u api.JobUsage
	if err == nil {
		u, err = l.account(r.Context(), since, by)
	}
	if err != nil {
		api.WriteError(w, err)
		return
	}
	api.WriteJSON(w, http.StatusOK, u)
}

// accounts are by what usage is summed up.
var accounts = map[string]func(*queue.Spec) string{
	"user":  func(s *queue.Spec) string { return s.User },
	"group": func(s *queue.Spec) string { return s.Group },
}

// account sums up what the newest runs of those jobs have used that run, or ended not before a time.
func (l *loop) account(ctx context.Context, since time.Time, by string) (api.JobUsage, error) {
	now, of := l.now(), accounts[by]
	sums := map[string]*api.JobUsageRow{}
	for j, err := range l.journal.Ran(ctx, since) {
		if err != nil {
			return api.JobUsage{}, l.orGone(err)
		}
		if ctx.Err() != nil {
			return api.JobUsage{}, ctx.Err()
		}
		if j.StartedAt.IsZero() || j.Spec.Array != nil && !j.ID.Element {
			continue
		}
		name := of(&j.Spec)
		row := sums[name]
		if row == nil {
			row = &api.JobUsageRow{Name: name}
			sums[name] = row
		}
		row.Jobs++
		until := now
		if j.State.Active() {
			row.Running++
			u := l.usages.of(j.ID, j.Attempt, l.runDir(j.ID, j.Attempt))
			j.GPUEnergy = u.Joules
		} else {
			until = j.EndedAt
		}
		row.RunSeconds += max(until.Sub(j.StartedAt).Seconds(), 0)
		row.CPUSeconds += j.CPU.Seconds()
		row.GPUSeconds += gpuSeconds(&j, now)
		row.GPUEnergyJoules += j.GPUEnergy
	}
	out := api.JobUsage{By: by, Since: since, Rows: []api.JobUsageRow{}}
	for _, row := range sums {
		out.Rows = append(out.Rows, *row)
	}
	slices.SortFunc(out.Rows, func(a, b api.JobUsageRow) int {
		return cmp.Or(cmp.Compare(b.GPUSeconds, a.GPUSeconds), cmp.Compare(b.RunSeconds, a.RunSeconds),
			cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}
