package job

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"berth/queue/journal"
)

// goAbove has a journal that knows of no job go on above the folders of runs that there are: an earlier journal gave
// these numbers. A job with one of them would be taken for that run.
func goAbove(ctx context.Context, j *journal.Journal, runs string) error {
	if j.Told() == "" && j.Last() > 0 {
		return nil
	}
	entries, err := os.ReadDir(runs)
	if err != nil {
		return fmt.Errorf("looking for the runs of earlier jobs: %w", err)
	}
	var last int64
	for _, e := range entries {
		if n, err := strconv.ParseInt(e.Name(), 10, 64); err == nil {
			last = max(last, n)
		}
	}
	return j.Raise(ctx, last)
}
