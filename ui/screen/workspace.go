package screen

import (
	"context"
	"time"

	"berth/backend/api"
	"berth/backend/transport/forward"
	"berth/gpu"
)

// Workspace is what the dashboard asks of the service; *api.WorkspaceClient is one.
type Workspace interface {
	Watch(ctx context.Context, each func(api.Change) error) error
	Create(ctx context.Context, r api.CreateRequest) (api.Operation, error)
	Adopt(ctx context.Context, r api.AdoptRequest) (api.Operation, error)
	Action(ctx context.Context, name, action string, r api.ActionRequest) (api.Operation, error)
	StartSetup(ctx context.Context, name string, r api.SetupRequest) (api.Operation, error)
	Snapshots(ctx context.Context, name string) ([]api.Snapshot, error)
	Snapshot(ctx context.Context, name string, r api.SnapshotRequest) (api.Operation, error)
	Restore(ctx context.Context, name string, r api.SnapshotRequest) (api.Operation, error)
	DeleteSnapshot(ctx context.Context, name, snapshot string) error
	Refresh(ctx context.Context, name string) (api.Instance, error)
	Console(ctx context.Context, name string) (string, error)
	Events(ctx context.Context, o api.EventOptions) ([]api.Event, error)
	Backends(ctx context.Context) ([]api.BackendInfo, error)
	Sizes(ctx context.Context, backend string) ([]api.Size, error)
	Images(ctx context.Context, backend string) ([]api.Image, error)
	CheckName(ctx context.Context, backend, name string) error
	WatchFleet(ctx context.Context, every time.Duration, each func(api.FleetFigures) error) error
	Attend(ctx context.Context, name string, r api.AttentionRequest) error
}

// Agent is what the dashboard asks of one instance's agent; the client that api.WorkspaceClient.Agent returns is one.
type Agent interface {
	Info(ctx context.Context) (api.AgentInfo, error)
	WatchFigures(ctx context.Context, every time.Duration, search api.ProcessSearch, each func(gpu.Sample) error) error
	History(ctx context.Context, o api.HistoryOptions) ([]gpu.Series, error)
	SignalProcess(ctx context.Context, pid int, r api.SignalRequest) error
	Departure(ctx context.Context) (api.Departure, error)
}

// Jobs is what the dashboard asks of one instance's queue; api.JobsClient is one.
type Jobs interface {
	Changes(ctx context.Context, epoch string, after int64) (api.JobChanges, error)
	List(ctx context.Context, q api.JobQuery) (api.JobPage, error)
	Get(ctx context.Context, id string) (api.Job, error)
	Wait(ctx context.Context, id string, seq int64) (api.Job, error)
	Progress(ctx context.Context, ids []string, mark string) (api.JobsProgress, error)
	Do(ctx context.Context, id, verb string) (api.Job, error)
	SetPriority(ctx context.Context, id string, priority int) (api.Job, error)
	Move(ctx context.Context, id, to string) (api.Job, error)
	Request(ctx context.Context, id string) (api.JobRequest, error)
	Submit(ctx context.Context, q api.JobRequest) (api.Job, error)
	Log(ctx context.Context, id string, o api.LogOptions, each func(api.JobLogPart, []byte) error) error
}

// Ports is what the dashboard asks of what listens on one instance; api.PortsClient is one.
type Ports interface {
	List(ctx context.Context) (api.Ports, error)
	Open(ctx context.Context, q api.ForwardRequest) (*api.Stream, error)
}

// Forwards are those of this dashboard, which live as long as it does; *forward.Set is one.
type Forwards interface {
	// Begin forwards to a target of the instance with an id, and says where it listens.
	Begin(id string, o forward.Options) (forward.Local, error)
	Of(id string) []forward.Here
	End(id string, t forward.Target)
}

var _ Jobs = api.JobsClient{}

var _ Ports = api.PortsClient{}

var _ Forwards = (*forward.Set)(nil)

var _ Agent = (*api.AgentClient)(nil)

var _ Workspace = (*api.WorkspaceClient)(nil)
