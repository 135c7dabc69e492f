package process

import (
	"context"
	"time"

	"berth/gpu/procs/proc"
)

// pollEndEvery is how often a process is looked at whose end the system does not tell.
const pollEndEvery = 100 * time.Millisecond

// pollEndOf is AwaitEnd by looking again and again.
func pollEndOf(ctx context.Context, id proc.Identity) error {
	t := time.NewTicker(pollEndEvery)
	defer t.Stop()
	for id.Look() != proc.Gone {
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
