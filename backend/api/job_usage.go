package api

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// JobUsage is what jobs of an instance have used, summed up.
type JobUsage struct {
	By    string        `json:"by"` // "user" or "group"
	Since time.Time     `json:"since,omitzero"`
	Rows  []JobUsageRow `json:"rows"` // who used most first: GPU time, then time
}

// JobUsageRow is what the jobs of one user or group have used. Of a job that was run several times the newest run
// counts; one that began before JobUsage.Since counts whole.
type JobUsageRow struct {
	Name       string  `json:"name"` // empty: jobs of no group
	Jobs       int     `json:"jobs"`
	Running    int     `json:"running"` // of these, now
	RunSeconds float64 `json:"run_seconds"`
	CPUSeconds float64 `json:"cpu_seconds"` // of those that have ended
	GPUSeconds float64 `json:"gpu_seconds"`
	// GPUEnergyJoules is of GPUs that jobs had for themselves.
	GPUEnergyJoules float64 `json:"gpu_energy_joules"`
	// CostUSD is the instance's price for RunSeconds, whatever else ran then; null: it is not known. The client fills it
	// in.
	CostUSD *float64 `json:"cost_usd"`
}

// Usage returns what jobs have used that run, or ended not before a time, by "user" or by "group".
func (c JobsClient) Usage(ctx context.Context, by string, since time.Time) (JobUsage, error) {
	v := url.Values{"by": {by}}
	if !since.IsZero() {
		v.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	var u JobUsage
	err := c.call(ctx, http.MethodGet, "/v1/jobs/usage?"+v.Encode(), nil, &u)
	if e := AsError(err); err != nil && e.Code == CodeUsage && strings.HasPrefix(e.Message, `"usage" is no job`) {
		err = older("sums up no usage")
	}
	return u, err
}
