package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/ui/money"
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

// wait follows an operation until it is done, showing its steps on a terminal. When the daemon goes it finds the next
// one. When the user stops waiting the operation goes on: the caller says so (goesOn).
func (a *app) wait(ctx context.Context, c *api.WorkspaceClient, op api.Operation) (api.Operation, error) {
	p := &progress{w: a.err, live: terminal(a.err), began: time.Now()}
	defer p.clear()
	for tries := 0; !op.State.Done(); {
		last, err := c.Operations().Follow(ctx, op.ID, func(o api.Operation) {
			tries = 0
			p.show(o)
		})
		if ctx.Err() != nil {
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

// waitAsked is wait, with the questions that the operation has meanwhile.
func (a *app) waitAsked(ctx context.Context, c *api.WorkspaceClient, op api.Operation) (api.Operation, error) {
	err := c.WithQuestions(ctx, func(ctx context.Context) (err error) {
		op, err = a.wait(ctx, c, op)
		return err
	})
	a.goesOn(op, err)
	return op, err
}

// goesOn says that an operation goes on, where err says that the waiting for it was ended: not at its question.
func (a *app) goesOn(op api.Operation, err error) {
	if errors.Is(err, context.Canceled) && op.ID != "" && !op.State.Done() {
		fmt.Fprintf(a.err, "berth: %s of %s goes on; look at it with: berth show %s\n", op.Kind, plaintext.Text(op.Instance),
			plaintext.Text(op.Instance))
	}
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
	for i := range o.Steps {
		if s := &o.Steps[i]; s.State == api.OpRunning {
			title = stepText(s)
		}
	}
	// A line that is too long would be wrapped, and could not be taken back.
	if line := ansi.Truncate(fmt.Sprintf("%s %s: %s", o.Kind, plaintext.Text(o.Instance), plaintext.Text(title)),
		p.width()-1, "…"); line != p.text {
		p.text, p.shown = line, true
		fmt.Fprintf(p.w, "\r\x1b[K%s", line)
	}
}

// stepText says in one line what a step is doing, with a bar where it is known how far it is.
func stepText(s *api.Step) string {
	text := s.Title
	if s.Message != "" && !strings.Contains(s.Message, "\n") {
		text += ": " + s.Message
	}
	if s.TotalBytes > 0 {
		done := min(max(float64(s.DoneBytes)/float64(s.TotalBytes), 0), 1)
		n := int(done * barWidth)
		text += fmt.Sprintf(" [%s%s] %s of %s", strings.Repeat("#", n), strings.Repeat("-", barWidth-n),
			money.Bytes(s.DoneBytes), money.Size(s.TotalBytes))
	}
	return text
}

const barWidth = 20

// width is how many columns the terminal has.
func (p *progress) width() int { return columns(p.w) }

func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}
