//go:build !linux

package process

import (
	"context"

	"berth/gpu/procs/proc"
)

// AwaitEnd waits until the process has ended, also one that is no child of this process, or ctx ends, whose error it
// returns.
func AwaitEnd(ctx context.Context, id proc.Identity) error { return pollEndOf(ctx, id) }
