package api

import (
	"context"
	"errors"
	"time"
)

const (
	againLimit = 20 * time.Second // how long a client asks again: an agent may take that on a small machine
	againPause = 20 * time.Millisecond
)

// again makes a call, and makes it again while the answer is CodeMoved: then nothing was done, since a newer daemon or
// agent takes that one's place, and the same call reaches that one. anew is called before each further try.
func again[T any](ctx context.Context, anew func(), call func() (T, error)) (T, error) {
	for end := time.Now().Add(againLimit); ; {
		v, err := call()
		if !errors.Is(err, &Error{Code: CodeMoved}) || time.Now().After(end) {
			return v, err
		}
		select {
		case <-ctx.Done():
			return v, ctx.Err()
		case <-time.After(againPause):
		}
		anew()
	}
}
