package api

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// impatient is a client of the service at a socket that looks soon whether it lives.
func impatient(socket string) *WorkspaceClient {
	c := &WorkspaceClient{Dial: func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	c.transport().watch.after, c.transport().watch.within = 10*time.Millisecond, 50*time.Millisecond
	return c
}

// TestASilentServiceIsSaid: the kernel accepts connections for a process that was stopped.
func TestASilentServiceIsSaid(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket) // nobody accepts
	require.NoError(t, err)
	defer l.Close()
	c := impatient(socket)
	defer c.Close()
	_, err = c.Instances(t.Context(), ListOptions{})
	require.ErrorIs(t, err, &Error{Code: CodeUnreachable})
	require.ErrorContains(t, err, "does not answer")
	_, err = c.OpenExec(t.Context(), "vision", ExecRequest{Argv: []string{"true"}})
	require.ErrorContains(t, err, "does not answer")
	c.transport().watch.silent = func() error { return Errorf(CodeUnreachable, "process 12 sleeps") }
	require.ErrorContains(t, c.Watch(t.Context(), func(Change) error { return nil }), "process 12 sleeps")
}

// TestASlowAnswerIsWaitedFor: a call may take as long as it needs where the service lives, and so may what follows.
func TestASlowAnswerIsWaitedFor(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	asked := make(chan struct{}, 100)
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/info", func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		WriteJSON(w, http.StatusOK, Info{})
	})
	mux.HandleFunc("/v1/watch", func(w http.ResponseWriter, r *http.Request) {
		for range 3 { // it is asked again and again
			<-asked
		}
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		time.Sleep(100 * time.Millisecond)
		_, _ = io.WriteString(w, `{"removed":"i"}`+"\n")
	})
	srv := &http.Server{Handler: mux}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()
	c := impatient(socket)
	defer c.Close()
	c.transport().watch.within = time.Minute
	end := errors.New("enough")
	require.ErrorIs(t, c.Watch(t.Context(), func(ch Change) error {
		require.Equal(t, "i", ch.Removed)
		return end
	}), end)
	for len(asked) > 0 {
		<-asked
	}
	select {
	case <-asked:
		t.Fatal("an answered call is still watched")
	case <-time.After(50 * time.Millisecond):
	}
}
