package uitest

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"

	"berth/backend/api"
)

// Server serves a Workspace over HTTP on a unix socket, as the daemon does, with questions.
type Server struct {
	WS        *Workspace
	Socket    string
	questions chan api.Question

	mu      sync.Mutex
	waiting map[string]chan api.Answer
}

// Serve starts a server that ends with the test. more are further routes.
func Serve(t testing.TB, w *Workspace, more ...api.Route) *Server {
	t.Helper()
	s := &Server{WS: w, Socket: filepath.Join(t.TempDir(), "s"), questions: make(chan api.Question, 8),
		waiting: map[string]chan api.Answer{}}
	l, err := net.Listen("unix", s.Socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: api.Mux(append(append(s.routes(), s.figureRoutes()...), more...), nil)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-done
		w.Close()
	})
	return s
}

// Client returns a client of the server.
func (s *Server) Client(answer func(context.Context, api.Question) (api.Answer, error)) *api.WorkspaceClient {
	return &api.WorkspaceClient{Answer: answer, Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", s.Socket)
	}}
}

// Ask puts a question to the client that is connected and waits for the answer, or ctx's end.
func (s *Server) Ask(ctx context.Context, q api.Question) (api.Answer, error) {
	ch := make(chan api.Answer, 1)
	s.mu.Lock()
	s.waiting[q.ID] = ch
	s.mu.Unlock()
	s.questions <- q
	select {
	case a := <-ch:
		return a, nil
	case <-ctx.Done():
		s.questions <- api.Question{ID: q.ID, Ended: true}
		return api.Answer{}, ctx.Err()
	}
}

// respond answers with a document or an error.
func respond[T any](w http.ResponseWriter, v T, err error) {
	if err != nil {
		api.WriteError(w, err)
		return
	}
	api.WriteJSON(w, http.StatusOK, v)
}

func (s *Server) routes() []api.Route {
	get := func(path string, h http.HandlerFunc) api.Route {
		return api.Route{Method: "GET", Path: path, Handler: h}
	}
	return []api.Route{
		get("/v1/watch", func(w http.ResponseWriter, r *http.Request) {
			out := api.NewNDJSON(w)
			_ = s.WS.Watch(r.Context(), func(c api.Change) error { return out.Write(c) })
		}),
		get("/v1/backends", func(w http.ResponseWriter, r *http.Request) {
			v, err := s.WS.Backends(r.Context())
			respond(w, v, err)
		}),
		get("/v1/sizes", func(w http.ResponseWriter, r *http.Request) {
			v, err := s.WS.Sizes(r.Context(), r.FormValue("backend"))
			respond(w, v, err)
		}),
		get("/v1/images", func(w http.ResponseWriter, r *http.Request) {
			v, err := s.WS.Images(r.Context(), r.FormValue("backend"))
			respond(w, v, err)
		}),
		get("/v1/names/{name}", func(w http.ResponseWriter, r *http.Request) {
			respond(w, struct{}{}, s.WS.CheckName(r.Context(), r.FormValue("backend"), r.PathValue("name")))
		}),
		get("/v1/events", func(w http.ResponseWriter, r *http.Request) {
			v, err := s.WS.Events(r.Context(), api.EventOptions{Instance: r.FormValue("instance")})
			respond(w, v, err)
		}),
		{Method: "POST", Path: "/v1/instances", Handler: func(w http.ResponseWriter, r *http.Request) {
			var req api.CreateRequest
			if err := api.ReadJSON(r, &req); err != nil {
				api.WriteError(w, err)
				return
			}
			v, err := s.WS.Create(r.Context(), req)
			respond(w, v, err)
		}},
		{Method: "POST", Path: "/v1/instances/{name}/{action}", Handler: func(w http.ResponseWriter, r *http.Request) {
			v, err := s.WS.Action(r.Context(), r.PathValue("name"), r.PathValue("action"), api.ActionRequest{})
			respond(w, v, err)
		}},
		get("/v1/questions", s.stream),
		{Method: "POST", Path: "/v1/questions/{id}", Handler: s.answered},
	}
}

func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	out := api.NewNDJSON(w)
	for {
		select {
		case <-r.Context().Done():
			return
		case q := <-s.questions:
			if out.Write(q) != nil {
				return
			}
		}
	}
}

func (s *Server) answered(w http.ResponseWriter, r *http.Request) {
	var a api.Answer
	if err := api.ReadJSON(r, &a); err != nil {
		api.WriteError(w, err)
		return
	}
	s.mu.Lock()
	ch := s.waiting[r.PathValue("id")]
	delete(s.waiting, r.PathValue("id"))
	s.mu.Unlock()
	if ch == nil {
		api.WriteError(w, api.Errorf(api.CodeNotFound, "there is no such question"))
		return
	}
	ch <- a
	api.WriteJSON(w, http.StatusOK, struct{}{})
}
