package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

// What can be set of a queue.
const (
	MostSlots  = 10_000
	MostGroups = 1000
)

// QueueLimits are how many jobs of an instance run at once.
type QueueLimits struct {
	Slots      int            `json:"slots"`
	UsualSlots int            `json:"usual_slots"` // where nothing was set: two for each core
	Groups     map[string]int `json:"groups,omitempty"`
	// DefaultGPUs is how many GPUs a job gets that says nothing of them, on an instance that has any.
	DefaultGPUs int `json:"default_gpus"`
	// Engine is where the container engine listens, as it was set; empty: it is looked for.
	Engine string `json:"container_engine,omitempty"`
}

// QueueLimitsRequest changes them. What is not said stays.
type QueueLimitsRequest struct {
	Slots  *int            `json:"slots,omitempty"`  // 0: the usual ones
	Groups map[string]*int `json:"groups,omitempty"` // null: no limit any more
	// DefaultGPUs is how many GPUs a job gets that says nothing of them; -1: the usual one.
	DefaultGPUs *int `json:"default_gpus,omitempty"`
	// Engine is where the container engine listens: a path; "": it is looked for again.
	Engine *string `json:"container_engine,omitempty"`
}

// String is the counts as a request for others says them.
func (n JobCounts) String() string { return fmt.Sprintf("%d %d", n.Running, n.Waiting) }

// Limits returns how many jobs run at once.
func (c JobsClient) Limits(ctx context.Context) (QueueLimits, error) {
	var v QueueLimits
	return v, c.call(ctx, http.MethodGet, "/v1/queue/limits", nil, &v)
}

// SetLimits changes how many jobs run at once. What runs goes on.
func (c JobsClient) SetLimits(ctx context.Context, q QueueLimitsRequest) (QueueLimits, error) {
	var v QueueLimits
	return v, c.call(ctx, http.MethodPost, "/v1/queue/limits", q, &v)
}

// Counts returns how many jobs run and wait, when that is not what is known already, or after about 25 seconds. With
// nil it is answered at once.
func (c JobsClient) Counts(ctx context.Context, known *JobCounts) (JobCounts, error) {
	path := "/v1/queue/counts"
	if known != nil {
		path += "?" + url.Values{"not": {known.String()}}.Encode()
	}
	var v JobCounts
	return v, c.call(ctx, http.MethodGet, path, nil, &v)
}
