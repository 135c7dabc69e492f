package job

import (
	"context"
	"sync"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
)

const (
	// pace is the least time between two changes of what is shown.
	pace = 100 * time.Millisecond
	// retry is how long after the line broke it is tried again.
	retry = 2 * time.Second
	// firstLines is how much of a log is asked for.
	firstLines = 5_000
	// maxWaiting bounds what has come and is not shown yet, in bytes. The oldest of it is let go.
	maxWaiting = 4 << 20
)

// inbox is what has come of the log and is not shown yet.
type inbox struct {
	mu    sync.Mutex
	parts []piece
	bytes int
	told  bool // the screen knows that there is something, or looks again by itself
}

type piece struct {
	head api.JobLogPart
	b    []byte
}

// put takes a piece and reports whether the screen is to be told.
func (n *inbox) put(p piece) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.parts, n.bytes = append(n.parts, p), n.bytes+len(p.b)
	for n.bytes > maxWaiting && len(n.parts) > 1 {
		n.bytes -= len(n.parts[0].b)
		n.parts = n.parts[1:]
	}
	told := n.told
	n.told = true
	return !told
}

// take empties the inbox. If there was nothing, the next piece is told again.
func (n *inbox) take() []piece {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.parts
	n.parts, n.bytes, n.told = nil, 0, len(p) > 0
	return p
}

type (
	arrivedMsg struct{ in *inbox }
	brokeMsg   struct {
		in  *inbox
		err error // nil: the log has ended
	}
	againMsg struct{ in *inbox }
)

// follow reads the log from where it was read to; run is the attempt, 0 the newest.
func (s *Job) follow(run int) tea.Cmd {
	if s.stop != nil {
		s.stop()
	}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(s.ctx)
	in := &inbox{}
	s.in, s.ended, s.logErr = in, false, nil
	o := api.LogOptions{Follow: true, Run: run}
	if s.log.begun {
		o.From = s.log.next
	} else {
		o.Tail = firstLines
	}
	jobs, id, post := s.jobs, s.job, s.e.Post
	return func() tea.Msg {
		err := jobs.Log(ctx, id, o, func(p api.JobLogPart, b []byte) error {
			if in.put(piece{p, b}) {
				post(arrivedMsg{in})
			}
			return nil
		})
		return brokeMsg{in, err}
	}
}

// arrived shows what has come, and looks again after a while.
func (s *Job) arrived(in *inbox) tea.Cmd {
	if in != s.in || !s.take() {
		return nil
	}
	return s.e.Tick(pace, func(time.Time) tea.Msg { return arrivedMsg{in} })
}

// take moves what has come into the tail and reports whether there was something.
func (s *Job) take() bool {
	parts := s.in.take()
	for _, p := range parts {
		if p.head.Run != s.run && p.head.Run != 0 {
			s.run, s.log = p.head.Run, tail{dropped: s.log.dropped + 1}
		}
		if len(p.b) > 0 {
			s.log.add(p.head.At, p.b)
		}
	}
	return len(parts) > 0
}

// broke is the end of the log, or of the line.
func (s *Job) broke(m brokeMsg) tea.Cmd {
	if m.in != s.in || s.ctx.Err() != nil {
		return nil
	}
	s.take()
	if m.err == nil {
		s.ended = true
		return s.newer()
	}
	switch api.AsError(m.err).Code {
	case api.CodeUsage, api.CodeNotFound: // an array has none: asking again gives the same
		s.ended = true
		return nil
	}
	s.logErr = m.err
	return s.e.Tick(retry, func(time.Time) tea.Msg { return againMsg{m.in} })
}

// newer follows the log of a newer attempt, if there is one and the one before has ended.
func (s *Job) newer() tea.Cmd {
	if s.j == nil || !s.ended || s.j.Elements != nil || s.j.Attempt <= s.run {
		return nil
	}
	s.log = tail{dropped: s.log.dropped + 1}
	return s.follow(s.j.Attempt)
}
