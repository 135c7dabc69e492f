package backend

import (
	"context"

	"berth/backend/api"
)

// Caller is who asked for what is being done.
type Caller struct {
	Principal Principal
	Client    string            // which of the principal's programs calls; "": it did not say
	Env       map[string]string // the environment of the call: SSH_AUTH_SOCK, PATH, AWS_* …
	// Ask puts a question to the person and waits for the answer (at most two minutes, and as long as
	// the program that called is there). It is nil where nobody is there: background work, scripts.
	Ask func(ctx context.Context, q api.Question) (string, error)
}

// Getenv returns a variable of the caller's environment, or "".
func (c *Caller) Getenv(key string) string {
	if c == nil {
		return ""
	}
	return c.Env[key]
}

type callerKey struct{}

// WithCaller returns a context that carries c.
func WithCaller(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerFrom returns the caller of ctx; it is never nil.
func CallerFrom(ctx context.Context) *Caller {
	if c, ok := ctx.Value(callerKey{}).(*Caller); ok && c != nil {
		return c
	}
	return &Caller{}
}

// Ask puts a question to whoever caused the work of ctx. Where nobody is there it fails at once
// with ErrNoAnswer, naming what would have been asked.
func Ask(ctx context.Context, q api.Question) (string, error) {
	c := CallerFrom(ctx)
	if c.Ask == nil {
		return "", api.Errorf(api.CodeNoAnswer, "%s: nobody is there to answer", q.Title).
			WithHint("run the command on a terminal, or give the answer by a flag")
	}
	return c.Ask(ctx, q)
}
