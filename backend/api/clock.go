package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// ClockRequest says what time it is.
type ClockRequest struct {
	Now time.Time `json:"now"`
}

// ClockLimit is from where on an instance's clock is another one than ours.
const ClockLimit = 2 * time.Second

// InfoAndClock returns Info, and by how much the instance's clock is ahead of this one at least (negative: behind). 0:
// by less than ClockLimit, or than the time that the answer took leaves open.
func (c *AgentClient) InfoAndClock(ctx context.Context) (AgentInfo, time.Duration, error) {
	asked := time.Now()
	info, err := c.Info(ctx)
	if err != nil || info.Now.IsZero() {
		return info, 0, err
	}
	return info, ahead(info.Now, asked, time.Now()), nil
}

// ahead is by how much a clock that showed now at some moment between asked and answered is ahead.
func ahead(now, asked, answered time.Time) time.Duration {
	now = now.Round(0) // both by the wall clock
	d := time.Duration(0)
	switch late, early := now.Sub(answered.Round(0)), now.Sub(asked.Round(0)); {
	case late > 0:
		d = late
	case early < 0:
		d = early
	}
	switch {
	case d.Abs() < ClockLimit:
		return 0
	case d.Abs() < 10*time.Minute:
		return d.Round(time.Second)
	}
	return d.Round(time.Minute) // the answer's own time makes no news
}

// ClockText says by how much a clock is off, as in "3 minutes ahead".
func ClockText(ahead time.Duration) string {
	word := "ahead"
	if ahead < 0 {
		word = "behind"
	}
	d := ahead.Abs()
	const day = 24 * time.Hour
	for _, u := range []struct {
		name string
		d    time.Duration
	}{{"year", 365 * day}, {"day", day}, {"hour", time.Hour}, {"minute", time.Minute}} {
		if n := int64((d + u.d/2) / u.d); d >= u.d {
			return fmt.Sprintf("%d %s%s %s", n, u.name, plural(n), word)
		}
	}
	n := int64(d.Round(time.Second) / time.Second)
	return fmt.Sprintf("%d second%s %s", n, plural(n), word)
}

func plural(n int64) string {
	if n == 1 {
		return ""
	}
	return "s"
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
