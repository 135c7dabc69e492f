package job

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"net/http"
	"sync"
	"time"

	"berth/backend/agent/joblog"
	"berth/backend/api"
	"berth/queue"
	"berth/queue/progress"
)

const (
	// tailBytes is how much of a log is read at a look, and moreBytes where that shows an inner loop only.
	tailBytes = 8 << 10
	moreBytes = 256 << 10
	// lookEvery is the least time between two looks at a log.
	lookEvery = 400 * time.Millisecond
	// lookKept is how long what was seen of a log is kept that nobody asks for.
	lookKept = time.Minute
	// paceAfter and paceShare are how long a progress is watched, and by how many percent it grows, before the end is
	// reckoned by the pace of then: until then it is by that of the whole run.
	paceAfter = 30 * time.Second
	paceShare = 1.0
)

// looks are what was seen of the logs that somebody looks at.
type looks struct {
	mu sync.Mutex
	of map[string]*look // by the folder of the run
}

// look is what was seen of one log.
type look struct {
	asked, at time.Time // when somebody asked last, and when it was looked at
	size      int64
	written   time.Time // when it was written to last
	found     progress.Found
	seen      bool
	again     bool      // it began again from below: what is counted is one part of several
	since     time.Time // when it was first seen, of the log's times, and how far it was then
	from      float64
}

// look looks at the log of a run, if it has grown since the last time.
func (s *looks) look(dir string, now time.Time) (look, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for dir, x := range s.of {
		if now.Sub(x.asked) > lookKept {
			delete(s.of, dir)
		}
	}
	x := s.of[dir]
	if x == nil {
		if s.of == nil {
			s.of = map[string]*look{}
		}
		x = &look{}
		s.of[dir] = x
	}
	x.asked = now
	if d := now.Sub(x.at); d >= 0 && d < lookEvery {
		return *x, nil
	}
	size, written, err := joblog.Newest(dir)
	if err != nil || size == x.size && written.Equal(x.written) {
		x.at = now
		return *x, err
	}
	found, seen, err := readProgress(dir)
	if err != nil {
		return *x, err
	}
	x.at, x.size, x.written = now, size, written
	x.take(found, seen)
	return *x, nil
}

// readProgress reads the end of a log.
func readProgress(dir string) (f progress.Found, seen progress.Seen, err error) {
	log, err := joblog.Open(dir)
	if err != nil {
		return f, seen, err
	}
	defer log.Close()
	for _, most := range []int64{tailBytes, moreBytes} {
		b, whole, err := log.End(most)
		if err != nil {
			return f, seen, err
		}
		if f, seen = progress.Read(b, whole); seen != progress.Inner {
			break
		}
	}
	return f, seen, nil
}

// take takes in what the end of the log says.
func (x *look) take(f progress.Found, seen progress.Seen) {
	switch {
	case seen == progress.Inner: // what was said of the outer loop stands
	case seen == progress.Nothing:
		x.seen = false
	default:
		if x.seen && f.Stage == "" && x.found.Stage == "" && f.Percent < x.found.Percent-1 {
			x.again = true
		}
		if !x.seen || f.Percent < x.found.Percent || f.Stage != x.found.Stage {
			x.since, x.from = x.written, f.Percent
		}
		x.found, x.seen = f, true
	}
}

// progress is how far a job is that runs: by its output, else by how long its command took before, else by its time
// limit.
func (l *loop) progress(job *queue.Job) api.JobProgress {
	p := api.JobProgress{ID: job.ID.String()}
	if job.Spec.Service != nil {
		p.Health, p.Reason = l.healths.of(job)
		return p
	}
	if (job.State != queue.Running && job.State != queue.Paused) || job.StartedAt.IsZero() {
		return p
	}
	now := l.now()
	x, err := l.looks.look(l.runDir(job.ID, job.Attempt), now)
	if err != nil { // the log may be gone: the rest is known without it
		x.seen = false
	}
	ran := ranFor(job, now)
	if x.seen {
		x.fill(&p, ran, now)
	}
	if p.Percent == nil || p.Of != "" {
		byTime(&p, job, now, ran)
	}
	if job.State == queue.Paused || !p.EndAt.After(now) {
		p.EndAt = time.Time{}
	}
	return p
}

// ranFor is how long a job has run, without what it was paused.
func ranFor(job *queue.Job, now time.Time) time.Duration {
	if job.State == queue.Paused && !job.PausedAt.IsZero() {
		now = job.PausedAt
	}
	return max(now.Sub(job.StartedAt)-job.PausedFor, 0)
}

// fill says what the output does.
func (x *look) fill(p *api.JobProgress, ran time.Duration, now time.Time) {
	percent := x.found.Percent
	p.Percent, p.Of, p.From = &percent, x.found.Stage, api.FromOutput
	p.Rate, p.Unit = x.found.Rate, x.found.Unit
	if x.again && p.Of == "" {
		p.Of = "this loop"
	}
	switch watched, grown := x.written.Sub(x.since), percent-x.from; {
	case p.Of != "":
	case x.found.Left >= 0:
		p.EndAt = x.written.Add(x.found.Left).UTC()
	case watched >= paceAfter && grown >= paceShare:
		p.EndAt = x.written.Add(scaled(watched, (100-percent)/grown)).UTC()
	case percent >= paceShare:
		p.EndAt = x.written.Add(scaled(max(ran-now.Sub(x.written), 0), (100-percent)/percent)).UTC()
	}
}

// scaled is d times a factor, no more than 100 years.
func scaled(d time.Duration, by float64) time.Duration {
	return time.Duration(min(float64(d)*by, 100*365*24*float64(time.Hour)))
}

// byTime says how much of its time is over: of the time that the same command took before, or of the one that it has.
func byTime(p *api.JobProgress, job *queue.Job, now time.Time, ran time.Duration) {
	of, from := job.Spec.Expect, api.FromHistory
	if of <= ran { // it takes longer than it did
		if of, from = job.Spec.Timeout, api.FromTimeLimit; of <= 0 || p.Percent != nil {
			return
		}
	}
	percent := min(100*ran.Seconds()/of.Seconds(), 99)
	p.Percent, p.Of, p.From = &percent, "", from
	if from == api.FromHistory {
		p.EndAt = now.Add(of - ran).Truncate(time.Second).UTC()
	}
}

// handleProgress answers how far jobs are.
func (s *service) handleProgress(w http.ResponseWriter, r *http.Request) {
	var ids []queue.ID
	names := r.URL.Query()["id"]
	err := error(nil)
	if len(names) > api.MostProgress {
		err = api.Errorf(api.CodeUsage, "%d jobs are asked for at once: at most %d are", len(names), api.MostProgress)
	}
	for _, name := range names[:min(len(names), api.MostProgress)] {
		id, perr := queue.ParseID(name)
		if perr != nil {
			err = usage(perr)
			break
		}
		ids = append(ids, id)
	}
	var l *loop
	if err == nil {
		l, err = s.queue()
	}
	var p api.JobsProgress
	if err == nil {
		p, err = l.waitProgress(r.Context(), ids, r.URL.Query().Get("mark"))
	}
	if err != nil {
		api.WriteError(w, err)
		return
	}
	api.WriteJSON(w, http.StatusOK, p)
}

// waitProgress returns how far jobs are when that is not what a mark names, or after a while. Jobs that are gone are
// left out.
func (l *loop) waitProgress(ctx context.Context, ids []queue.ID, mark string) (p api.JobsProgress, err error) {
	limit, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		changed := l.next()
		var jobs []queue.Job
		for _, id := range ids {
			job, err := l.job(ctx, id)
			switch {
			case err == nil && job.State.Active():
				jobs = append(jobs, job)
			case err != nil && !errors.Is(err, &api.Error{Code: api.CodeNotFound}):
				return p, err
			}
		}
		for moved := false; !moved; {
			if p = l.allProgress(jobs); p.Mark != mark {
				return p, nil
			}
			select {
			case <-changed:
				moved = true
			case <-tick.C:
			case <-l.gone:
				return p, explain(errLeaves)
			case <-limit.Done():
				return p, ctx.Err()
			}
		}
	}
}

// allProgress is how far jobs are, with a mark that changes by whole percents only, and as the end moves by a tenth of
// what is left.
func (l *loop) allProgress(jobs []queue.Job) api.JobsProgress {
	now, sum := l.now(), fnv.New64a()
	out := api.JobsProgress{Jobs: make([]api.JobProgress, len(jobs))}
	for i := range jobs {
		p := l.progress(&jobs[i])
		out.Jobs[i] = p
		percent, end := -1, int64(0)
		if p.Percent != nil {
			percent = int(*p.Percent)
		}
		if left := p.EndAt.Sub(now); left > 0 {
			step := math.Exp2(math.Floor(math.Log2(max(left.Seconds()/10, 1))))
			end = int64(float64(p.EndAt.Unix()) / step)
		}
		fmt.Fprintln(sum, p.ID, percent, p.Of, p.From, end, p.Health, p.Reason)
	}
	out.Mark = hex.EncodeToString(sum.Sum(nil))
	return out
}
