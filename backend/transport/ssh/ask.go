package ssh

import (
	"context"
	"strings"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/base/plaintext"
)

// questionLimit is how long a question waits for its answer.
const questionLimit = 2 * time.Minute

// ask puts a question to whoever caused the work of ctx.
func ask(ctx context.Context, q api.Question) (string, error) {
	qctx, cancel := context.WithTimeoutCause(ctx, questionLimit, context.DeadlineExceeded)
	defer cancel()
	q.Text = plaintext.Cut(strings.TrimSpace(plaintext.Text(q.Text)), saidLimit)
	q.Title = oneLine(q.Title)
	a, err := backend.Ask(qctx, q)
	if err != nil && qctx.Err() != nil && ctx.Err() == nil {
		return "", api.Errorf(api.CodeNoAnswer, "%s: no answer within %v", q.Title, questionLimit)
	}
	return a, err
}

// someoneThere reports whether a question would find anybody.
func someoneThere(ctx context.Context) bool { return backend.CallerFrom(ctx).Ask != nil }
