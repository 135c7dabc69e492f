package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// ErrInterrupted is what an Answer returns where the person wants no more of what asks (ctrl-C, the end of input). The
// question is refused, and WithQuestions ends with this error.
var ErrInterrupted = Errorf(CodeCancelled, "interrupted")

// Questions answers the questions that this client's calls cause with c.Answer, one after another, until ctx ends; then
// it refuses those that are open. A daemon that ends does not end it: another takes its place. Where Answer is nil it
// does nothing.
func (c *WorkspaceClient) Questions(ctx context.Context) error {
	if c.Answer == nil {
		return nil
	}
	for wait := questionsBackoff; ; wait = min(2*wait, maxQuestionsBackoff) {
		from := time.Now()
		err := c.questions(ctx) // whatever else fails tells when the daemon is gone
		if errors.Is(err, ErrInterrupted) {
			return err
		}
		if time.Since(from) > maxQuestionsBackoff {
			wait = questionsBackoff
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
}

// How long Questions waits before it opens the stream again: at first, and at most.
const (
	questionsBackoff    = 100 * time.Millisecond
	maxQuestionsBackoff = 5 * time.Second
)

// questions streams the questions and answers them until ctx or the stream ends.
func (c *WorkspaceClient) questions(ctx context.Context) error {
	sctx, end := context.WithCancel(ctx)
	defer end()
	res, err := c.transport().open(sctx, http.MethodGet, "/v1/questions?ends=true&client="+c.id, nil)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	var interrupted atomic.Bool
	turn := make(chan struct{}, 1) // held by the question that is put to the person
	open := map[string]context.CancelFunc{}
	err = decodeStream(sctx, res, func(q Question) error {
		if q.Ended {
			if over := open[q.ID]; over != nil {
				over()
				delete(open, q.ID)
			}
			return nil
		}
		qctx, over := context.WithCancel(sctx)
		open[q.ID] = over
		wg.Go(func() {
			defer over()
			if errors.Is(c.answer(ctx, qctx, turn, q), ErrInterrupted) {
				interrupted.Store(true)
				end()
			}
		})
		return nil
	})
	end()
	wg.Wait()
	if interrupted.Load() {
		return ErrInterrupted
	}
	return err
}

// refuseWithin is how long a client that ends goes on to tell its last answer.
const refuseWithin = 2 * time.Second

// errOver ends the answering of questions because what asked has ended.
var errOver = errors.New("what asked has ended")

// answer puts a question to the person and passes the answer on, until qctx ends. A person who does not answer, or a
// client that ends (ctx) in the middle of it, refuses.
func (c *WorkspaceClient) answer(ctx, qctx context.Context, turn chan struct{}, q Question) error {
	var a Answer
	var err error
	select {
	case turn <- struct{}{}:
		a, err = c.Answer(qctx, q)
		<-turn
	case <-qctx.Done():
		err = qctx.Err()
	}
	if err != nil {
		a = Answer{Refused: true}
		switch {
		case errors.Is(err, ErrInterrupted):
		case errors.Is(context.Cause(ctx), errOver), qctx.Err() != nil && ctx.Err() == nil:
			return nil // the question has ended
		case ctx.Err() != nil:
			err = ErrInterrupted // in the middle of it
		}
	}
	pctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(refuseWithin, cancel) })()
	// The question may have ended meanwhile: that is no fault.
	_ = c.transport().call(pctx, http.MethodPost, "/v1/questions/"+url.PathEscape(q.ID), a, nil)
	return err
}

// questionsAfter is how long a call may take before WithQuestions looks for its questions.
const questionsAfter = 60 * time.Millisecond

// WithQuestions runs f and, if it takes longer than a moment, answers the questions that it causes. f's context ends
// where the person is interrupted at one; then the error is ErrInterrupted.
func (c *WorkspaceClient) WithQuestions(ctx context.Context, f func(context.Context) error) error {
	if c.Answer == nil {
		return f(ctx)
	}
	fctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	qctx, stop := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	var interrupted atomic.Bool
	wg.Go(func() {
		t := time.NewTimer(questionsAfter)
		defer t.Stop()
		select {
		case <-qctx.Done():
		case <-t.C:
			if err := c.Questions(qctx); errors.Is(err, ErrInterrupted) {
				interrupted.Store(true)
				end(err)
			}
		}
	})
	err := f(fctx)
	stop(errOver)
	wg.Wait()
	if interrupted.Load() {
		return ErrInterrupted
	}
	return err
}
