package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/service/store"
	"berth/backend/service/workspace"
)

// reachable returns the record of the named instance if it can have an agent.
func (s *Server) reachable(name string) (store.Instance, error) {
	rec, err := s.ws.Record(name)
	if err != nil {
		return rec, err
	}
	switch rec.State {
	case api.StateStopped, api.StateStopping:
		return rec, api.Errorf(api.CodeUnreachable, "%s is %s", rec.Name, rec.State).WithHint("berth start %s", rec.Name)
	case api.StateCreateFailed, api.StateDeleting:
		why := strings.TrimSuffix(fmt.Sprintf("%s is %s: %s", rec.Name, rec.State, rec.StateReason), ": ")
		return rec, api.Errorf(api.CodeUnreachable, "%s", why).WithHint("berth show %s", rec.Name)
	}
	if rec.Line == (backend.Line{}) {
		return rec, api.Errorf(api.CodeUnreachable, "%s has no address yet: it is %s", rec.Name, rec.State).
			WithHint("berth show %s", rec.Name)
	}
	return rec, nil
}

// agentConn opens a connection to the agent of an instance. While the machine takes another host key into use, its sshd
// is away for a moment: that is waited for, and no failure.
func (s *Server) agentConn(ctx context.Context, rec *store.Instance) (net.Conn, error) {
	for {
		renewing := s.ws.Reconciler.Renewing(rec.ID)
		conn, err := s.dialer.Agent(ctx, rec.Endpoint())
		if err == nil || !renewing || api.AsError(err).Code != api.CodeUnreachable {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(200 * time.Millisecond):
		}
		now, lost := s.ws.Record(rec.ID) // it is known by another key now
		if lost != nil {
			return nil, lost
		}
		*rec = now
	}
}

// relay passes a byte stream on to the instance's agent at path, or serves it over plain SSH where
// there is no agent. The daemon does not look into the frames.
func (s *Server) relay(path string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		rec, err := s.reachable(r.PathValue("name"))
		if err != nil {
			api.WriteError(w, err)
			return
		}
		end, ok := s.streams.begin(rec.ID)
		if !ok {
			api.WriteError(w, errMoved)
			return
		}
		defer end()
		conn, err := s.agentConn(ctx, &rec)
		var un *backend.AgentUnavailable
		switch {
		case errors.As(err, &un):
			s.plain(ctx, w, r, &rec, path)
		case err != nil:
			api.WriteError(w, err)
		default:
			s.splice(w, r, conn, path)
			s.rest.Reset(restAfter)
		}
	}
}

// plain serves a stream without an agent.
func (s *Server) plain(ctx context.Context, w http.ResponseWriter, r *http.Request, rec *store.Instance, path string) {
	st, err := api.Upgrade(w, r)
	if err != nil {
		return // it has answered
	}
	defer st.Close()
	// A hijacked request's context does not end with its connection.
	ctx, cancel := context.WithCancel(backend.WithCaller(s.ctx, backend.CallerFrom(ctx)))
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = st.Close() })()
	if err := s.dialer.ServePlain(ctx, rec.Endpoint(), path, st); err != nil {
		st.Fail(err)
	}
}

// home is how this home names itself to agents.
func (s *Server) home() api.Home {
	_, id := s.ws.IDs()
	return api.NewHome(id, s.person.Name)
}

// splice hands the client's connection and the agent's to each other. The agent answers the upgrade.
func (s *Server) splice(w http.ResponseWriter, r *http.Request, agent net.Conn, path string) {
	client, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = agent.Close()
		api.WriteError(w, fmt.Errorf("taking over the connection: %w", err))
		return
	}
	closeBoth := sync.OnceFunc(func() {
		_ = client.Close()
		_ = agent.Close()
	})
	defer closeBoth()
	defer context.AfterFunc(s.ctx, closeBoth)()
	head := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: berth\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s\r\n",
		(&url.URL{Path: path}).EscapedPath(), api.StreamProtocol, api.VersionLines(r.Header)+api.HomeLine(s.home()))
	if n := rw.Reader.Buffered(); n > 0 { // what the client sent after its header goes in the same write
		b, _ := rw.Reader.Peek(n)
		head = append(head, b...)
	}
	if _, err := agent.Write(head); err != nil {
		return
	}
	first, fail := firstAnswer(agent)
	if fail != nil {
		_ = api.WriteRefusal(client, fail) // the client may be gone
		return
	}
	if _, err := client.Write(first); err != nil {
		return
	}
	var up sync.WaitGroup
	up.Go(func() {
		// The agent may end the stream while input is still on its way: a failed write to it means
		// nothing, its last frames are still to be passed on. A client that goes ends the stream.
		if err := pass(agent, client); err == nil || isRead(err) {
			closeBoth()
		}
	})
	_ = pass(client, agent) // either side's end is the stream's
	closeBoth()
	up.Wait()
}

// firstWordWithin is how long an agent may take to say the first word on a stream. It says it before it does anything:
// one that does not was stopped, or hangs. A slow line has brought the connection up already.
const firstWordWithin = time.Minute

// firstAnswer returns the first bytes of an agent's answer.
func firstAnswer(agent net.Conn) ([]byte, error) {
	late := time.AfterFunc(firstWordWithin, func() { _ = agent.Close() })
	b := make([]byte, 4<<10)
	n, err := agent.Read(b)
	switch {
	case !late.Stop() && n == 0:
		return nil, api.Errorf(api.CodeUnreachable, "the agent has taken the connection and said nothing for %s",
			firstWordWithin).
			WithHint("it hangs or was stopped: berth restart starts the instance again")
	case n == 0:
		return nil, api.Errorf(api.CodeUnreachable, "the agent closed the connection: %w", err)
	}
	return b[:n], nil
}

// pass copies until an end. The connections' own ReadFrom would use small buffers, so it is hidden.
func pass(dst io.Writer, src io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, make([]byte, 256<<10))
	return err
}

// isRead reports whether a copy ended because its source failed.
func isRead(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "read"
}

// agent passes any other call on to the instance's agent.
func (s *Server) agent(w http.ResponseWriter, r *http.Request) {
	if s.keptJobs(w, r) {
		return
	}
	if r.PathValue("path") == "v1/copy/keep" {
		s.keepFolder(w, r)
		return
	}
	rec, err := s.reachable(r.PathValue("name"))
	if err != nil {
		api.WriteError(w, err)
		return
	}
	if r.Method == http.MethodPost && r.PathValue("path") == "v1/engine" {
		v, err := workspace.PutEngine(r.Context(), s.ws, rec)
		if err != nil {
			api.WriteError(w, unreachable(&rec, err))
			return
		}
		api.WriteJSON(w, http.StatusOK, v)
		return
	}
	if r.Header.Get("Upgrade") != "" {
		s.relay("/"+r.PathValue("path"))(w, r)
		return
	}
	// Not in the transport, whose dials outlive the request: a question would wait for a client that has gone.
	conn, err := s.agentConn(r.Context(), &rec)
	if err != nil {
		if errors.Is(err, context.Canceled) && s.asked.Err() != nil {
			err = errMoved // the agent was not asked yet
		}
		api.WriteError(w, unreachable(&rec, err))
		return
	}
	defer conn.Close()
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = "http", "berth"
			p.Out.URL.Path, p.Out.URL.RawPath = "/"+strings.TrimPrefix(r.PathValue("path"), "/"), ""
			p.Out.Header.Del(api.CallerHeader) // the environment stays on this side
			api.SetHome(p.Out.Header, s.home())
		},
		Transport: &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: time.Minute,
			DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }},
		FlushInterval: -1, // event streams
		ModifyResponse: func(*http.Response) error {
			api.ClearVersion(w.Header()) // what answers is the agent, which says its own
			if p := r.PathValue("path"); r.Method == http.MethodPost && strings.HasPrefix(p, "v1/jobs") {
				s.fleet.NoteJobs(rec)
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			api.WriteError(w, unreachable(&rec, err))
		},
	}
	proxy.ServeHTTP(w, r)
}

// unreachable makes an error of a failed way to an agent, keeping one that says its kind.
func unreachable(rec *store.Instance, err error) error {
	var e *api.Error
	if errors.As(err, &e) {
		return e
	}
	var un *backend.AgentUnavailable
	if errors.As(err, &un) {
		return api.Errorf(api.CodeUnreachable, "%s has no agent: %s", rec.Name, un.Reason).
			WithHint("berth exec, berth ssh and berth forward still work, over plain SSH")
	}
	return api.Errorf(api.CodeUnreachable, "the agent of %s does not answer: %w", rec.Name, err).
		WithHint("berth show %s", rec.Name)
}
