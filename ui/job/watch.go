package job

import (
	"context"
	"slices"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/ui/screen"
)

// progressPace is the least time between two answers about how far jobs are.
const progressPace = 500 * time.Millisecond

// Watch asks how far jobs of one instance are, as long as they are in sight.
type Watch struct {
	jobs screen.Jobs
	ids  []string
	mark string
	gen  int // of what is asked
	stop context.CancelFunc
	off  bool // the agent is older than this
}

// WatchedMsg is an answer, or the time to ask again.
type WatchedMsg struct {
	of  *Watch
	gen int
	p   *api.JobsProgress // nil: it is time to ask again
	err error
}

// See asks for jobs from now on, until it is called with others or ctx ends; for none, nothing is asked.
func (w *Watch) See(ctx context.Context, jobs screen.Jobs, ids []string) tea.Cmd {
	if w.off || slices.Equal(ids, w.ids) {
		return nil
	}
	w.End()
	w.jobs, w.ids = jobs, slices.Clone(ids)
	return w.ask(ctx)
}

// End asks no more.
func (w *Watch) End() {
	if w.stop != nil {
		w.stop()
		w.stop = nil
	}
	w.gen++
	w.ids, w.mark = nil, ""
}

func (w *Watch) ask(ctx context.Context) tea.Cmd {
	if len(w.ids) == 0 {
		return nil
	}
	ctx, w.stop = context.WithCancel(ctx)
	m, jobs, ids, mark := WatchedMsg{of: w, gen: w.gen}, w.jobs, w.ids, w.mark
	return func() tea.Msg {
		p, err := jobs.Progress(ctx, ids, mark)
		m.p, m.err = &p, err
		return m
	}
}

// Got takes a message that is this watch's: it returns how far the jobs are, and goes on.
func (w *Watch) Got(e *screen.Env, ctx context.Context, m WatchedMsg) ([]api.JobProgress, tea.Cmd) {
	if m.of != w || m.gen != w.gen || ctx.Err() != nil {
		return nil, nil
	}
	if m.p == nil {
		return nil, w.ask(ctx)
	}
	w.stop()
	wait := progressPace
	if m.err != nil {
		switch api.AsError(m.err).Code {
		case api.CodeUsage, api.CodeNotFound, api.CodeUnsupported:
			w.off = true
			return nil, nil
		}
		wait = retry
	} else {
		w.mark = m.p.Mark
	}
	again := WatchedMsg{of: w, gen: w.gen}
	return m.p.Jobs, e.Tick(wait, func(time.Time) tea.Msg { return again })
}
