package api

import (
	"context"
	"net/http"
)

// RecordsClient has calls about what the workspace keeps, and which no machine is asked for.
type RecordsClient struct{ t *transport }

// Records returns the calls about what the workspace keeps.
func (c *WorkspaceClient) Records() RecordsClient { return RecordsClient{c.transport()} }

// Set changes what is said of an instance, and returns it as it is then.
func (c RecordsClient) Set(ctx context.Context, name string, r SetRequest) (Instance, error) {
	var v Instance
	return v, c.t.call(ctx, http.MethodPatch, instancePath(name), r, &v)
}

// FollowEvents calls each with recorded events and then with new ones until ctx ends.
func (c RecordsClient) FollowEvents(ctx context.Context, o EventOptions, each func(Event) error) error {
	res, err := c.t.open(ctx, http.MethodGet, o.query(true), nil)
	if err != nil {
		return err
	}
	return decodeStream(ctx, res, each)
}
