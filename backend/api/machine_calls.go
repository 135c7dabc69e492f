package api

import (
	"context"
	"net/http"
	"net/url"
)

// StartSetup starts a set-up of an instance and returns its operation.
func (c *WorkspaceClient) StartSetup(ctx context.Context, name string, r SetupRequest) (Operation, error) {
	var v Operation
	return v, c.transport().call(ctx, http.MethodPost, instancePath(name)+"/setup", r, &v)
}

func snapshotPath(name, snapshot string) string {
	return instancePath(name) + "/snapshots/" + url.PathEscape(snapshot)
}

// Snapshots lists the snapshots of an instance, oldest first.
func (c *WorkspaceClient) Snapshots(ctx context.Context, name string) ([]Snapshot, error) {
	var v []Snapshot
	return v, c.transport().call(ctx, http.MethodGet, instancePath(name)+"/snapshots", nil, &v)
}

// Snapshot starts taking a snapshot and returns its operation.
func (c *WorkspaceClient) Snapshot(ctx context.Context, name string, r SnapshotRequest) (Operation, error) {
	var v Operation
	return v, c.transport().call(ctx, http.MethodPost, instancePath(name)+"/snapshots", r, &v)
}

// Restore starts taking an instance back to a snapshot and returns the operation.
func (c *WorkspaceClient) Restore(ctx context.Context, name string, r SnapshotRequest) (Operation, error) {
	var v Operation
	return v, c.transport().call(ctx, http.MethodPost, snapshotPath(name, r.Name)+"/restore", r, &v)
}

// DeleteSnapshot forgets a snapshot; one that is not there is no error.
func (c *WorkspaceClient) DeleteSnapshot(ctx context.Context, name, snapshot string) error {
	return c.transport().call(ctx, http.MethodDelete, snapshotPath(name, snapshot), nil, nil)
}
