package api

import (
	"context"
	"net/http"
	"net/url"
)

// OwnImages has the calls about images that are made from instances.
type OwnImages struct{ t *transport }

// OwnImages returns the calls about images that are made from instances.
func (c *WorkspaceClient) OwnImages() OwnImages { return OwnImages{c.transport()} }

// Build starts making an image of an instance and returns the operation.
func (c OwnImages) Build(ctx context.Context, r ImageRequest) (Operation, error) {
	var v Operation
	return v, c.t.call(ctx, http.MethodPost, "/v1/images", r, &v)
}

// Delete removes an image that was made or fetched from a backend's side.
func (c OwnImages) Delete(ctx context.Context, backend, name string) error {
	return c.t.call(ctx, http.MethodDelete, "/v1/images/"+url.PathEscape(backend)+"/"+url.PathEscape(name), nil, nil)
}
