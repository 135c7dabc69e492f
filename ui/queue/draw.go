package queue

import (
	"fmt"
	"strings"

	"github.com/dustin/go-humanize/english"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/ui/chart"
	"berth/ui/draw"
	"berth/ui/form"
	"berth/ui/job"
	"berth/ui/jobword"
	"berth/ui/text"
	"berth/ui/theme"
)

// Draw implements screen.Screen.
func (s *Queue) Draw(p *draw.Page) {
	t := s.e.Theme
	if len(s.rows) == 0 {
		s.View, s.Hit = 0, nil
		if !s.Nothing(p, t) {
			s.empty(p)
		}
		return
	}
	foot := s.below(p)
	w := s.widths(p)
	s.List.Draw(p, t, max(1, p.Left()-len(foot)), func(l *draw.Line, i int) { s.row(l, &s.rows[i], w) })
	if len(foot) > 0 {
		p.Fill(len(foot))
		p.Line(theme.Ground).Space(1).Repeat(t.Rule, t.H, p.Width()-2)
		for _, x := range foot[1:] {
			p.Line(theme.Ground).Space(2).Text(t.Dim, x)
		}
	}
}

// empty says why there is no row.
func (s *Queue) empty(p *draw.Page) {
	t := s.e.Theme
	p.Blank(1)
	say := func(st theme.Style, words string) {
		for _, l := range text.Wrap(plaintext.Clean(words), max(10, p.Width()-6)) {
			p.Line(theme.Ground).Space(3).Text(st, l)
		}
	}
	if s.id == "" {
		waiting := 0
		for _, f := range s.sources {
			if !f.loaded && f.err == nil && f.why == "" {
				waiting++
			}
		}
		switch {
		case len(s.sources) == 0:
			say(t.Dim, "No instance runs that could be asked for its jobs.")
		case waiting > 0:
			say(t.Dim, "Asking for the jobs of the fleet"+t.Ellipsis)
		case s.hidden():
			say(t.Text, "Nothing runs or waits.")
		default:
			say(t.Text, "No jobs on any instance that could be asked.")
		}
		s.failures(p)
		return
	}
	if len(s.sources) == 0 {
		say(t.Dim, s.name+" is gone, and its jobs are not Berth's to show any more.")
		return
	}
	switch f := s.sources[0]; {
	case f.why != "":
		say(t.Text, f.why+".")
	case job.Older(f.err):
		form.Error(p, t, "The agent of "+f.name+" is older than jobs: it keeps no queue.",
			"It is replaced by one of this Berth when nothing runs under it any more.")
	case f.err != nil:
		e := api.AsError(f.err)
		form.Error(p, t, e.Message, e.Hint)
	case !f.loaded:
		say(t.Dim, "Asking for the jobs of "+f.name+t.Ellipsis)
	case s.hidden():
		say(t.Text, "Nothing runs or waits.")
	default:
		say(t.Text, "No jobs yet. From a shell:")
		p.Blank(1)
		p.Line(theme.Ground).Space(3).Text(t.Bold, "berth run "+f.ref+" -- python train.py")
	}
}

// hidden reports whether there are jobs that are not shown.
func (s *Queue) hidden() bool { return s.onlyLive && s.counts[ended] > 0 }

// failures names the instances that could not be asked.
func (s *Queue) failures(p *draw.Page) {
	t := s.e.Theme
	for _, f := range s.sources {
		if f.err != nil && p.Left() > 0 {
			p.Line(theme.Ground).Space(3).Text(t.Dim, f.name+": "+problem(f))
		}
	}
}

// problem says why an instance's jobs are not shown, or are old.
func problem(f *source) string {
	if job.Older(f.err) {
		return "its agent is older than jobs"
	}
	return api.AsError(f.err).Message
}

// below are the lines under the list: a rule, what the job under the cursor runs, and what is said of it where its row
// has no room for that.
func (s *Queue) below(p *draw.Page) []string {
	i, ok := s.Row()
	if !ok || p.Height() < 10 {
		return nil
	}
	r := &s.rows[i]
	w := max(10, p.Width()-4)
	out := append([]string{""}, "$ "+job.Command(r.job))
	if r.src.err != nil {
		out = append(out, "This may be old: "+problem(r.src))
	}
	if what := job.What(r.job); what != "" {
		lines := text.Wrap(plaintext.Clean(what), w)
		out = append(out, lines[:min(len(lines), 3)]...)
	}
	return out
}

// widths are those of columns whose width depends on what stands in them.
type widths struct {
	id, instance, name int
	gpus               bool // those of jobs that run are shown
}

func (s *Queue) widths(p *draw.Page) widths {
	w := widths{id: 2, name: 8}
	for i := range s.rows {
		r := &s.rows[i]
		if r.job == nil {
			continue
		}
		w.gpus = w.gpus || p.Width() >= gpusFrom && jobword.HasGPUs(r.job)
		w.id = max(w.id, text.Width(*r.job.ID)+map[bool]int{true: 2}[r.in])
		w.name = max(w.name, text.Width(plaintext.Clean(r.job.Name)))
		if s.id == "" {
			w.instance = max(w.instance, text.Width(plaintext.Clean(r.src.name)))
		}
	}
	w.id = min(w.id, max(4, p.Width()/5))
	w.name = min(w.name, max(8, p.Width()/4))
	w.instance = min(w.instance, max(8, p.Width()/5))
	if p.Width() < 60 {
		w.instance = min(w.instance, 8)
	}
	return w
}

func (s *Queue) row(l *draw.Line, r *row, w widths) {
	t := s.e.Theme
	if r.job == nil {
		l.To(2).Text(t.Title, headings[r.part]).Text(t.Dim, fmt.Sprintf(" %d", r.n))
		return
	}
	j := r.job
	g, st := job.Glyph(t, j)
	l.To(2).Glyph(st, g).Space(1)
	if r.in {
		l.Space(2)
		l.Cell(t.Text, *j.ID, w.id-2, false)
	} else {
		l.Cell(t.Text, *j.ID, w.id, false)
	}
	l.Space(2)
	if w.instance > 0 {
		l.Cell(t.Dim, r.src.name, w.instance, false).Space(2)
	}
	l.Cell(t.Bold, j.Name, w.name, false).Space(2)
	when := ""
	switch {
	case j.State.Done():
		when = job.Took(j)
	case partOf(j) == waits:
		when = job.StartsAt(s.e, j)
	default:
		when = s.e.Elapsed(j.StartedAt)
	}
	l.Cell(t.Dim, when, 7, true).Space(2)
	if w.gpus && (r.part == running || r.part == services) {
		s.gpus(l, r)
	}
	if j.Elements != nil {
		s.array(l, j)
		return
	}
	ago := ""
	if j.State.Done() {
		ago = s.e.Age(j.EndedAt)
		if ago != "now" {
			ago += " ago"
		}
	}
	if r.new {
		ago = "new, " + ago
	}
	what := s.what(j)
	if share, ok := progress(j); ok && l.Room() > barWidth+20 {
		chart.Bar(l, t, barWidth, chart.Part{Share: share, Style: t.Good})
		l.Space(2)
	}
	end := l.Col() + l.Room()
	if ago != "" && l.Room() > len(ago)+16 {
		l.Limit(end - len(ago) - 2)
		l.Text(textStyle(t, j), what)
		l.Limit(end)
		l.End(map[bool]theme.Style{true: t.Accent, false: t.Dim}[r.new], ago+" ")
		return
	}
	l.Text(textStyle(t, j), what)
}

func textStyle(t *theme.Theme, j *api.Job) theme.Style {
	switch j.State {
	case api.JobFailed, api.JobTimedOut, api.JobLost:
		return t.Bad
	case api.JobRunning, api.JobSucceeded:
		return t.Dim
	}
	return t.Text
}

// barWidth is how wide the bar of an array is.
const barWidth = 16

// array writes how far an array's elements are.
func (s *Queue) array(l *draw.Line, j *api.Job) {
	t, e := s.e.Theme, j.Elements
	all := float64(max(1, e.All))
	if l.Room() > barWidth+12 {
		chart.Bar(l, t, barWidth, chart.Part{Share: float64(e.Succeeded) / all, Style: t.Good},
			chart.Part{Share: float64(e.Failed) / all, Style: t.Bad},
			chart.Part{Share: float64(e.Cancelled) / all, Style: t.Dim},
			chart.Part{Share: float64(e.Running) / all, Style: t.Busy, Light: true})
		l.Space(2)
	}
	words := []string{fmt.Sprintf("%d of %d done", e.Succeeded+e.Failed+e.Cancelled, e.All)}
	if e.Running > 0 {
		words = append(words, fmt.Sprintf("%d run", e.Running))
	}
	if e.Failed > 0 {
		words = append(words, fmt.Sprintf("%d failed", e.Failed))
	}
	if what := job.What(j); what != "" && !j.State.Done() {
		words = append(words, what)
	}
	l.Text(t.Text, strings.Join(words, ", "))
}

// Status implements screen.Stater.
func (s *Queue) Status(l *draw.Line) {
	t := s.e.Theme
	if s.Line(l, t) {
		return
	}
	l.Text(t.Dim, fmt.Sprintf("%d run, %d wait, %d ended", s.counts[running], s.counts[waits], s.counts[ended]))
	if n := s.counts[services]; n > 0 {
		l.Text(t.Dim, ", "+english.Plural(n, "service", ""))
	}
	if s.onlyLive {
		l.Text(t.Accent, "  only what runs or waits")
	}
	if s.news > 0 {
		l.Text(t.Accent, fmt.Sprintf("  %d new since you looked", s.news))
	}
	failed, more := 0, false
	for _, f := range s.sources {
		more = more || f.more || f.next != [sections]string{}
		if f.err != nil {
			failed++
		}
	}
	if more {
		l.Text(t.Dim, "; more further down")
	}
	if failed > 0 && s.id == "" {
		l.Text(t.Warn, fmt.Sprintf("  %d instances do not answer", failed))
	}
	if s.left > 0 {
		l.Text(t.Warn, fmt.Sprintf("  %d instances more are not asked", s.left))
	}
	s.Said(l, t)
}
