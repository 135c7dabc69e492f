package attach

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/transport/wire"
)

// service serves terminals: real shells on real PTYs, which outlive their connections.
type service struct {
	mu    sync.Mutex
	cmd   []string
	ptm   *os.File // the one terminal
	sizes []wire.Size
	reqs  []api.TerminalRequest
	conns []*api.Stream
	sink  *api.Stream // who gets the output
	exit  chan wire.ExitStatus
	mute  bool // no goodbye after Detach
	// asks, if set, is asked when the terminal is dialled again, before it is reached.
	asks    *api.Question
	answers chan api.Answer

	// What the service says of the instance; nil: it is not there. Without serves, nobody can be asked.
	serves bool
	inst   *api.Instance
	events []api.Event
	ops    map[string]api.Operation
	refuse error // of every attach from now on
	pid    int
	// learned is set once the client has asked where it is.
	learned bool
	shell   int  // the shell's process
	plain   bool // as without an agent: terminals have no id
}

// acts has an operation on the instance, at whatever stage.
func (s *service) acts(kind string, state api.OpState, inst *api.Instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := fmt.Sprint("op-", len(s.ops))
	if s.ops == nil {
		s.ops = map[string]api.Operation{}
	}
	s.ops[id] = api.Operation{ID: id, Kind: kind, State: state, Actor: "ada", InstanceID: "i-1"}
	s.inst = inst
	s.events = append(s.events, api.Event{Seq: int64(len(s.events) + 1), InstanceID: "i-1", OperationID: id})
}

// refuses has every attach refused from now on, and ends those that there are.
func (s *service) refuses(err error) {
	s.mu.Lock()
	s.refuse = err
	s.mu.Unlock()
	s.cut()
}

func (s *service) instance(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.serves:
		api.WriteError(w, api.Errorf(api.CodeFailed, "nobody knows"))
	case s.inst == nil:
		api.WriteError(w, api.Errorf(api.CodeNotFound, "there is no instance %q", r.PathValue("name")))
	default:
		api.WriteJSON(w, http.StatusOK, s.inst)
	}
}

func (s *service) listEvents(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Query().Get("instance") != "" && s.inst == nil {
		api.WriteError(w, api.Errorf(api.CodeNotFound, "there is no such instance"))
		return
	}
	if r.URL.Query().Get("limit") != "" {
		s.learned = true
	}
	since, _ := strconv.ParseInt(r.URL.Query().Get("since"), 10, 64)
	out := []api.Event{}
	for _, e := range s.events {
		if e.Seq > since {
			out = append(out, e)
		}
	}
	api.WriteJSON(w, http.StatusOK, out)
}

func (s *service) operation(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	api.WriteJSON(w, http.StatusOK, s.ops[r.PathValue("id")])
}

func serve(t *testing.T, argv ...string) (*service, *api.WorkspaceClient) {
	t.Helper()
	s := &service{cmd: argv}
	sock := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", sock)
	require.NoError(t, err)
	srv := &http.Server{Handler: api.Mux([]api.Route{{Method: "POST", Path: "/v1/instances/{name}/terminal",
		Handler: s.terminal},
		{Method: "GET", Path: "/v1/instances/{name}", Handler: s.instance},
		{Method: "GET", Path: "/v1/events", Handler: s.listEvents},
		{Method: "GET", Path: "/v1/operations/{id}", Handler: s.operation},
		{Method: "GET", Path: "/v1/questions", Handler: s.question},
		{Method: "POST", Path: "/v1/questions/{id}", Handler: s.answer},
	}, nil)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	c := &api.WorkspaceClient{Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", sock)
	}}
	t.Cleanup(func() {
		c.Close()
		_ = srv.Close()
		<-done
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, st := range s.conns {
			_ = st.Close()
		}
		if s.ptm != nil {
			_ = s.ptm.Close()
		}
	})
	return s, c
}

func (s *service) question(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusOK)
	if s.asks != nil {
		_ = json.NewEncoder(w).Encode(s.asks)
	}
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func (s *service) answer(w http.ResponseWriter, r *http.Request) {
	var a api.Answer
	if err := api.ReadJSON(r, &a); err != nil {
		api.WriteError(w, err)
		return
	}
	s.answers <- a
	api.WriteJSON(w, http.StatusOK, struct{}{})
}

func (s *service) terminal(w http.ResponseWriter, r *http.Request) {
	if name := r.PathValue("name"); name != "box" && name != "i-1" {
		api.WriteError(w, api.Errorf(api.CodeNotFound, "there is no instance %q", r.PathValue("name")))
		return
	}
	s.mu.Lock()
	refuse := s.refuse
	s.mu.Unlock()
	if refuse != nil {
		api.WriteError(w, refuse)
		return
	}
	s.mu.Lock()
	ask := s.asks != nil && len(s.reqs) > 0
	s.mu.Unlock()
	if ask {
		select {
		case a := <-s.answers:
			if a.Value != "hunter2" {
				api.WriteError(w, api.Errorf(api.CodeAuth, "wrong: %q", a.Value))
				return
			}
		case <-r.Context().Done():
			return
		}
	}
	st, err := api.Upgrade(w, r)
	if err != nil {
		return
	}
	defer st.Close()
	var req api.TerminalRequest
	if st.ReadRequest(&req, 0) != nil {
		return
	}
	s.mu.Lock()
	s.reqs = append(s.reqs, req)
	s.conns = append(s.conns, st)
	s.sink = st
	if s.ptm == nil {
		cmd := exec.Command(s.cmd[0], s.cmd[1:]...)
		ptm, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: req.Rows, Cols: req.Cols})
		if err != nil {
			s.mu.Unlock()
			st.Fail(err)
			return
		}
		s.ptm, s.shell = ptm, cmd.Process.Pid
		s.exit = make(chan wire.ExitStatus, 1)
		go s.output(cmd)
	}
	again, pid := len(s.reqs) > 1, s.pid
	s.mu.Unlock()
	start := wire.Start{Terminal: "t1", Again: again, PID: pid}
	if s.plain {
		start = wire.Start{}
	}
	_ = st.Writer.WriteJSON(wire.Started, start)
	for {
		k, p, err := st.Reader.Next()
		if err != nil {
			return
		}
		switch k {
		case wire.Stdin:
			_, _ = s.ptm.Write(p)
			_ = st.Writer.WriteWindow(uint32(len(p)))
		case wire.Resize:
			var z wire.Size
			_ = json.Unmarshal(p, &z)
			s.mu.Lock()
			s.sizes = append(s.sizes, z)
			s.mu.Unlock()
			_ = pty.Setsize(s.ptm, &pty.Winsize{Rows: z.Rows, Cols: z.Cols})
		case wire.Detach:
			if s.mute {
				<-r.Context().Done()
				return
			}
			_ = st.Writer.WriteJSON(wire.Exit, wire.ExitStatus{Reason: "detached"})
			return
		}
	}
}

// output passes what the shell writes to whoever is attached, and its end.
func (s *service) output(cmd *exec.Cmd) {
	buf := make([]byte, 32<<10)
	for {
		n, err := s.ptm.Read(buf)
		if n > 0 {
			s.mu.Lock()
			_ = s.sink.Writer.Write(wire.Stdout, buf[:n])
			s.mu.Unlock()
		}
		if err != nil {
			break
		}
	}
	_ = cmd.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.sink.Writer.WriteJSON(wire.Exit, wire.ExitStatus{Code: cmd.ProcessState.ExitCode()})
}

func (s *service) pidOf() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shell
}

// exits tells every client that the shell has ended.
func (s *service) exits(x wire.ExitStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.conns {
		_ = st.Writer.WriteJSON(wire.Exit, x)
	}
}

// fails ends every stream with an error.
func (s *service) fails(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.conns {
		st.Fail(err)
	}
}

// cut breaks every connection.
func (s *service) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.conns {
		_ = st.Close()
	}
	s.conns = nil
}

func (s *service) requests() []api.TerminalRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]api.TerminalRequest(nil), s.reqs...)
}
