package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/agent"
	"berth/backend/api"
	"berth/backend/mem"
	"berth/backend/service/store"
	"berth/backend/service/telemetry"
	"berth/backend/service/workspace"
)

// nowhere is a dialer that reaches no agent.
type nowhere struct{ Dialer }

func (nowhere) Agent(context.Context, backend.Endpoint) (net.Conn, error) {
	return nil, api.Errorf(api.CodeUnreachable, "nowhere")
}

func (nowhere) Forget(context.Context, backend.Endpoint, string) (*backend.Shared, error) {
	return nil, nil
}

// door is a service with one instance, whose policy refuses one action.
type door struct {
	t       *testing.T
	s       *Server
	url     string
	who     atomic.Value // the backend.Principal of new connections
	refused atomic.Value // api.Action
	asked   atomic.Value // *api.Instance of the last question to the policy: what it was about
}

func openDoor(t *testing.T) *door {
	t.Helper()
	d := &door{t: t}
	d.refused.Store(api.Action(""))
	st, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "db"))
	require.NoError(t, err)
	b := mem.New()
	b.Line = backend.Line{Socket: "/nowhere"}
	d.s = &Server{cfg: Config{Log: slog.New(slog.DiscardHandler)}, questions: newQuestions(0), person: person(),
		dialer: nowhere{}, streams: newCarried(), rest: time.NewTimer(time.Hour)}
	d.s.ctx, d.s.stop = context.WithCancel(t.Context())
	d.s.ws, err = workspace.Open(t.Context(), workspace.Options{Store: st, Backends: map[string]backend.Backend{"mem": b},
		Dialer: nowhere{}, Person: d.s.person, Limits: workspace.Limits{Agent: time.Millisecond},
		Policy: func(_ backend.Principal, a api.Action, in *api.Instance) bool {
			d.asked.Store(&in)
			return a != d.refused.Load().(api.Action)
		}})
	require.NoError(t, err)
	d.s.fleet = telemetry.New(telemetry.Options{Workspace: d.s.ws, Log: d.s.cfg.Log})
	srv := httptest.NewUnstartedServer(api.Mux(d.s.Routes(), d.s.gate))
	d.who.Store(d.s.person)
	srv.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, principalKey{}, d.who.Load())
	}
	srv.Start()
	d.url = srv.URL
	t.Cleanup(func() {
		d.s.stop()
		srv.CloseClientConnections()
		srv.Close()
		d.s.fleet.Close()
		d.s.ws.Close()
		_ = st.Close()
	})
	ctx := backend.WithCaller(t.Context(), &backend.Caller{Principal: d.s.person})
	op, err := d.s.ws.Create(ctx, api.CreateRequest{Name: "vision", Backend: "mem"})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		op, err = d.s.ws.Operation(ctx, op.ID)
		return err == nil && op.State.Done()
	}, time.Minute, time.Millisecond)
	return d
}

var placeholder = regexp.MustCompile(`\{[^}]*\}`)

// call calls a route of the instance vision with an empty body, and returns the status and the error's code.
func (d *door) call(r *api.Route) (status int, code api.Code) {
	d.t.Helper()
	ctx, cancel := context.WithCancel(d.t.Context())
	defer cancel() // a stream ends with it
	path := strings.Replace(r.Path, "/v1/instances/{name}", "/v1/instances/vision", 1)
	path = placeholder.ReplaceAllString(path, "x")
	req, err := http.NewRequestWithContext(ctx, r.Method, d.url+path, strings.NewReader("{}"))
	require.NoError(d.t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(d.t, err)
	defer res.Body.Close()
	var doc api.ErrorDocument
	if res.StatusCode >= 400 {
		b, err := io.ReadAll(res.Body)
		require.NoError(d.t, err)
		require.NoError(d.t, json.Unmarshal(b, &doc), "%s", b)
		return res.StatusCode, doc.Error.Code
	}
	return res.StatusCode, ""
}

// TestWhoAskedIsRecorded: operations and events have the id of who asked.
func TestWhoAskedIsRecorded(t *testing.T) {
	d := openDoor(t)
	res, err := http.Post(d.url+"/v1/instances/vision/stop", "application/json", strings.NewReader("{}"))
	require.NoError(t, err)
	defer res.Body.Close()
	var op api.Operation
	require.NoError(t, json.NewDecoder(res.Body).Decode(&op))
	require.Equal(t, fmt.Sprintf("local:%d", os.Getuid()), op.Principal)
	evs, err := d.s.ws.Events(t.Context(), api.EventOptions{Instance: "vision"})
	require.NoError(t, err)
	asked := slices.DeleteFunc(evs, func(e api.Event) bool { return e.OperationID != op.ID })
	require.NotEmpty(t, asked)
	for _, e := range asked {
		require.Equal(t, op.Principal, e.Principal, e.Message)
		require.Equal(t, op.Actor, e.Actor, e.Message)
	}
}

// TestEveryRouteHasItsActions walks the tables of both services.
func TestEveryRouteHasItsActions(t *testing.T) {
	for _, routes := range [][]api.Route{new(Server).Routes(), agent.Routes()} {
		for _, r := range routes {
			require.NotEmpty(t, r.Needs, "%s %s says nothing of who may call it", r.Method, r.Path)
			for _, a := range r.Needs {
				require.Contains(t, api.Actions(), a, "%s %s", r.Method, r.Path)
			}
		}
	}
}

// TestGate calls every route as a principal who may do everything but one action that it needs, and as one who may do
// that alone and not more.
func TestGate(t *testing.T) {
	d := openDoor(t)
	routes := d.s.Routes()
	for i := range routes {
		r := &routes[i]
		for _, a := range r.Needs {
			t.Run(fmt.Sprintf("%s %s without %s", r.Method, r.Path, a), func(t *testing.T) {
				d.refused.Store(a)
				status, code := d.call(r)
				require.Equal(t, http.StatusForbidden, status)
				require.Equal(t, api.CodeForbidden, code)
				about := *d.asked.Load().(**api.Instance)
				require.Equal(t, r.OnInstance(), about != nil, "what the action is asked for")
			})
		}
	}
	ends := []string{"/v1/daemon/stop", "/v1/daemon/handover"}
	for i := range routes { // the instance is there for as long as nothing is allowed
		r := &routes[i]
		if slices.Contains(ends, r.Path) || strings.Contains(r.Path, "delete") || r.Method == http.MethodDelete {
			continue
		}
		for _, a := range api.Actions() {
			if slices.Contains(r.Needs, a) {
				continue
			}
			d.refused.Store(a)
			_, code := d.call(r)
			require.NotEqual(t, api.CodeForbidden, code, "%s %s does not need %s", r.Method, r.Path, a)
		}
	}
}

// TestGateAsksForWhatIsAssigned calls every route on an instance that is assigned to somebody else: what gives a shell
// or data is refused before an agent is asked, the rest is not.
func TestGateAsksForWhatIsAssigned(t *testing.T) {
	d := openDoor(t)
	ctx := backend.WithCaller(t.Context(), &backend.Caller{Principal: d.s.person})
	in, err := d.s.ws.Instance(ctx, "vision")
	require.NoError(t, err)
	require.Empty(t, in.Denied)
	routes := d.s.Routes()
	stranger := backend.Principal{ID: "local:4711", Name: "mallory", Kind: backend.PrincipalLocal}
	d.who.Store(stranger)
	for i := range routes {
		r := &routes[i]
		if !r.OnInstance() || !slices.Contains(r.Needs, api.ActionAccess) {
			continue
		}
		_, code := d.call(r)
		require.Equal(t, api.CodeForbidden, code, "%s %s", r.Method, r.Path)
	}
	in, err = d.s.ws.Instance(backend.WithCaller(t.Context(), &backend.Caller{Principal: stranger}), "vision")
	require.NoError(t, err)
	require.Equal(t, []api.Action{api.ActionAccess}, in.Denied)
	require.False(t, in.Mine)
}

// TestARouteWithoutActionsIsClosed: what was forgotten is refused, not open.
func TestARouteWithoutActionsIsClosed(t *testing.T) {
	called := false
	h := api.Mux([]api.Route{{Method: "GET", Path: "/x", Handler: func(http.ResponseWriter, *http.Request) { called = true }}},
		api.OwnSocket)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/x", nil))
	require.Equal(t, http.StatusForbidden, w.Code)
	require.False(t, called)
}
