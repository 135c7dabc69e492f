package main

import (
	"context"
	"time"

	"berth/backend/api"
)

// priceOf is what an hour of an instance costs; nil: nobody knows.
func priceOf(ctx context.Context, c *api.WorkspaceClient, name string) *float64 {
	in, err := c.Instance(ctx, name)
	if err != nil {
		return nil // the jobs are what was asked for
	}
	return in.PriceUSDPerHour
}

// withCost says what jobs' newest runs cost by a price an hour, that of the whole instance, whatever else ran then.
func withCost(jobs []api.Job, price *float64, now time.Time) {
	for i := range jobs {
		j := &jobs[i]
		if price == nil || j.StartedAt.IsZero() {
			continue
		}
		end := j.EndedAt
		if end.IsZero() {
			end = now
		}
		cost := max(end.Sub(j.StartedAt), 0).Hours() * *price
		j.CostUSD = &cost
	}
}
