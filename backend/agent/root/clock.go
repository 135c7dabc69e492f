package root

import (
	"context"
	"io"
	"time"

	"berth/backend/api"
)

// maxForward is how far a clock is put forward at most: a machine that went back to an older snapshot than that has
// more to mend than its clock.
const maxForward = 366 * 24 * time.Hour

// parseClock: only forward, as a snapshot's memory leaves the clock behind; files and certificates of the future
// would be the price of a wrong step back.
func parseClock(args []string) (action, error) {
	if len(args) != 1 {
		return nil, wrong("clock takes the time that it is now")
	}
	to, err := time.Parse(time.RFC3339Nano, args[0])
	if err != nil {
		return nil, wrong("%.60q is no time as in RFC 3339", args[0])
	}
	return func(context.Context, io.Writer) error {
		switch behind := time.Until(to); {
		case behind <= 0:
			return nil
		case behind > maxForward:
			return wrong("%s is %v from now: a clock is put forward by %v at most", args[0], behind.Round(time.Hour), maxForward)
		}
		if err := setClock(to); err != nil {
			return api.Errorf(api.CodeFailed, "setting the clock: %w", err)
		}
		return nil
	}, nil
}
