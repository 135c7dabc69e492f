package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"berth/backend/api"
)

// again calls f, once more where the daemon went before it answered: f must be safe to repeat.
func again[T any](ctx context.Context, f func() (T, error)) (T, error) {
	v, err := f()
	for tries := 0; tries < 3 && ctx.Err() == nil && errors.Is(err, &api.Error{Code: api.CodeUnreachable}); tries++ {
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
		v, err = f()
	}
	return v, err
}

// requestID makes the id that lets a request be repeated.
func requestID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails
	return "op-" + hex.EncodeToString(b[:])
}

// wait follows an operation until it is done, showing its steps on a terminal. When the user stops
// waiting, or the daemon goes, the operation goes on: wait says so, or finds the next daemon.
func (a *app) wait(ctx context.Context, c *api.Client, op api.Operation) (api.Operation, error) {
	p := &progress{w: a.err, live: terminal(a.err), began: time.Now()}
	defer p.clear()
	for tries := 0; !op.State.Done(); {
		last, err := c.FollowOperation(ctx, op.ID, func(o api.Operation) {
			tries = 0
			p.show(o)
		})
		if ctx.Err() != nil {
			p.clear()
			fmt.Fprintf(a.err, "berth: %s of %s goes on; look at it with: berth show %s\n", op.Kind, clean(op.Instance), clean(op.Instance))
			return op, ctx.Err()
		}
		if err != nil {
			// The daemon went; the next call starts another, which resumes.
			if tries++; tries > 5 || !errors.Is(err, &api.Error{Code: api.CodeUnreachable}) {
				return op, err
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		op = last
	}
	if op.State != api.OpSucceeded && op.Error != nil {
		return op, op.Error
	}
	return op, nil
}

// progress shows the step of an operation in one line of a terminal.
type progress struct {
	w interface {
		Write([]byte) (int, error)
	}
	live  bool
	began time.Time
	shown bool
	text  string
}

func (p *progress) show(o api.Operation) {
	if !p.live {
		return
	}
	title := "starting"
	for _, s := range o.Steps {
		if s.State == api.OpRunning {
			title = s.Title
		}
	}
	if line := fmt.Sprintf("%s %s: %s", o.Kind, clean(o.Instance), clean(title)); line != p.text {
		p.text, p.shown = line, true
		fmt.Fprintf(p.w, "\r\x1b[K%s", line)
	}
}

func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}
