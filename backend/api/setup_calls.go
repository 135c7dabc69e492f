package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

// PutSetup hands a plan to an agent, which begins it; one that the agent has already goes on as it was.
func (c *AgentClient) PutSetup(ctx context.Context, plan SetupPlan) (SetupStatus, error) {
	var v SetupStatus
	return v, c.call(ctx, http.MethodPut, "/v1/setup", plan, &v)
}

// KeepOnStart has an agent carry out a plan at each boot of its machine from the next on, whoever is connected then,
// under the id OnStartID; one without steps ends that. CodeNotFound: the agent is older than this.
func (c *AgentClient) KeepOnStart(ctx context.Context, plan SetupPlan) error {
	return c.call(ctx, http.MethodPut, "/v1/onstart", plan, nil)
}

// OnStartID is the id of the set-up that is the start script of a boot.
func OnStartID(boot string) string { return "start-" + boot }

// Setup returns how far a set-up is, at once if its revision is not after, else when it changes or after
// about 25 seconds. after 0 asks for it as it is now. CodeNotFound: the agent has no such set-up.
func (c *AgentClient) Setup(ctx context.Context, id string, after int64) (SetupStatus, error) {
	var v SetupStatus
	path := "/v1/setup/" + url.PathEscape(id) + "?after=" + strconv.FormatInt(after, 10)
	return v, c.call(ctx, http.MethodGet, path, nil, &v)
}

// ResumeSetup runs the failed or cancelled step again and goes on from there. It does nothing to a set-up
// that runs or has succeeded.
func (c *AgentClient) ResumeSetup(ctx context.Context, id string) (SetupStatus, error) {
	var v SetupStatus
	return v, c.call(ctx, http.MethodPost, "/v1/setup/"+url.PathEscape(id)+"/resume", nil, &v)
}

// CancelSetup ends the step that runs and the set-up with it; one that failed does not go on after a restart of
// the machine then. It answers when the step's processes have
// ended, or could not be.
func (c *AgentClient) CancelSetup(ctx context.Context, id string) (SetupStatus, error) {
	var v SetupStatus
	return v, c.call(ctx, http.MethodDelete, "/v1/setup/"+url.PathEscape(id), nil, &v)
}

// Inventory returns what is installed on the host of an agent; the agent takes at most about 10 seconds.
func (c *AgentClient) Inventory(ctx context.Context) (Inventory, error) {
	var v Inventory
	return v, c.call(ctx, http.MethodGet, "/v1/inventory", nil, &v)
}

// InstanceInventory returns what is installed on an instance, read by its agent.
func (c *WorkspaceClient) InstanceInventory(ctx context.Context, name string) (Inventory, error) {
	v, err := c.Agent(name).Inventory(ctx)
	v.Instance = name
	return v, err
}
