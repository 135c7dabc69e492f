package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/agenttest"
	"berth/backend/agent/exec"
	"berth/backend/agent/part"
	"berth/backend/agent/server"
	"berth/backend/agent/server/servertest"
	"berth/backend/api"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// news makes parts of what a test says of them.
type news = []func(*part.Host) part.Part

// get is a route that answers by f.
func get(path string, f http.HandlerFunc) []api.Route {
	return []api.Route{{Method: "GET", Path: path, Needs: api.Needs(api.ActionRead), Handler: f}}
}

func ok(w http.ResponseWriter, _ *http.Request) { api.WriteJSON(w, http.StatusOK, "fine") }

// ask is the answer to a GET of a path.
func ask(t *testing.T, c *api.AgentClient, path string) (int, string, error) {
	t.Helper()
	h := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return c.Dial(ctx) }}}
	res, err := h.Get("http://berth" + path)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// TestAPartThatDoesNotStart serves nothing and says why; the others serve, are stopped, and the agent says so.
func TestAPartThatDoesNotStart(t *testing.T) {
	t.Parallel()
	var c *api.AgentClient
	stopped := make(chan string, 4)
	parts := news{
		exec.New,
		func(*part.Host) part.Part {
			return part.Part{Name: "broken", Routes: get("/v1/broken", ok),
				Start: func(context.Context) error { return errors.New("its disk is gone") },
				Info:  func(*api.AgentInfo) { panic("it never started") },
				Stop:  func() { stopped <- "broken" },
				End:   func(context.Context, time.Duration) error { return errors.New("it never started") }}
		},
		func(*part.Host) part.Part {
			return part.Part{Name: "mad", Routes: get("/v1/mad", ok),
				Start: func(context.Context) error { panic("mad from the start") }}
		},
		func(*part.Host) part.Part {
			return part.Part{Name: "whole", Routes: get("/v1/whole", ok), Stop: func() { stopped <- "whole" }}
		},
	}
	t.Run("agent", func(t *testing.T) {
		_, c = servertest.Serve(t, server.Config{Options: agenttest.Options(t), Parts: parts})
		for path, why := range map[string]string{"/v1/broken": "(broken): its disk is gone",
			"/v1/mad": "(mad): its start panicked: mad from"} {
			status, body, err := ask(t, c, path)
			require.NoError(t, err)
			require.Equal(t, http.StatusInternalServerError, status)
			require.Contains(t, body, "a part of the agent does not work "+why)
		}
		status, _, err := ask(t, c, "/v1/whole")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status)
		r, err := servertest.Execute(t, c, servertest.Sh("echo fine"), "")
		require.NoError(t, err)
		require.Equal(t, "fine\n", r.Stdout)
		info, err := c.Info(t.Context())
		require.NoError(t, err)
		require.Len(t, info.Warnings, 2)
		require.Contains(t, info.Warnings[0], "(broken): its disk is gone")
		require.Contains(t, info.Warnings[1], "(mad): its start panicked")
	})
	require.Equal(t, "whole", <-stopped, "what never started is not stopped")
	require.Empty(t, stopped)
}

// TestPanicsAreContained: one in a handler, before and in its answer, and one in a loop end nothing else.
func TestPanicsAreContained(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(writer(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return said.Write(b)
	}), nil))
	loop := make(chan struct{})
	parts := news{func(h *part.Host) part.Part {
		return part.Part{Name: "mad",
			Routes: append(get("/v1/mad", func(http.ResponseWriter, *http.Request) { panic("no reason") }),
				append(get("/v1/half", func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Length", "100")
					_, _ = w.Write([]byte("half of it"))
					_ = http.NewResponseController(w).Flush()
					panic("in the middle")
				}), get("/v1/fine", ok)...)...),
			Start: func(context.Context) error {
				go func() {
					defer close(loop)
					h.Contain("the loop", func() { panic("it ran out") })
				}()
				return nil
			},
			Info: func(*api.AgentInfo) { panic("nothing to say") },
			Stop: func() { panic("at the end, too") }}
	}, exec.New}
	_, c := servertest.Serve(t, server.Config{Options: agenttest.Options(t), Parts: parts, Log: log})
	<-loop
	status, body, err := ask(t, c, "/v1/mad")
	require.NoError(t, err)
	require.Equal(t, http.StatusInternalServerError, status)
	require.Contains(t, body, "the answer to GET /v1/mad panicked: no reason")
	_, _, err = ask(t, c, "/v1/half")
	require.Error(t, err, "half an answer must not look whole")
	status, _, err = ask(t, c, "/v1/fine")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status, "the part serves on")
	r, err := servertest.Execute(t, c, servertest.Sh("echo fine"), "")
	require.NoError(t, err)
	require.Equal(t, "fine\n", r.Stdout)
	info, err := c.Info(t.Context())
	require.NoError(t, err)
	require.Len(t, info.Warnings, 1)
	require.Contains(t, info.Warnings[0], "(mad): the loop panicked: it ran out")
	mu.Lock()
	defer mu.Unlock()
	for _, what := range []string{"the loop panicked: it ran out", "no reason", "in the middle", "nothing to say"} {
		require.Contains(t, said.String(), what)
	}
	require.Contains(t, said.String(), "parts_test.go", "the stack is in the log")
}

// writer is a function that is written to.
type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// TestPartsStopInReverse: what is started first may be needed by the others to the end.
func TestPartsStopInReverse(t *testing.T) {
	t.Parallel()
	var did []string // by the agent's own goroutine
	var parts news
	for _, name := range []string{"a", "b", "c"} {
		parts = append(parts, func(*part.Host) part.Part {
			note := func(what string) { did = append(did, what+" "+name) }
			return part.Part{Name: name,
				Start: func(context.Context) error { note("start"); return nil },
				Drain: func() { note("drain") },
				Stop:  func() { note("stop") }}
		})
	}
	a, err := server.New(t.Context(), server.Config{Options: agenttest.Options(t), Parts: parts, Log: servertest.Quiet})
	require.NoError(t, err)
	a.Signal(syscall.SIGTERM)
	require.NoError(t, a.Serve())
	require.Equal(t, "start a,start b,start c,stop c,stop b,stop a", strings.Join(did, ","))
	require.False(t, slices.ContainsFunc(did, func(s string) bool { return strings.HasPrefix(s, "drain") }))
}
