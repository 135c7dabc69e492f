package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/base/version"
	"berth/backend/transport/wire"
)

// answers serves the routes of a service over TCP and returns how to dial it.
func answers(t *testing.T, h http.Handler) Dialer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", l.Addr().String())
	}
}

func routes() http.Handler {
	return Mux([]Route{
		{Method: "GET", Path: "/v1/info", Handler: func(w http.ResponseWriter, _ *http.Request) {
			WriteJSON(w, http.StatusOK, AgentInfo{Version: "1.2.3"})
		}},
		{Method: "GET", Path: "/v1/terminals", Handler: func(w http.ResponseWriter, _ *http.Request) {
			WriteJSON(w, http.StatusOK, []Terminal{})
		}},
		{Method: "POST", Path: "/v1/exec", Handler: func(w http.ResponseWriter, r *http.Request) {
			s, err := Upgrade(w, r)
			if err != nil {
				return
			}
			defer s.Close()
			var q ExecRequest
			if s.ReadRequest(&q, 0) == nil {
				_ = s.Writer.WriteJSON(wire.Exit, wire.ExitStatus{Code: 7})
			}
		}},
	}, nil)
}

// TestServiceServesNearCapabilities asks a service as builds of every distance would.
func TestServiceServesNearCapabilities(t *testing.T) {
	dial := answers(t, routes())
	h := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dial(ctx)
	}}}
	defer h.CloseIdleConnections()
	ask := func(path, capability string) error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://berth"+path, nil)
		require.NoError(t, err)
		if capability != "" {
			req.Header.Set(CapabilityHeader, capability)
			req.Header.Set(VersionHeader, "9.8.7")
		}
		res, err := h.Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		require.Equal(t, fmt.Sprint(version.Capability), res.Header.Get(CapabilityHeader), "each answer says it")
		if res.StatusCode == http.StatusOK {
			return nil
		}
		return readError(res)
	}
	require.NoError(t, ask("/v1/terminals", ""), "no header is capability 1")
	for c := 1; c <= version.Capability+version.Served; c++ {
		require.NoError(t, ask("/v1/terminals", fmt.Sprint(c)))
	}
	err := ask("/v1/terminals", fmt.Sprint(version.Capability+version.Served+1))
	require.ErrorIs(t, err, &Error{Code: CodeVersion})
	require.Equal(t, 1, ExitCode(err))
	require.ErrorContains(t, err, "Berth "+version.Number())
	require.ErrorContains(t, err, "Berth 9.8.7")
	require.Contains(t, AsError(err).Hint, "berth daemon stop")
	require.NoError(t, ask("/v1/info", "99"), "what runs is told to all")
	require.ErrorIs(t, ask("/v1/info", "many"), &Error{Code: CodeUsage})
	require.ErrorIs(t, ask("/v1/info", "0"), &Error{Code: CodeUsage})
}

// TestClientWorksWithNearCapabilities answers a client as services of every distance would.
func TestClientWorksWithNearCapabilities(t *testing.T) {
	for _, c := range []struct {
		says string // "": nothing
		near bool
	}{{"", true}, {"1", true}, {fmt.Sprint(version.Capability + version.Served), true},
		{fmt.Sprint(version.Capability + version.Served + 1), false}} {
		inner := routes()
		client := &AgentClient{Dial: answers(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			inner.ServeHTTP(said{w, c.says}, r)
		}))}
		t.Cleanup(client.Close)
		info, err := client.Info(t.Context())
		require.NoError(t, err, "what runs is understood from all")
		require.Equal(t, "1.2.3", info.Version)
		_, err = client.Terminals(t.Context())
		if c.near {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, &Error{Code: CodeVersion})
		require.ErrorContains(t, err, "Berth "+version.Number())
		require.ErrorContains(t, err, "Berth 9.8.7")
		require.Equal(t, "update the Berth that you call with", AsError(err).Hint)
	}
}

// said is an answer that says another capability than this build's.
type said struct {
	http.ResponseWriter
	capability string
}

func (s said) WriteHeader(code int) {
	ClearVersion(s.Header())
	if s.capability != "" {
		s.Header().Set(CapabilityHeader, s.capability)
		s.Header().Set(VersionHeader, "9.8.7")
	}
	s.ResponseWriter.WriteHeader(code)
}

// TestStreamsSayTheirVersion upgrades a connection by hand, so that the lines are seen, and by a client.
func TestStreamsSayTheirVersion(t *testing.T) {
	dial := answers(t, routes())
	client := &AgentClient{Dial: dial}
	t.Cleanup(client.Close)
	s, err := client.OpenExec(t.Context(), ExecRequest{Argv: []string{"x"}})
	require.NoError(t, err)
	x, err := s.Run(t.Context(), StreamIO{})
	require.NoError(t, err)
	require.Equal(t, 7, x.Code)
	h := http.Header{}
	sayVersion(h)
	far := fmt.Sprint(version.Capability + version.Served + 1)
	h.Set(CapabilityHeader, far)
	conn, err := dial(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "POST /v1/exec HTTP/1.1\r\nHost: berth\r\nConnection: close\r\nUpgrade: %s\r\n%s\r\n",
		StreamProtocol, VersionLines(h))
	require.NoError(t, err)
	b := make([]byte, 4096)
	n, err := conn.Read(b)
	require.NoError(t, err)
	require.Contains(t, string(b[:n]), "501 Not Implemented")
	require.Contains(t, string(b[:n]), "capability "+far)
}

func TestWhatIsTooFar(t *testing.T) {
	for _, c := range []struct {
		a, b int
		far  bool
	}{{5, 5, false}, {5, 4, false}, {5, 2, false}, {5, 1, true}, {5, 8, false}, {5, 9, true},
		{2, 1, false}, {3, 1, false}, {4, 1, false}, {6, 2, true}} {
		require.Equal(t, c.far, tooFar(side{capability: c.a}, side{capability: c.b}), "%d and %d", c.a, c.b)
		require.Equal(t, c.far, tooFar(side{capability: c.b}, side{capability: c.a}), "%d and %d", c.b, c.a)
	}
}

func TestWhatALackingFeatureSays(t *testing.T) {
	f := Feature{What: "a queue", Since: 3, In: "0.3.0"}
	require.Empty(t, f.Lacks("the agent of vision", 3, "0.3.1"))
	require.Equal(t, "a queue needs Berth 0.3.0 or newer: the agent of vision is older, 0.2.4",
		f.Lacks("the agent of vision", 2, "0.2.4"))
	require.Equal(t, "a queue needs Berth 0.3.0 or newer: the agent of vision is older",
		f.Lacks("the agent of vision", 0, ""))
}
