package api

import (
	"context"
	"net/http"
	"net/url"
)

// OperationsClient has the calls about what is under way.
type OperationsClient struct{ t *transport }

// Operations returns the calls about what is under way.
func (c *WorkspaceClient) Operations() OperationsClient { return OperationsClient{c.transport()} }

// Get returns one operation by id.
func (c OperationsClient) Get(ctx context.Context, id string) (Operation, error) {
	var v Operation
	return v, c.t.call(ctx, http.MethodGet, "/v1/operations/"+url.PathEscape(id), nil, &v)
}

// List lists the operations under way, oldest first.
func (c OperationsClient) List(ctx context.Context) ([]Operation, error) {
	var v []Operation
	return v, c.t.call(ctx, http.MethodGet, "/v1/operations", nil, &v)
}

// Follow calls each with the operation now and after every change, until it is done. It
// returns the last document.
func (c OperationsClient) Follow(ctx context.Context, id string, each func(Operation)) (Operation, error) {
	var last Operation
	res, err := c.t.open(ctx, http.MethodGet, "/v1/operations/"+url.PathEscape(id)+"?follow=true", nil)
	if err != nil {
		return last, err
	}
	err = decodeStream(ctx, res, func(o Operation) error {
		last = o
		if each != nil {
			each(o)
		}
		return nil
	})
	if err == nil && !last.State.Done() {
		err = Errorf(CodeUnreachable,
			"the daemon ended while %s of %q was under way; it goes on at the next call", last.Kind, last.Instance)
	}
	return last, err
}
