package job

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"net/http"
	"strconv"

	"berth/backend/agent/joblog"
	"berth/backend/api"
	"berth/queue"
)

// logRequest is which part of a log is asked for.
type logRequest struct {
	follow bool
	tail   int
	from   int64
	run    int
}

func readLogRequest(r *http.Request) (q logRequest, err error) {
	v := r.URL.Query()
	q.follow = v.Get("follow") == "true"
	number := func(key string, most int64) (n int64) {
		s := v.Get(key)
		if s == "" || err != nil {
			return 0
		}
		if n, err = strconv.ParseInt(s, 10, 64); err != nil || n < 0 || n > most {
			err = api.Errorf(api.CodeUsage, "%s=%.30q is no number from 0 to %d", key, s, most)
		}
		return n
	}
	q.tail, q.from, q.run = int(number("tail", 1<<30)), number("from", math.MaxInt64), int(number("run", 1<<30))
	return q, err
}

// serveLog hands a job's log to the client, in parts (api.JobLogPart).
func (l *loop) serveLog(ctx context.Context, w http.ResponseWriter, id queue.ID, q logRequest) error {
	ctx, stop := l.whileHere(ctx)
	defer stop()
	job, err := l.job(ctx, id)
	if err != nil {
		return err
	}
	if job.Spec.Array != nil && !id.Element {
		return api.Errorf(api.CodeUsage, "%s is an array: each of its elements has a log", id).
			WithHint("berth job logs NAME %s", id.At(job.Spec.Array.Index(0)))
	}
	run, log, err := l.openLog(ctx, &job, q)
	if err != nil {
		return err
	}
	if log != nil {
		defer log.Close()
		if q.tail > 0 {
			if q.from, err = log.Tail(q.tail, math.MaxInt64); err != nil {
				return err
			}
		}
	}
	out := &parts{w: w, flush: http.NewResponseController(w), run: run}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.WriteHeader(http.StatusOK)
	// From here on an error can only break the answer off, which the client sees as no end.
	if log != nil {
		done := make(chan struct{})
		if q.follow {
			watching, stop := context.WithCancel(ctx)
			defer stop()
			go l.runOver(watching, id, run, done)
		} else {
			close(done)
		}
		if err := log.Follow(ctx, q.from, done, out.piece); err != nil {
			return errBroken
		}
	}
	if job, err = l.job(ctx, id); err != nil {
		return errBroken
	}
	if out.part(api.JobLogPart{End: true, State: api.JobState(job.State)}, nil) != nil {
		return errBroken
	}
	return nil
}

// whileHere ends when the loop does, too: who follows a log goes on at the next agent.
func (l *loop) whileHere(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	go func() { // ends with ctx
		select {
		case <-l.gone:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// errBroken ends an answer that was begun: without its last part nobody takes it for whole.
var errBroken = errors.New("the log broke off")

// openLog opens the log of a run: the one that was asked for, or the newest. Who follows waits until there is one. The
// log is nil where the job has none and none is waited for.
func (l *loop) openLog(ctx context.Context, job *queue.Job, q logRequest) (run int, log *joblog.Log, err error) {
	if q.run > job.Attempt {
		return 0, nil, api.Errorf(api.CodeNotFound, "job %s has no run %d: the newest is %d", job.ID, q.run, job.Attempt)
	}
	for {
		changed := l.next()
		if run = q.run; run == 0 {
			run = job.Attempt
		}
		if run > 0 {
			log, err = joblog.Open(l.runDir(job.ID, run))
			if err == nil || !errors.Is(err, fs.ErrNotExist) {
				return run, log, err
			}
		}
		if !q.follow || job.State.Done() {
			return run, nil, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, nil, l.orGone(ctx.Err())
		}
		if *job, err = l.job(ctx, job.ID); err != nil {
			return 0, nil, err
		}
	}
}

// runOver closes done when a run has ended.
func (l *loop) runOver(ctx context.Context, id queue.ID, run int, done chan struct{}) {
	for {
		changed := l.next()
		job, err := l.job(ctx, id)
		if err == nil && (job.State.Done() || job.State.Waiting() || job.Attempt > run) {
			close(done)
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// parts writes parts.
type parts struct {
	w     http.ResponseWriter
	flush *http.ResponseController
	run   int
}

func (p *parts) piece(at int64, b []byte) error {
	return p.part(api.JobLogPart{At: at, Bytes: len(b)}, b)
}

func (p *parts) part(head api.JobLogPart, b []byte) error {
	head.Run = p.run
	line, err := json.Marshal(head)
	if err != nil {
		return err
	}
	if _, err := p.w.Write(append(line, '\n')); err != nil {
		return err
	}
	if _, err := p.w.Write(b); err != nil {
		return err
	}
	return p.flush.Flush()
}
