package journal

import (
	"context"
	"slices"
	"time"

	"berth/queue"
)

const (
	// lookedAt is how many jobs with words like those of a command are looked at for its runs.
	lookedAt = 20
	// counted is how many of its runs count.
	counted = 5
)

// Took is how long the same command took, named and asked for as it is: the median of its last runs that succeeded,
// without what they were paused; and how large the largest of their logs was, in bytes. 0: none is known. Of an array
// nothing is known.
func (j *Journal) Took(ctx context.Context, s *queue.Spec) (d time.Duration, log int64, err error) {
	if s.Array != nil {
		return 0, 0, nil
	}
	var took []time.Duration
	for job, err := range j.each(ctx, "earlier runs", selectTook, words(s), lookedAt) {
		if err != nil {
			return 0, 0, err
		}
		if !slices.Equal(job.Spec.Argv, s.Argv) || job.Spec.Shell != s.Shell || job.Spec.Array != nil {
			continue
		}
		if d := job.EndedAt.Sub(job.StartedAt) - job.PausedFor; !job.StartedAt.IsZero() && d > 0 {
			took = append(took, d)
			log = max(log, job.LogBytes)
		}
		if len(took) == counted {
			break
		}
	}
	if len(took) == 0 {
		return 0, 0, nil
	}
	slices.Sort(took)
	return took[len(took)/2], log, nil
}
