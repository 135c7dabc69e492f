package api

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// ClockRequest says what time it is.
type ClockRequest struct {
	Now time.Time `json:"now"`
}

// SetClock puts an instance's clock forward to now; one that is not behind is left alone. CodeForbidden: the
// instance's user has no root there. CodeUnsupported: its agent is older than this.
func (c *AgentClient) SetClock(ctx context.Context, now time.Time) error {
	err := c.call(ctx, http.MethodPost, "/v1/clock", ClockRequest{now.UTC()}, nil)
	if errors.Is(err, &Error{Code: CodeNotFound}) {
		err = Errorf(CodeUnsupported, "the agent there is older than this Berth and can't set the clock")
	}
	return err
}
