package terminal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"berth/backend/agent/part"
	"berth/backend/agent/shim"
	"berth/backend/base/atomicfile"
	"berth/gpu/procs/proc"
)

const (
	maxTerminals = 512
	keptEnds     = 64 // how many ended terminals are remembered, to say how they ended
	askAtOnce    = 16 // shims asked at a time
)

// terminals knows the terminals of this agent's state folder: each is a shim that lives by itself,
// and a folder terminals/ID with its record.
type terminals struct {
	h *part.Host

	mu    sync.Mutex
	live  map[string]*terminal
	last  int // the highest number that was ever given
	ended []ending
	stop  bool
	watch sync.WaitGroup
	opens sync.WaitGroup // terminals that are being opened; Add under mu
}

type terminal struct {
	rec  shim.Record
	dir  string
	conn *shim.Conn    // the watching connection
	home string        // the id of the home that last attached to it; guarded by terminals.mu
	gone chan struct{} // closed once it has ended
}

type ending struct{ id, how string }

// terminalsDir is where the records of terminals lie.
func terminalsDir(o part.Options) string { return filepath.Join(o.State, "terminals") }

// terminalSocket is the socket of a terminal's shim: short, and beside the agent's.
func terminalSocket(o part.Options, id string) string {
	return strings.TrimSuffix(o.Socket, ".sock") + ".t" + id
}

func newTerminals(h *part.Host) *terminals { return &terminals{h: h, live: map[string]*terminal{}} }

// load finds the terminals of earlier agents again.
func (ts *terminals) load() error {
	entries, err := os.ReadDir(terminalsDir(ts.h.Options))
	if err != nil {
		return fmt.Errorf("reading the records of terminals: %w", err)
	}
	var last number
	if err := atomicfile.Read(ts.numberPath(), &last); err != nil && !errors.Is(err, os.ErrNotExist) {
		ts.h.Log.Warn("the number of the last terminal can't be read", "err", err)
	}
	ts.mu.Lock()
	ts.last = last.Last
	ts.mu.Unlock()
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			ts.mu.Lock()
			ts.last = max(ts.last, n)
			ts.mu.Unlock()
			ts.adopt(e.Name(), filepath.Join(terminalsDir(ts.h.Options), e.Name()))
		}
	}
	ts.loadSpare()
	return nil
}

// number is the highest number that was ever given: who comes back to a terminal that has ended must not find another
// one of its number.
type number struct {
	Version int `json:"version"`
	Last    int `json:"last"`
}

func (ts *terminals) numberPath() string {
	return filepath.Join(terminalsDir(ts.h.Options), "number.json")
}

// noteNumber keeps the highest number; ts.mu is held. Without room on the disk a terminal opens all the same.
func (ts *terminals) noteNumber() {
	if err := atomicfile.Write(ts.numberPath(), number{1, ts.last}); err != nil {
		ts.h.Log.Warn("the number of the last terminal can't be kept", "err", err)
	}
}

func (ts *terminals) adopt(id, dir string) {
	rec, err := shim.ReadRecord(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		_ = ts.removeDir(dir) // an agent was killed before the terminal began
	case err != nil:
		ts.h.Log.Error("a terminal's record can't be read; it is left as it is", "terminal", id, "err", err)
	case rec.Shim.Look() != proc.Gone: // one that can't be told answers, or does not: keep asks
		ts.keep(&terminal{rec: rec, dir: dir, home: readHome(dir), gone: make(chan struct{})})
	default:
		ts.forget(id, dir, rec)
	}
}

// keep takes a living terminal in. Figures read the list from the agent's first moment on.
func (ts *terminals) keep(t *terminal) {
	ts.mu.Lock()
	ts.live[t.rec.ID] = t
	ts.mu.Unlock()
	ts.startWatch(t)
}

// forget drops a terminal whose shim has ended, and says how.
func (ts *terminals) forget(id, dir string, rec shim.Record) {
	how, level := "", "info"
	res, ok, err := shim.ReadResult(dir)
	switch {
	case ok && res.Signal != "":
		how = fmt.Sprintf("terminal %s was ended by SIG%s at %s", id, res.Signal, res.EndedAt.Format(time.RFC3339))
	case ok:
		how = fmt.Sprintf("terminal %s ended with exit code %d at %s", id, res.Code, res.EndedAt.Format(time.RFC3339))
	case err != nil:
		how, level = fmt.Sprintf("terminal %s ended, and how can't be read: %v", id, err), "warn"
	case rec.Shim.Boot != proc.BootID():
		how, level = fmt.Sprintf("terminal %s (%s) was lost when the host was restarted", id, rec.Command), "warn"
	case rec.Shim.Look() == proc.Unknown:
		how = fmt.Sprintf("terminal %s (%s) was lost: it was opened in another container and does not answer", id,
			rec.Command)
		level = "warn"
	default:
		how, level = fmt.Sprintf("terminal %s (%s) was lost: its shim was killed", id, rec.Command), "warn"
	}
	ts.remember(id, how)
	ts.h.Event("terminal.ended", level, how)
	_ = os.Remove(rec.Socket)
	if err := ts.removeDir(dir); err != nil {
		ts.h.Log.Warn("the folder of an ended terminal can't be removed", "terminal", id, "err", err)
	}
}

func (ts *terminals) remember(id, how string) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if len(ts.ended) == keptEnds {
		ts.ended = slices.Delete(ts.ended, 0, 1)
	}
	ts.ended = append(ts.ended, ending{id, how})
}

// startWatch follows a shim until its end. Nothing is polled: the shim's connection tells.
func (ts *terminals) startWatch(t *terminal) {
	ts.watch.Go(func() {
		ts.h.Contain("the watch over a terminal", func() { ts.follow(t) })
	})
}

func (ts *terminals) follow(t *terminal) {
	c, err := shim.Dial(ts.h.Context(), t.rec, shim.Request{Op: "watch"})
	if err == nil {
		ts.mu.Lock()
		t.conn = c
		stop := ts.stop
		ts.mu.Unlock()
		if stop {
			_ = c.Close()
			return
		}
		_, err = c.WaitExit()
		_ = c.Close()
	}
	ts.mu.Lock()
	stop := ts.stop
	ts.mu.Unlock()
	if stop {
		return
	}
	if err != nil {
		ts.waitDead(t, err)
	}
	ts.mu.Lock()
	delete(ts.live, t.rec.ID)
	ts.mu.Unlock()
	ts.forget(t.rec.ID, t.dir, t.rec)
	close(t.gone)
}

// waitDead waits for the end of a shim whose connection broke. A process that is killed closes its
// files a moment before it is gone; one that lives on longer was stopped, or hangs, and is noted.
func (ts *terminals) waitDead(t *terminal, why error) {
	for i := 0; t.rec.Shim.Alive(); i++ {
		pause := 5 * time.Millisecond
		if i >= 200 {
			pause = time.Second
		}
		if i == 200 {
			ts.h.Log.Error("the shim of a terminal lives but does not answer", "terminal", t.rec.ID,
				"pid", t.rec.Shim.PID, "err", why)
		}
		select {
		case <-time.After(pause):
		case <-ts.h.Context().Done():
			return
		}
	}
}

// stopWatching leaves the terminals to a later agent, with those that are being opened: its list must be whole.
func (ts *terminals) stopWatching() {
	ts.mu.Lock()
	ts.stop = true
	ts.mu.Unlock()
	ts.opens.Wait()
	ts.mu.Lock()
	for _, t := range ts.live {
		if t.conn != nil {
			_ = t.conn.Close()
		}
	}
	ts.mu.Unlock()
	ts.watch.Wait()
}
