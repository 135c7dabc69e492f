package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

// ListOptions filters Instances. Zero fields do not filter.
type ListOptions struct {
	Mine    bool
	Backend string
	State   State
}

func (o ListOptions) query() string {
	q := url.Values{}
	if o.Mine {
		q.Set("mine", "true")
	}
	if o.Backend != "" {
		q.Set("backend", o.Backend)
	}
	if o.State != "" {
		q.Set("state", string(o.State))
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

// Instances lists the fleet in name order.
func (c *WorkspaceClient) Instances(ctx context.Context, o ListOptions) ([]Instance, error) {
	var v []Instance
	return v, c.transport().call(ctx, http.MethodGet, "/v1/instances"+o.query(), nil, &v)
}

// Instance returns one instance by name or BACKEND/NAME, or CodeNotFound.
func (c *WorkspaceClient) Instance(ctx context.Context, name string) (Instance, error) {
	var v Instance
	return v, c.transport().call(ctx, http.MethodGet, instancePath(name), nil, &v)
}

// Create starts the creation of an instance and returns its operation.
func (c *WorkspaceClient) Create(ctx context.Context, r CreateRequest) (Operation, error) {
	var v Operation
	return v, c.transport().call(ctx, http.MethodPost, "/v1/instances", r, &v)
}

// Adopt starts taking in a machine that exists and returns the operation.
func (c *WorkspaceClient) Adopt(ctx context.Context, r AdoptRequest) (Operation, error) {
	var v Operation
	return v, c.transport().call(ctx, http.MethodPost, "/v1/adopt", r, &v)
}

// Action starts "start", "stop", "restart" or "delete" of an instance and returns the operation. The same
// action asked for twice is one operation.
func (c *WorkspaceClient) Action(ctx context.Context, name, action string, r ActionRequest) (Operation, error) {
	var v Operation
	return v, c.transport().call(ctx, http.MethodPost, instancePath(name)+"/"+url.PathEscape(action), r, &v)
}

// Refresh asks the provider for the instance's state now.
func (c *WorkspaceClient) Refresh(ctx context.Context, name string) (Instance, error) {
	var v Instance
	return v, c.transport().call(ctx, http.MethodPost, instancePath(name)+"/refresh", nil, &v)
}

// Console returns the last output of the instance's console.
func (c *WorkspaceClient) Console(ctx context.Context, name string) (string, error) {
	var v struct {
		Text string `json:"text"`
	}
	return v.Text, c.transport().call(ctx, http.MethodGet, instancePath(name)+"/console", nil, &v)
}

// EventOptions filters Events.
type EventOptions struct {
	Instance string
	Since    int64 // only events with a greater Seq
	Limit    int   // the newest so many; 0: 1000
}

func (o EventOptions) query(follow bool) string {
	q := url.Values{}
	if o.Instance != "" {
		q.Set("instance", o.Instance)
	}
	if o.Since > 0 {
		q.Set("since", strconv.FormatInt(o.Since, 10))
	}
	if o.Limit > 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	if follow {
		q.Set("follow", "true")
	}
	return "/v1/events?" + q.Encode()
}

// Events returns recorded events, oldest first.
func (c *WorkspaceClient) Events(ctx context.Context, o EventOptions) ([]Event, error) {
	var v []Event
	return v, c.transport().call(ctx, http.MethodGet, o.query(false), nil, &v)
}

// Watch streams the fleet: a snapshot in batches, then every change as it happens, until ctx ends
// or the daemon goes (nil or CodeUnreachable: call again).
func (c *WorkspaceClient) Watch(ctx context.Context, each func(Change) error) error {
	res, err := c.transport().open(ctx, http.MethodGet, "/v1/watch", nil)
	if err != nil {
		return err
	}
	return decodeStream(ctx, res, each)
}

// Backends describes the backends that can be used.
func (c *WorkspaceClient) Backends(ctx context.Context) ([]BackendInfo, error) {
	var v []BackendInfo
	return v, c.transport().call(ctx, http.MethodGet, "/v1/backends", nil, &v)
}

// Sizes lists sizes; backend may be empty for all.
func (c *WorkspaceClient) Sizes(ctx context.Context, backend string) ([]Size, error) {
	var v []Size
	return v, c.transport().call(ctx, http.MethodGet, "/v1/sizes?backend="+url.QueryEscape(backend), nil, &v)
}

// Images lists images; backend may be empty for all.
func (c *WorkspaceClient) Images(ctx context.Context, backend string) ([]Image, error) {
	var v []Image
	return v, c.transport().call(ctx, http.MethodGet, "/v1/images?backend="+url.QueryEscape(backend), nil, &v)
}

// CheckName says whether a new instance may have this name: nil, or an error that says why not.
func (c *WorkspaceClient) CheckName(ctx context.Context, backend, name string) error {
	path := "/v1/names/" + url.PathEscape(name) + "?backend=" + url.QueryEscape(backend)
	return c.transport().call(ctx, http.MethodGet, path, nil, nil)
}
