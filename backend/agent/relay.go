package agent

import (
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"berth/backend/agent/shim"
	"berth/backend/api"
	"berth/backend/transport/wire"
)

func (a *Agent) handleTerminal(w http.ResponseWriter, r *http.Request) {
	s, done := a.openStream(w, r)
	if s == nil {
		return
	}
	defer done()
	var req api.TerminalRequest
	_ = s.Conn.SetReadDeadline(time.Now().Add(requestLimit))
	if err := s.ReadRequest(&req); err != nil {
		s.Fail(err)
		return
	}
	_ = s.Conn.SetReadDeadline(time.Time{})
	a.active()
	t, c, err := a.terms.attach(a.ctx, req)
	if err != nil {
		s.Fail(err)
		return
	}
	defer c.Close()
	again := c.Info.Attached > 1 || !c.Info.DetachedAt.IsZero()
	if s.Writer.WriteJSON(wire.Started, wire.Start{PID: c.Info.PID, Terminal: t.rec.ID, Again: again}) != nil {
		return
	}
	a.relay(s, c, t)
}

// relay passes frames between a client and a shim until one of them ends.
func (a *Agent) relay(s *api.Stream, c *shim.Conn, t *terminal) {
	var left atomic.Bool // the client has gone
	var up sync.WaitGroup
	up.Go(func() {
		defer c.Close() // ends the loop below
		defer left.Store(true)
		for {
			k, p, err := s.Reader.Next()
			if err != nil {
				return
			}
			if k == wire.Stdin {
				a.active()
			}
			if c.Writer.Write(k, p) != nil {
				return
			}
			if k == wire.Detach {
				// The shim's answer ends the stream; reading on notices a client that does not wait for it.
				continue
			}
		}
	})
	stop := make(chan struct{})
	var end sync.WaitGroup
	end.Go(func() {
		select {
		case <-stop:
		case <-a.ctx.Done():
			_ = c.Close()
		}
	})
	for {
		k, p, err := c.Reader.Next()
		if err != nil {
			if !left.Load() {
				a.sayLost(s, t)
			}
			break
		}
		if k == wire.Stdout {
			a.active()
		}
		if k == wire.Error {
			var f shim.Failure
			_ = json.Unmarshal(p, &f)
			s.Fail(api.Errorf(api.CodeConflict, "%s", f.Message))
			break
		}
		if s.Writer.Write(k, p) != nil || k == wire.Exit {
			break
		}
	}
	close(stop)
	_ = s.Close() // ends the client's side
	up.Wait()
	end.Wait()
}

// sayLost tells a client why its terminal's line ended without an exit status.
func (a *Agent) sayLost(s *api.Stream, t *terminal) {
	if a.ctx.Err() != nil {
		s.Fail(api.Errorf(api.CodeUnreachable, "the agent ends; terminal %s goes on", t.rec.ID).WithHint("attach again"))
		return
	}
	s.Fail(api.Errorf(api.CodeFailed, "terminal %s was lost: its shim was killed", t.rec.ID))
}
