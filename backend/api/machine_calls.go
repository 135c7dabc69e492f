package api

import (
	"context"
	"net/http"
	"net/url"
)

// StartSetup starts a set-up of an instance and returns its operation.
func (c *Client) StartSetup(ctx context.Context, name string, r SetupRequest) (Operation, error) {
	var v Operation
	return v, c.call(ctx, http.MethodPost, instancePath(name)+"/setup", r, &v)
}

func snapshotPath(name, snapshot string) string {
	return instancePath(name) + "/snapshots/" + url.PathEscape(snapshot)
}

// Snapshots lists the snapshots of an instance, oldest first.
func (c *Client) Snapshots(ctx context.Context, name string) ([]Snapshot, error) {
	var v []Snapshot
	return v, c.call(ctx, http.MethodGet, instancePath(name)+"/snapshots", nil, &v)
}

// Snapshot starts taking a snapshot and returns its operation.
func (c *Client) Snapshot(ctx context.Context, name string, r SnapshotRequest) (Operation, error) {
	var v Operation
	return v, c.call(ctx, http.MethodPost, instancePath(name)+"/snapshots", r, &v)
}

// Restore starts taking an instance back to a snapshot and returns the operation.
func (c *Client) Restore(ctx context.Context, name string, r SnapshotRequest) (Operation, error) {
	var v Operation
	return v, c.call(ctx, http.MethodPost, snapshotPath(name, r.Name)+"/restore", r, &v)
}

// DeleteSnapshot forgets a snapshot; one that is not there is no error.
func (c *Client) DeleteSnapshot(ctx context.Context, name, snapshot string) error {
	return c.call(ctx, http.MethodDelete, snapshotPath(name, snapshot), nil, nil)
}

// BuildImage starts making an image of an instance and returns the operation.
func (c *Client) BuildImage(ctx context.Context, r ImageRequest) (Operation, error) {
	var v Operation
	return v, c.call(ctx, http.MethodPost, "/v1/images", r, &v)
}

// DeleteImage removes an image that was made or fetched from a backend's side.
func (c *Client) DeleteImage(ctx context.Context, backend, name string) error {
	return c.call(ctx, http.MethodDelete, "/v1/images/"+url.PathEscape(backend)+"/"+url.PathEscape(name), nil, nil)
}
