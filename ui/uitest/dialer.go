package uitest

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/base/version"
)

// dialer reaches agents in memory, which say what the workspace asks of one.
type dialer struct{ w *Workspace }

// Agent implements workspace.Dialer.
func (d dialer) Agent(ctx context.Context, to backend.Endpoint) (net.Conn, error) {
	if ctx.Value(direct{}) == nil {
		if err := d.w.gate(ctx, to.ID); err != nil {
			return nil, err
		}
	}
	here, there := net.Pipe()
	l := &one{conn: make(chan net.Conn, 1), over: make(chan struct{})}
	l.conn <- &served{Conn: there, over: sync.OnceFunc(func() { close(l.over) })}
	srv := &http.Server{Handler: d.w.agentOf(to.ID), ReadHeaderTimeout: time.Minute}
	go func() { _ = srv.Serve(l) }() // it ends with the connection
	return here, nil
}

// Forget implements workspace.Dialer.
func (d dialer) Forget(ctx context.Context, to backend.Endpoint, _ string) (*backend.Shared, error) {
	if ctx.Value(direct{}) != nil {
		return nil, nil
	}
	return nil, d.w.gate(ctx, to.ID)
}

// agentOf answers as the agent of an instance.
func (w *Workspace) agentOf(id string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/info", func(rw http.ResponseWriter, _ *http.Request) {
		in, err := w.real.Instance(asAda(), id)
		if err != nil {
			api.WriteError(rw, err)
			return
		}
		w.mu.Lock()
		after := w.reboots[id]
		w.mu.Unlock()
		info := api.AgentInfo{Version: "0.1.0", Capability: version.Capability, Arch: "amd64", User: in.User,
			Workdir: in.Workdir,
			// The agent's clock is compared with that of this computer, not with the test's.
			Now: time.Now(), VCPUs: in.VCPUs, MemoryBytes: in.MemoryBytes, DiskBytes: in.DiskBytes, AfterReboot: after}
		if in.IdleSince != nil {
			info.LastActivity = info.Now.Add(in.IdleSince.Sub(w.clock()))
		}
		api.WriteJSON(rw, http.StatusOK, info)
	})
	mux.HandleFunc("POST /v1/clock", func(rw http.ResponseWriter, _ *http.Request) {
		api.WriteJSON(rw, http.StatusOK, struct{}{})
	})
	return mux
}

// one is a listener that has one connection, and ends with it.
type one struct {
	conn chan net.Conn
	over chan struct{}
}

func (l *one) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.over:
		return nil, net.ErrClosed
	}
}

func (l *one) Close() error   { return nil }
func (l *one) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: "agent"} }

// served is a connection that says when it is closed.
type served struct {
	net.Conn
	over func()
}

func (c *served) Close() error {
	defer c.over()
	return c.Conn.Close()
}
