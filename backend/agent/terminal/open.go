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
	"time"

	"berth/backend/agent/environ"
	"berth/backend/agent/part"
	"berth/backend/agent/process"
	"berth/backend/agent/program"
	"berth/backend/agent/shim"
	"berth/backend/api"
)

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
	t, id, err := ts.openIn(ctx, terminalsDir(ts.h.Options), req)
	if base := ts.h.SpareDir(); base != "" && noRoom(err) {
		ts.h.Log.Warn("a terminal is kept in memory", "because", err)
		t, id, err = ts.openIn(ctx, base, req)
	}
	if err != nil {
		return nil, err
	}
	ts.keep(t)
	ts.h.Event("terminal.opened", "info", fmt.Sprintf("terminal %s was opened", id))
	return t, nil
}

// openIn starts a new terminal whose folder lies in base.
func (ts *terminals) openIn(ctx context.Context, base string, req api.TerminalRequest) (*terminal, string, error) {
	id, dir, err := ts.reserve(base)
	if err != nil {
		return nil, "", err
	}
	t, err := ts.start(ctx, id, dir, req)
	if err != nil {
		_ = ts.removeDir(dir) // it is in the way of nothing if it stays
	}
	return t, id, err
}

// reserve takes the next number and makes its folder in base.
func (ts *terminals) reserve(base string) (id, dir string, err error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if len(ts.live) >= maxTerminals {
		return "", "", api.Errorf(api.CodeRefused, "this instance has %d terminals already", len(ts.live)).
			WithHint("end one first: DELETE /v1/terminals/ID")
	}
	if base == ts.h.SpareDir() {
		if err := makeSpare(base); err != nil {
			return "", "", err
		}
	}
	for {
		ts.last++
		id = strconv.Itoa(ts.last)
		dir = filepath.Join(base, id)
		err := os.Mkdir(dir, 0o700)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return "", "", api.Errorf(api.CodeFailed, "making the terminal's folder: %w", err)
		}
		ts.noteNumber()
		return id, dir, nil
	}
}

func (ts *terminals) start(ctx context.Context, id, dir string, req api.TerminalRequest) (*terminal, error) {
	h := ts.h
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	mark := "BERTH_TERMINAL=" + id + "." + hex.EncodeToString(b[:])
	spec := shim.Spec{Socket: socketOf(h.Options, id, dir), Rows: req.Rows, Cols: req.Cols}
	spec.ID, spec.Dir, spec.Mark = id, dir, mark
	cwd, err := h.Dir(req.Dir)
	if err != nil {
		return nil, err
	}
	spec.Cwd = process.Text(cwd)
	over := append(slices.Clone(req.Env), mark)
	if len(req.Argv) == 0 {
		// A login shell reads its own start-up files: no need to wait for those of the captured one.
		spec.Path, spec.Argv0 = process.Text(h.Shell), process.Text("-"+filepath.Base(h.Shell))
		term := cmp.Or(req.Term, "xterm-256color")
		spec.Env = environ.Merge(environ.Merge(environ.Merge(h.Base, h.Env()...), "TERM="+term), over...)
		if err := makeBerth(h); err == nil {
			spec.Env = withBerth(h.Options, spec.Env)
		} else { // a full disk
			h.Log.Warn("a terminal has no berth", "because", err)
		}
	} else {
		spec.Env = h.Environment(ctx, over, true, req.Term)
		path, err := program.Look(req.Argv[0], cwd, environ.Lookup(spec.Env, "PATH"))
		if err != nil {
			return nil, err
		}
		spec.Path, spec.Argv0, spec.Args = process.Text(path), process.Text(req.Argv[0]), req.Argv[1:]
	}
	log, err := os.OpenFile(h.LogPath(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	switch {
	case err == nil:
		defer log.Close()
	case noRoom(err):
		log = os.Stderr // it was never made: where the agent itself complains
	default:
		return nil, api.Errorf(api.CodeFailed, "opening the agent's log: %w", err)
	}
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
