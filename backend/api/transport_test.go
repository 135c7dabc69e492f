package api

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// A service that ends while it is asked is asked again at its successor: once, and only for what changes nothing.
func TestQuestionsAreAskedAgain(t *testing.T) {
	var asked atomic.Int32
	end := int32(1)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) <= end {
			c, _, _ := w.(http.Hijacker).Hijack()
			_ = c.Close() // killed
			return
		}
		WriteJSON(w, http.StatusOK, []Instance{{Name: "vision"}})
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()
	c := &WorkspaceClient{Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", l.Addr().String())
	}}
	defer c.Close()
	list, err := c.Instances(t.Context(), ListOptions{})
	require.NoError(t, err)
	require.Len(t, list, 1)
	asked.Store(0)
	end = 5
	_, err = c.Instances(t.Context(), ListOptions{})
	require.ErrorIs(t, err, &Error{Code: CodeUnreachable})
	require.LessOrEqual(t, asked.Load(), int32(3)) // net/http itself asks once more on a connection that was idle
	asked.Store(0)
	_, err = c.Create(t.Context(), CreateRequest{Name: "vision"})
	require.ErrorIs(t, err, &Error{Code: CodeUnreachable})
	require.EqualValues(t, 1, asked.Load(), "what changes something is asked once")
}

// What is dialled for a call ends with it: the dial may have put a question to whoever called.
func TestADialEndsWithItsCall(t *testing.T) {
	began, ended := make(chan struct{}), make(chan error, 1)
	c := &WorkspaceClient{Dial: func(ctx context.Context) (net.Conn, error) {
		close(began)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	}}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	_, err := c.Instances(ctx, ListOptions{})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, <-ended, context.Canceled)
}
