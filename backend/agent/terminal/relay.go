package terminal

import (
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"

	"berth/backend/agent/shim"
	"berth/backend/api"
	"berth/backend/transport/wire"
)

func (ts *terminals) handleAttach(w http.ResponseWriter, r *http.Request) {
	var req api.TerminalRequest
	ts.h.Stream(w, r, &req, func(s *api.Stream) error {
		req.Home = api.HomeOf(r.Header).ID
		t, c, err := ts.attach(ts.h.Context(), req)
		if err != nil {
			return err
		}
		defer c.Close()
		ts.used(t, req.Home)
		again := c.Info.Attached > 1 || !c.Info.DetachedAt.IsZero()
		if s.Writer.WriteJSON(wire.Started, wire.Start{PID: c.Info.PID, Terminal: t.rec.ID, Again: again}) != nil {
			return nil // the client has gone
		}
		ts.relay(s, c, t)
		return nil
	})
}

// relay passes frames between a client and a shim until one of them ends.
func (ts *terminals) relay(s *api.Stream, c *shim.Conn, t *terminal) {
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
				ts.h.Active()
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
		case <-ts.h.Context().Done():
			_ = c.Close()
		}
	})
	for {
		k, p, err := c.Reader.Next()
		if err != nil {
			if !left.Load() {
				ts.sayLost(s, t)
			}
			break
		}
		if k == wire.Stdout {
			ts.h.Active()
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
func (ts *terminals) sayLost(s *api.Stream, t *terminal) {
	if ts.h.Context().Err() != nil {
		s.Fail(api.Errorf(api.CodeUnreachable, "the agent ends").WithHint("attach again: the terminal outlives its agent"))
		return
	}
	s.Fail(api.Errorf(api.CodeFailed, "terminal %s was lost: its shim was killed", t.rec.ID))
}
