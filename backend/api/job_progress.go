package api

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// JobProgress is how far a job is that runs.
type JobProgress struct {
	ID string `json:"id"`
	// Percent is from 0 to 100; null: it is not known.
	Percent *float64 `json:"progress_percent"`
	// Of is what the percentage is of, where the whole isn't known: "Epoch 3", "Downloading".
	Of   string       `json:"progress_of,omitempty"`
	From ProgressFrom `json:"progress_from,omitempty"`
	// Rate is how many of Unit it does in a second; 0: not known.
	Rate  float64   `json:"progress_rate,omitempty"`
	Unit  string    `json:"progress_unit,omitempty"` // "it", "step"
	EndAt time.Time `json:"estimated_end_at,omitzero"`
	// Health is how a service is, which has no end to be far from, and Reason why it is not well.
	Health Health `json:"health,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// ProgressFrom is what a progress is read from.
type ProgressFrom string

// What there is.
const (
	FromOutput    ProgressFrom = "output"     // what the job printed
	FromHistory   ProgressFrom = "history"    // how long the same command took before
	FromTimeLimit ProgressFrom = "time_limit" // the time that it has: Percent of it is over
)

// Progress is how far the job was when it was asked for.
func (j *Job) Progress() JobProgress {
	p := JobProgress{Percent: j.ProgressPercent, Of: j.ProgressOf, From: j.ProgressFrom, Rate: j.ProgressRate,
		Unit: j.ProgressUnit, EndAt: j.EstimatedEndAt}
	if j.Health != "" {
		p.Health, p.Reason = j.Health, j.Reason
	}
	if j.ID != nil {
		p.ID = *j.ID
	}
	return p
}

// SetProgress says how far the job is.
func (j *Job) SetProgress(p JobProgress) {
	j.ProgressPercent, j.ProgressOf, j.ProgressFrom = p.Percent, p.Of, p.From
	j.ProgressRate, j.ProgressUnit, j.EstimatedEndAt = p.Rate, p.Unit, p.EndAt
	if p.Health != "" {
		j.Health, j.Reason = p.Health, p.Reason
	}
}

// JobsProgress is how far jobs are.
type JobsProgress struct {
	// Mark names this answer: who has it asks with it for another one.
	Mark string        `json:"mark"`
	Jobs []JobProgress `json:"jobs"` // those that run
}

// MostProgress is how many jobs may be asked for at once.
const MostProgress = 200

// Progress returns how far jobs are, when that is another than the answer of a mark had, or after about 25 seconds as
// it is. An empty mark is answered at once. Their output is looked at only while somebody asks.
func (c JobsClient) Progress(ctx context.Context, ids []string, mark string) (JobsProgress, error) {
	v := url.Values{"id": ids, "mark": {mark}}
	var p JobsProgress
	return p, c.call(ctx, http.MethodGet, "/v1/jobs/progress?"+v.Encode(), nil, &p)
}
