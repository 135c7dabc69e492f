package main

import (
	"context"
	"os"

	"berth/backend/api"
	"berth/ui/attach"
)

// answer returns the function that answers questions on the user's terminal, or nil where there is
// none.
func (a *app) answer() func(context.Context, api.Question) (api.Answer, error) {
	if !terminal(a.err) {
		return nil
	}
	return func(ctx context.Context, q api.Question) (api.Answer, error) {
		// The terminal itself: stdin may be a pipe.
		tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
		if err != nil {
			return api.Answer{}, err
		}
		defer tty.Close()
		return attach.Ask(ctx, tty, q)
	}
}

// confirm asks before something that cannot come back. Without a terminal it refuses, naming the flag
// that answers.
func (a *app) confirm(ctx context.Context, yes bool, text string) error {
	if yes {
		return nil
	}
	if !terminal(a.in) || !terminal(a.err) {
		return api.Errorf(api.CodeRefused, "%s\nNothing was done: this has to be confirmed, and nobody can be asked here",
			text).WithHint("add --yes")
	}
	ans, err := attach.Ask(ctx, a.in, api.Question{Kind: "confirm", Text: text})
	if err != nil {
		return err
	}
	if ans.Value != "yes" {
		return api.Errorf(api.CodeRefused, "nothing was done")
	}
	return nil
}
