package daemon

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"berth/backend/api"
	"berth/backend/base/flock"
	"berth/backend/base/version"
	"berth/backend/service/daemon/connect"
)

// makeWay takes away how clients find this daemon, and lets nothing begin any more. From here on they start the next
// one, which waits for the lock. What reaches this one still is told to ask again.
func (s *Server) makeWay() {
	s.leaving.Do(func() { // once: later they may be the next daemon's
		_ = os.Remove(s.cfg.Home.DaemonSocket())
		_ = os.Remove(connect.NotePath(s.cfg.Home))
		s.streams.close()
		s.yield()
	})
}

// callLimit is how long calls under way at a hand-over have to end by themselves. Then those are ended that are longer,
// or follow something; their clients begin again.
const callLimit = 300 * time.Millisecond

func (s *Server) letCallsEnd() {
	for end := time.Now().Add(callLimit); s.ctx.Err() == nil && s.calls.Load() > 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	s.endCalls()
}

// errMoved answers what comes after makeWay; clients ask the next daemon then.
var errMoved = api.Errorf(api.CodeMoved, "this daemon has ended or made way for a newer one").WithHint("try again")

// handOver lets a newer daemon have the home: its socket, lock and store, and the operations under way. This one stays
// only as long as it has byte streams to carry.
func (s *Server) handOver(w http.ResponseWriter, r *http.Request) {
	var by version.Version
	if err := api.ReadJSON(r, &by); err != nil {
		api.WriteError(w, err)
		return
	}
	if own := version.Current(); !by.Newer(own) {
		api.WriteError(w, api.Errorf(api.CodeRefused,
			"the daemon is of version %s (built %s) and makes way for a newer one only, not for %s (built %s)",
			own.Number, own.Built.Format(time.RFC3339), by.Number, by.Built.Format(time.RFC3339)))
		return
	}
	s.handedTo.Store(&by)
	w.WriteHeader(http.StatusNoContent)
	s.makeWay()
}

// endStreams waits until no stream is left. After a hand-over they go on to their end, however long that takes, and
// only the connections that they need stay; else, or when the process is to end, they are ended.
func (s *Server) endStreams() {
	over := s.handedTo.Load()
	if n := s.streams.count(); over != nil && n > 0 && s.ctx.Err() == nil {
		s.cfg.Log.Info("a newer daemon has taken over; this one stays until its byte streams have ended",
			"pid", os.Getpid(), "newer", over.Number, "streams", n)
		defer s.noteDraining(n)()
	} else {
		s.stop()
	}
	ending := s.ctx.Done()
	var late <-chan time.Time
	for s.streams.count() > 0 {
		if over != nil {
			s.dialer.Keep(s.streams.of)
		}
		select {
		case <-s.streams.ended:
		case <-ending:
			ending, late = nil, time.After(connect.EndLimit)
		case <-late:
			s.cfg.Log.Warn("byte streams do not end; they end with this process", "streams", s.streams.count())
			return
		}
	}
}

// noteDraining writes the note of a draining daemon, which is locked as long as it lives, and returns what removes it.
func (s *Server) noteDraining(streams int) (remove func()) {
	path := filepath.Join(s.cfg.Home.Run, fmt.Sprintf("draining-%d.json", os.Getpid()))
	d := connect.Draining{Version: version.Current(), PID: os.Getpid(), Since: time.Now().UTC(), Streams: streams}
	b, err := json.Marshal(d)
	if err == nil {
		err = os.MkdirAll(s.cfg.Home.Run, 0o700)
	}
	var f *os.File
	if err == nil {
		f, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	}
	if err != nil {
		s.cfg.Log.Warn("writing the note of a daemon that has handed over", "error", err)
		return func() {}
	}
	if err = flock.Try(f); err == nil {
		_, err = f.Write(b)
	}
	if err != nil {
		s.cfg.Log.Warn("writing the note of a daemon that has handed over", "error", err)
	}
	return func() {
		_ = os.Remove(path)
		_ = f.Close()
		_ = os.Remove(s.cfg.Home.Run) // stays while something is in it
	}
}
