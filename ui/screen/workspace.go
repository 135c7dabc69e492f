package screen

import (
	"context"

	"berth/backend/api"
)

// Workspace is what the dashboard asks of the service; *api.Client is one.
type Workspace interface {
	Watch(ctx context.Context, each func(api.Change) error) error
	Info(ctx context.Context) (api.Info, error)
	Instances(ctx context.Context, o api.ListOptions) ([]api.Instance, error)
	Instance(ctx context.Context, name string) (api.Instance, error)
	Create(ctx context.Context, r api.CreateRequest) (api.Operation, error)
	Adopt(ctx context.Context, r api.AdoptRequest) (api.Operation, error)
	Action(ctx context.Context, name, action string, r api.ActionRequest) (api.Operation, error)
	StartSetup(ctx context.Context, name string, r api.SetupRequest) (api.Operation, error)
	Snapshot(ctx context.Context, name string, r api.SnapshotRequest) (api.Operation, error)
	Refresh(ctx context.Context, name string) (api.Instance, error)
	Console(ctx context.Context, name string) (string, error)
	Operation(ctx context.Context, id string) (api.Operation, error)
	Operations(ctx context.Context) ([]api.Operation, error)
	FollowOperation(ctx context.Context, id string, each func(api.Operation)) (api.Operation, error)
	Events(ctx context.Context, o api.EventOptions) ([]api.Event, error)
	Backends(ctx context.Context) ([]api.BackendInfo, error)
	Sizes(ctx context.Context, backend string) ([]api.Size, error)
	Images(ctx context.Context, backend string) ([]api.Image, error)
	CheckName(ctx context.Context, backend, name string) error
}

var _ Workspace = (*api.Client)(nil)
