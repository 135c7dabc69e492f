package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// How long a service may take to answer before it is asked whether it lives, and how long it has to answer that. A call
// may take as long as it needs (a provider, a question to the user). But a service that was stopped, or hangs, accepts
// connections and never says a word.
const (
	silentAfter = 10 * time.Second
	aliveWithin = 20 * time.Second
)

// watch is what a transport needs to watch over calls that are not answered yet.
type watch struct {
	after, within time.Duration
	silent        func() error // the error of a call to a service that does not live
}

// watched returns a context that ends with an error where the service does not live. answered ends the watching;
// cancel ends the context as well.
func (t *transport) watched(ctx context.Context) (_ context.Context, answered func(), cancel context.CancelFunc) {
	wctx, end := context.WithCancelCause(ctx)
	cancel = func() { end(nil) }
	if t.watch == nil {
		return wctx, func() {}, cancel
	}
	watching, unwatch := context.WithCancel(wctx)
	timer := time.AfterFunc(t.watch.after, func() {
		for t.lives(watching) {
			select {
			case <-watching.Done():
				return
			case <-time.After(t.watch.after):
			}
		}
		if watching.Err() == nil {
			end(t.watch.silent())
		}
	})
	return wctx, func() { timer.Stop(); unwatch() }, cancel
}

// lives asks, on a connection of its own, for what every service answers at once. It is true as well where that is not
// known: when the call is over, or the service can't be reached, which the call itself finds out.
func (t *transport) lives(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, t.watch.within)
	defer cancel()
	conn, err := t.dial(ctx)
	if err == nil {
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
		fmt.Fprintf(conn, "GET /v1/info HTTP/1.1\r\nHost: berth\r\nConnection: close\r\n%s\r\n", versionLines())
		if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
			_ = res.Body.Close()
		}
	}
	return !errors.Is(ctx.Err(), context.DeadlineExceeded)
}

// watchedBody is an answer's body; closing it ends the context of its call.
type watchedBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (b watchedBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}
