package ssh

import (
	"context"
	"strings"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/base/plaintext"
)

// ask puts a question to whoever caused the work of ctx, who has as long for the answer as backend.Caller says.
func ask(ctx context.Context, q api.Question) (string, error) {
	q.Text = plaintext.Cut(strings.TrimSpace(plaintext.Text(q.Text)), saidLimit)
	q.Title = oneLine(q.Title)
	return backend.Ask(ctx, q)
}

// someoneThere reports whether a question would find anybody.
func someoneThere(ctx context.Context) bool { return backend.CallerFrom(ctx).Ask != nil }

// askerOf names who is asked for the work of ctx; empty where nobody is there.
func askerOf(ctx context.Context) string {
	if !someoneThere(ctx) {
		return ""
	}
	c := backend.CallerFrom(ctx)
	return c.Principal.ID + " " + c.Client
}
