package terminal

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"berth/backend/agent/environ"
	"berth/backend/agent/part"
	"berth/backend/agent/shim"
	"berth/backend/api"
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
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			ts.mu.Lock()
			ts.last = max(ts.last, n)
			ts.mu.Unlock()
			ts.adopt(e.Name())
		}
	}
	return nil
}

func (ts *terminals) adopt(id string) {
	dir := filepath.Join(terminalsDir(ts.h.Options), id)
	rec, err := shim.ReadRecord(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		_ = os.RemoveAll(dir) // an agent was killed before the terminal began
	case err != nil:
		ts.h.Log.Error("a terminal's record can't be read; it is left as it is", "terminal", id, "err", err)
	case rec.Shim.Look() != proc.Gone: // one that can't be told answers, or does not: keep asks
		ts.keep(&terminal{rec: rec, dir: dir, gone: make(chan struct{})})
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
	if err := os.RemoveAll(dir); err != nil {
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

// records lists the living terminals, oldest first.
func (ts *terminals) records() []shim.Record {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	out := make([]shim.Record, 0, len(ts.live))
	for _, t := range ts.live {
		out = append(out, t.rec)
	}
	slices.SortFunc(out, func(x, y shim.Record) int {
		return cmp.Or(x.StartedAt.Compare(y.StartedAt), cmp.Compare(len(x.ID), len(y.ID)), cmp.Compare(x.ID, y.ID))
	})
	return out
}

// ask asks all shims for their state, a few at a time. One that does not answer is left out.
func (ts *terminals) ask(ctx context.Context, recs []shim.Record) map[string]shim.Info {
	out := make(map[string]shim.Info, len(recs))
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, askAtOnce)
	for _, rec := range recs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			c, err := shim.Dial(ctx, rec, shim.Request{Op: "info"})
			if err != nil {
				return
			}
			_ = c.Close()
			mu.Lock()
			out[rec.ID] = c.Info
			mu.Unlock()
		})
	}
	wg.Wait()
	return out
}

func (ts *terminals) list(ctx context.Context) []api.Terminal {
	recs := ts.records()
	infos := ts.ask(ctx, recs)
	out := make([]api.Terminal, 0, len(recs))
	for _, r := range recs {
		i := infos[r.ID]
		out = append(out, api.Terminal{ID: r.ID, PID: r.Child.PID, Command: r.Command, StartedAt: r.StartedAt,
			LastActivity: i.LastActivity, Attached: i.Attached, Rows: i.Rows, Cols: i.Cols})
	}
	return out
}

// find returns a living terminal, or an error that says how it ended.
func (ts *terminals) find(id string) (*terminal, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t := ts.live[id]; t != nil {
		return t, nil
	}
	for _, e := range ts.ended {
		if e.id == id {
			return nil, api.Errorf(api.CodeNotFound, "%s", e.how)
		}
	}
	return nil, api.Errorf(api.CodeNotFound, "there is no terminal %.40q on this instance", id)
}

// kill ends a terminal and returns once it has ended.
func (ts *terminals) kill(ctx context.Context, id string, grace time.Duration) error {
	t, err := ts.find(id)
	if err != nil {
		return err
	}
	c, err := shim.Dial(ctx, t.rec, shim.Request{Op: "kill", GraceSeconds: grace.Seconds()})
	if err == nil {
		stop := context.AfterFunc(ctx, func() { _ = c.Close() })
		_, err = c.WaitExit()
		stop()
		_ = c.Close()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && t.rec.Shim.Alive() {
		// The shim does not do it (stopped, say): by force, from here.
		_, _ = t.rec.Set().End(ctx, grace, nil)
		_ = t.rec.Shim.Signal(syscall.SIGKILL)
	}
	select {
	case <-t.gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (ts *terminals) killAll(ctx context.Context, grace time.Duration) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, r := range ts.records() {
		wg.Go(func() {
			err := ts.kill(ctx, r.ID, grace)
			if err != nil && !errors.Is(err, &api.Error{Code: api.CodeNotFound}) {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// open starts a new terminal under a shim of its own.
func (ts *terminals) open(ctx context.Context, req api.TerminalRequest) (*terminal, error) {
	ts.mu.Lock()
	stop := ts.stop
	if !stop {
		ts.opens.Add(1)
	}
	ts.mu.Unlock()
	if stop {
		return nil, part.ErrLeaving()
	}
	defer ts.opens.Done()
	id, dir, err := ts.reserve()
	if err != nil {
		return nil, err
	}
	t, err := ts.start(ctx, id, dir, req)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	ts.keep(t)
	ts.h.Event("terminal.opened", "info", fmt.Sprintf("terminal %s was opened", id))
	return t, nil
}

// reserve takes the next number and makes its folder.
func (ts *terminals) reserve() (id, dir string, err error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if len(ts.live) >= maxTerminals {
		return "", "", api.Errorf(api.CodeRefused, "this instance has %d terminals already", len(ts.live)).
			WithHint("end one first: DELETE /v1/terminals/ID")
	}
	for {
		ts.last++
		id = strconv.Itoa(ts.last)
		dir = filepath.Join(terminalsDir(ts.h.Options), id)
		err := os.Mkdir(dir, 0o700)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return "", "", api.Errorf(api.CodeFailed, "making the terminal's folder: %w", err)
		}
		return id, dir, nil
	}
}

func (ts *terminals) start(ctx context.Context, id, dir string, req api.TerminalRequest) (*terminal, error) {
	h := ts.h
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	mark := "BERTH_TERMINAL=" + id + "." + hex.EncodeToString(b[:])
	spec := shim.Spec{Socket: terminalSocket(h.Options, id), Rows: req.Rows, Cols: req.Cols}
	spec.ID, spec.Dir, spec.Mark = id, dir, mark
	var err error
	if spec.Cwd, err = h.Dir(req.Dir); err != nil {
		return nil, err
	}
	over := append(slices.Clone(req.Env), mark)
	if len(req.Argv) == 0 {
		// A login shell reads its own start-up files: no need to wait for those of the captured one.
		spec.Path, spec.Argv0 = h.Shell, "-"+filepath.Base(h.Shell)
		term := cmp.Or(req.Term, "xterm-256color")
		spec.Env = environ.Merge(environ.Merge(environ.Merge(h.Base, h.Env()...), "TERM="+term), over...)
	} else {
		spec.Env = h.Environment(ctx, over, true, req.Term)
		if spec.Path, err = part.LookPath(req.Argv[0], spec.Cwd, environ.Lookup(spec.Env, "PATH")); err != nil {
			return nil, err
		}
		spec.Argv0, spec.Args = req.Argv[0], req.Argv[1:]
	}
	log, err := os.OpenFile(h.LogPath(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, api.Errorf(api.CodeFailed, "opening the agent's log: %w", err)
	}
	defer log.Close()
	if err = shim.Start(context.WithoutCancel(ctx), h.ShimCommand(id), environ.Merge(h.Base, h.Env()...), spec,
		log); err != nil {
		return nil, api.Errorf(api.CodeFailed, "opening a terminal: %w", err)
	}
	rec, err := shim.ReadRecord(dir)
	if err != nil {
		return nil, api.Errorf(api.CodeFailed, "opening a terminal: %w", err)
	}
	return &terminal{rec: rec, dir: dir, gone: make(chan struct{})}, nil
}

// attach connects to the terminal that a request means: that of ID, a new one, or the one that was
// left last.
func (ts *terminals) attach(ctx context.Context, req api.TerminalRequest) (*terminal, *shim.Conn, error) {
	ask := shim.Request{Op: "attach", Rows: req.Rows, Cols: req.Cols}
	if req.ID != "" {
		t, err := ts.find(req.ID)
		if err != nil {
			return nil, nil, err
		}
		c, err := shim.Dial(ctx, t.rec, ask)
		if err != nil {
			return nil, nil, api.Errorf(api.CodeFailed, "attaching to terminal %s: %w", req.ID, err)
		}
		return t, c, nil
	}
	if !req.New {
		for _, id := range ts.candidates(ctx, req.Shared) {
			t, err := ts.find(id)
			if err != nil {
				continue // ended meanwhile
			}
			ask.Exclusive = !req.Shared
			if c, err := shim.Dial(ctx, t.rec, ask); err == nil {
				return t, c, nil
			}
			// Somebody else was faster, or it just ended: the next one, or a new one.
		}
		ask.Exclusive = false
	}
	t, err := ts.open(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	c, err := shim.Dial(ctx, t.rec, ask)
	if err != nil {
		return nil, nil, api.Errorf(api.CodeFailed, "attaching to the new terminal %s: %w", t.rec.ID, err)
	}
	return t, c, nil
}

// candidates lists terminals to attach to, best first: that which was left last. With shared, those
// that somebody is attached to come first.
func (ts *terminals) candidates(ctx context.Context, shared bool) []string {
	recs := ts.records()
	infos := ts.ask(ctx, recs)
	type cand struct {
		id       string
		attached bool
		at       time.Time
	}
	var cs []cand
	for _, r := range recs {
		i, ok := infos[r.ID]
		if !ok || (i.Attached > 0 && !shared) {
			continue
		}
		c := cand{r.ID, i.Attached > 0, i.DetachedAt}
		if c.at.IsZero() {
			c.at = r.StartedAt
		}
		if c.attached {
			c.at = i.LastActivity
		}
		cs = append(cs, c)
	}
	slices.SortStableFunc(cs, func(x, y cand) int {
		if x.attached != y.attached {
			if x.attached {
				return -1
			}
			return 1
		}
		return y.at.Compare(x.at)
	})
	out := make([]string, len(cs))
	for i, c := range cs {
		out[i] = c.id
	}
	return out
}
