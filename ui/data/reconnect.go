package data

import (
	"context"
	"errors"
	"time"
)

// errAgain ends a stream for the next one at once.
var errAgain = errors.New("again")

// keepUp keeps a stream up until ctx ends. follow takes it in until it breaks, and reports whether anything
// came; down is told why it broke. The pause before the next try doubles, up to most.
func keepUp(ctx context.Context, most time.Duration, follow func() (up bool, err error), down func(error)) {
	backoff := interval
	for ctx.Err() == nil {
		up, err := follow()
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errAgain) {
			continue
		}
		down(err)
		if up {
			backoff = interval
		}
		t := time.NewTimer(backoff)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		backoff = min(2*backoff, most)
	}
}
