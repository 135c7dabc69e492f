package api

import (
	"context"
	"io"
	"net/http"
	"net/url"

	"berth/backend/base/version"
)

// DaemonClient has the calls about the daemon itself, and about all that it looks after at once.
type DaemonClient struct{ t *transport }

// Daemon returns the calls about the daemon itself.
func (c *WorkspaceClient) Daemon() DaemonClient { return DaemonClient{c.transport()} }

// Info returns what the daemon says of itself.
func (c DaemonClient) Info(ctx context.Context) (Info, error) {
	var v Info
	return v, c.t.call(ctx, http.MethodGet, "/v1/info", nil, &v)
}

// Doctor runs the daemon's checks.
func (c DaemonClient) Doctor(ctx context.Context) ([]Check, error) {
	var v []Check
	return v, c.t.call(ctx, http.MethodGet, "/v1/doctor", nil, &v)
}

// RemoveOrphan deletes a leftover that Doctor named. With force what stays on a forgotten machine is no longer kept in
// mind, and nothing is done there.
func (c DaemonClient) RemoveOrphan(ctx context.Context, id string, force bool) error {
	path := "/v1/orphans/" + url.PathEscape(id)
	if force {
		path += "?force=true"
	}
	return c.t.call(ctx, http.MethodDelete, path, nil, nil)
}

// Join makes this home one of another home's workspace.
func (c DaemonClient) Join(ctx context.Context, q JoinRequest) (Joined, error) {
	var v Joined
	return v, c.t.call(ctx, http.MethodPost, "/v1/workspace/join", q, &v)
}

// Stop ends the daemon after what it is writing; operations go on in the next daemon.
func (c DaemonClient) Stop(ctx context.Context) error {
	return c.t.call(ctx, http.MethodPost, "/v1/daemon/stop", nil, nil)
}

// StopIdle ends the daemon if nobody else uses it and nothing is under way; else that is CodeConflict.
func (c DaemonClient) StopIdle(ctx context.Context) error {
	return c.t.call(ctx, http.MethodPost, "/v1/daemon/stop?idle=true", nil, nil)
}

// HandOver has the daemon make way for a newer one, by. It answers before the socket is gone. Byte streams go on.
func (c DaemonClient) HandOver(ctx context.Context, by version.Version) error {
	return c.t.call(ctx, http.MethodPost, "/v1/daemon/handover", by, nil)
}

// Metrics writes the figures of the fleet to w, in Prometheus' text format.
func (c DaemonClient) Metrics(ctx context.Context, w io.Writer) error {
	res, err := c.t.open(ctx, http.MethodGet, "/v1/metrics", nil)
	return copyMetrics(w, res, err)
}
