package api

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Questions streams the questions that this client's calls cause and answers them with c.Answer,
// until ctx ends. It does nothing where Answer is nil.
func (c *WorkspaceClient) Questions(ctx context.Context) error {
	if c.Answer == nil {
		return nil
	}
	t := c.transport()
	res, err := t.open(ctx, http.MethodGet, "/v1/questions?client="+c.id, nil)
	if err != nil {
		return err
	}
	return decodeStream(ctx, res, func(q Question) error {
		a, err := c.Answer(ctx, q)
		if err != nil {
			a = Answer{Refused: true}
		}
		// The question may have been answered elsewhere or timed out meanwhile: that is no fault of this stream.
		_ = t.call(ctx, http.MethodPost, "/v1/questions/"+url.PathEscape(q.ID), a, nil)
		return nil
	})
}

// WithQuestions runs f and, if it takes longer than a moment, answers the questions that it causes.
func (c *WorkspaceClient) WithQuestions(ctx context.Context, f func(context.Context) error) error {
	if c.Answer == nil {
		return f(ctx)
	}
	qctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTimer(60 * time.Millisecond)
		defer t.Stop()
		select {
		case <-qctx.Done():
		case <-t.C:
			_ = c.Questions(qctx) // it ends with the daemon; f's own error tells
		}
	}()
	err := f(ctx)
	cancel()
	<-done
	return err
}
