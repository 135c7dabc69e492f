package api

import (
	"context"
	"net/http"
)

// Request returns what a job was asked for, with the values of its element and without its UUID: submitted with another
// one it is another job.
func (c JobsClient) Request(ctx context.Context, id string) (JobRequest, error) {
	var q JobRequest
	err := c.call(ctx, http.MethodGet, jobPath(id, "request"), nil, &q)
	return q.Meant(), err
}

// Wire is q as it is sent: with arguments that are no text apart.
func (q JobRequest) Wire() JobRequest { return q.carried() }
