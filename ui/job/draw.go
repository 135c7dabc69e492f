package job

import (
	"fmt"
	"strings"
	"time"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/backend/base/shellquote"
	"berth/ui/age"
	"berth/ui/chart"
	"berth/ui/draw"
	"berth/ui/form"
	"berth/ui/jobword"
	"berth/ui/list"
	"berth/ui/screen"
	"berth/ui/text"
	"berth/ui/theme"
)

// Glyph is the sign of a job's state, and its look.
func Glyph(t *theme.Theme, j *api.Job) (string, theme.Style) {
	switch j.State {
	case api.JobQueued:
		if j.Elements != nil && j.Elements.Running > 0 {
			return t.Running, t.Good
		}
		return t.Stopped, t.Dim
	case api.JobHeld:
		return t.Dash, t.Dim
	case api.JobPreparing:
		return t.Going, t.Busy
	case api.JobRunning:
		if !j.Supervised {
			return t.Running, t.Busy
		}
		if j.Service != nil && j.Health != api.HealthOK {
			return t.Running, t.Busy
		}
		return t.Running, t.Good
	case api.JobPaused, api.JobStopping:
		return t.Leaving, t.Busy
	case api.JobSucceeded:
		return t.Check, t.Good
	case api.JobFailed, api.JobTimedOut:
		return t.Cross, t.Bad
	case api.JobCancelled:
		return t.Cross, t.Dim
	}
	return t.Odd_, t.Odd
}

// What says in a line what there is to say of a job besides its state: why it waits, how it ended.
func What(j *api.Job) string {
	var out []string
	add := func(s string) {
		if s != "" {
			out = append(out, s)
		}
	}
	switch {
	case j.State.Done():
		add(jobword.Outcome(j))
	case j.State == api.JobQueued, j.State == api.JobHeld:
		if j.Reason == "" && j.State == api.JobHeld {
			add("held")
		}
		add(j.Reason)
	default:
		add(jobword.Service(j))
		if j.State != api.JobRunning {
			add(jobword.State(j.State))
		}
		if j.Attempt > 1 {
			add(fmt.Sprintf("run %d", j.Attempt))
		}
		if !j.Supervised {
			add("its shim is gone: nobody will know its exit code")
		}
		if n := len(j.Left); n > 0 {
			add(fmt.Sprintf("%d left: %s", n, strings.Join(j.Left, ", ")))
		}
	}
	return strings.Join(out, ", ")
}

// Command is what a job runs, in one line.
func Command(j *api.Job) string { return shellquote.Line(j.Command...) }

// Took is how long a job ran that has ended, or "".
func Took(j *api.Job) string {
	if j.StartedAt.IsZero() || j.EndedAt.IsZero() {
		return ""
	}
	s, _ := age.Elapsed(j.EndedAt.Sub(j.StartedAt))
	return s
}

// StartsAt is when a job will begin, as far as that is estimated: the time of day, with the date where it is another.
func StartsAt(e *screen.Env, j *api.Job) string {
	at := j.EstimatedStartAt
	if at.IsZero() || !at.After(e.Clock()) {
		return ""
	}
	at = at.Local()
	if at.Format(time.DateOnly) == e.Clock().Local().Format(time.DateOnly) {
		return at.Format("~15:04")
	}
	return at.Format("~Jan 2")
}

// Draw implements screen.Screen.
func (s *Job) Draw(p *draw.Page) {
	t := s.e.Theme
	if s.j == nil {
		p.Blank(1)
		switch {
		case s.err == nil:
			p.Line(theme.Ground).Space(3).Text(t.Dim, "Asking for job "+s.job+t.Ellipsis)
		case Older(s.err):
			form.Error(p, t, "the agent of "+s.name+" is older than jobs", "it is replaced when nothing runs under it any more")
		default:
			e := api.AsError(s.err)
			form.Error(p, t, e.Message, e.Hint)
		}
		return
	}
	s.head(p)
	if s.facts {
		var pg draw.Page
		pg.Reset(t, s.Width(p), 1<<20)
		s.details(&pg)
		s.Pager.Draw(p, t, pg.Drawn())
		return
	}
	if p.Left() <= 0 {
		return
	}
	end := s.AtEnd()
	lines := s.lines(p)
	if len(lines) == 0 {
		p.Line(theme.Ground).Space(1).Text(t.Dim, s.nothing())
	}
	if end {
		s.End()
	}
	s.Pager.Draw(p, t, lines)
}

// nothing says why no line of the log is shown.
func (s *Job) nothing() string {
	switch {
	case s.Words() != "" && len(s.log.lines) > 0:
		return "No line of the log matches."
	case s.j.Elements != nil:
		return "It is an array: each of its elements has a log of its own."
	case s.j.State.Done() && s.ended:
		return "It has printed nothing."
	case s.j.Attempt == 0:
		return "It has not begun: there is no log yet."
	}
	return "It has printed nothing yet."
}

// head says where the job stands: as much of it as fits above the log.
func (s *Job) head(p *draw.Page) {
	t, j := s.e.Theme, s.j
	g, st := Glyph(t, j)
	l := p.Line(theme.Ground).Space(1).Glyph(st, g).Space(1).Text(t.Bold, j.Name).Text(t.Text, "  "+jobword.State(j.State))
	switch {
	case j.State.Done():
		if took := Took(j); took != "" {
			l.Text(t.Dim, " after "+took)
		}
	case !j.StartedAt.IsZero():
		l.Text(t.Dim, " for "+s.e.Elapsed(j.StartedAt))
	case StartsAt(s.e, j) != "":
		l.Text(t.Dim, " until about "+strings.TrimPrefix(StartsAt(s.e, j), "~"))
	}
	if p.Height() < 8 {
		return
	}
	p.Line(theme.Ground).Space(3).Text(t.Dim, "$ "+Command(j))
	if x := j.Progress(); x.Percent != nil && !j.State.Done() {
		l := p.Line(theme.Ground).Space(3)
		chart.Bar(l, t, min(24, p.Width()/4), chart.Part{Share: *x.Percent / 100, Style: t.Good})
		l.Space(2).Text(t.Text, jobword.Progress(&x, s.e.Clock()))
	}
	says := text.Wrap(plaintext.Clean(What(j)), max(10, p.Width()-6))
	for _, x := range says[:min(len(says), 3)] {
		if x != "" && x != jobword.State(j.State) {
			p.Line(theme.Ground).Space(3).Text(t.Text, x)
		}
	}
	if err := s.err; err != nil {
		p.Line(theme.Ground).Space(3).Text(t.Warn, "This may be old: "+api.AsError(err).Message)
	} else if s.logErr != nil {
		p.Line(theme.Ground).Space(3).Text(t.Warn, "Trying again: "+api.AsError(s.logErr).Message)
	}
	p.Line(theme.Ground).Space(1).Repeat(t.Rule, t.H, p.Width()-2)
}

// lines are the drawn lines of the log. What was drawn before is not drawn again.
func (s *Job) lines(p *draw.Page) []string {
	t := s.e.Theme
	as := drawnAs{width: s.Width(p), dropped: s.log.dropped, cut: s.cut, words: s.Words(), theme: t}
	if s.drawn.of != as || s.drawn.n > len(s.log.lines) {
		s.drawn = drawn{of: as}
	}
	match := list.Match(as.words)
	add := func(out []string, line string) []string {
		if match != nil && !match(line, line) {
			return out
		}
		parts := []string{line}
		if !as.cut {
			parts = text.Fold(line, max(1, as.width-1))
		}
		var pg draw.Page
		pg.Reset(t, as.width, 1<<20)
		for _, x := range parts {
			pg.Line(theme.Ground).Space(1).Text(t.Text, x)
		}
		return append(out, pg.Drawn()...)
	}
	for _, line := range s.log.lines[s.drawn.n:] {
		s.drawn.lines = add(s.drawn.lines, line)
	}
	s.drawn.n = len(s.log.lines)
	if line := s.log.last(); line != "" {
		n := len(s.drawn.lines)
		return add(s.drawn.lines[:n:n], line)
	}
	return s.drawn.lines
}

// Status implements screen.Stater.
func (s *Job) Status(l *draw.Line) {
	t := s.e.Theme
	if s.j != nil && !s.facts && !s.Typing() {
		switch {
		case s.j.Elements != nil || s.j.Attempt == 0:
		case s.ended:
			l.Text(t.Dim, "this is all of it")
		case s.AtEnd():
			l.Glyph(t.Good, t.Running).Space(1).Text(t.Dim, "following")
		default:
			l.Glyph(t.Dim, t.Stopped).Space(1).Text(t.Dim, "stays here; G follows")
		}
	}
	s.Pager.Status(l, t)
}
