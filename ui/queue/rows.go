package queue

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/backend/api"
	"berth/ui/data"
	"berth/ui/job"
	"berth/ui/list"
	"berth/ui/text"
)

// section is a part of the list.
type section int

const (
	running section = iota
	services
	waits
	ended
	sections
)

var headings = [sections]string{"RUNNING", "SERVICES", "WAITING", "FINISHED"}

// row is a job, or a heading where job is nil.
type row struct {
	src  *source
	job  *api.Job
	part section
	n    int  // of a heading: how many
	in   bool // it is an element below its array
	new  bool // it has ended since the queue was seen last
}

func (r *row) id() string {
	if r.job == nil {
		return headings[r.part]
	}
	return r.src.id + " " + *r.job.ID
}

// partOf is where a job stands. An array runs while one of its elements does. A service is one until it has ended.
func partOf(j *api.Job) section {
	switch {
	case j.State.Done():
		return ended
	case j.Service != nil:
		return services
	case (j.State == api.JobQueued || j.State == api.JobHeld) && (j.Elements == nil || j.Elements.Running == 0):
		return waits
	}
	return running
}

// lay makes the rows.
func (s *Queue) lay() {
	match := list.Match(s.Words())
	var parts [sections][]row
	s.counts, s.news = [sections]int{}, 0
	below := map[string][]row{} // elements, by their arrays
	for _, f := range s.sources {
		for _, j := range f.known {
			r := row{src: f, job: j, part: partOf(j)}
			if j.ArrayID != nil {
				id := f.id + " " + strconv.FormatInt(*j.ArrayID, 10)
				below[id] = append(below[id], r)
				continue
			}
			s.counts[r.part]++
			if r.new = f.seen >= 0 && r.part == ended && j.Seq > f.seen && j.Seq <= f.open; r.new {
				s.news++
			}
			if s.onlyLive && r.part == ended {
				continue
			}
			if match == nil || match(j.Name, hay(f, j)) {
				parts[r.part] = append(parts[r.part], r)
			}
		}
	}
	s.rows = s.rows[:0]
	for p, rows := range parts {
		if len(rows) == 0 {
			continue
		}
		slices.SortFunc(rows, order(section(p)))
		s.rows = append(s.rows, row{part: section(p), n: s.counts[p]})
		for _, r := range rows {
			s.rows = append(s.rows, r)
			if in := below[r.id()]; s.unfolded[r.id()] {
				slices.SortFunc(in, func(a, b row) int { return cmp.Compare(index(a.job), index(b.job)) })
				for _, el := range in {
					el.in, el.part = true, r.part
					s.rows = append(s.rows, el)
				}
			}
		}
	}
}

func hay(f *source, j *api.Job) string {
	return strings.Join([]string{*j.ID, f.name, j.Name, job.Command(j), string(j.State), j.Group, j.SubmittedBy,
		job.What(j)}, " ")
}

func index(j *api.Job) int {
	if j.ArrayIndex == nil {
		return 0
	}
	return *j.ArrayIndex
}

// order is how the jobs of a section stand: what runs longest, what begins next, and what ended last come first.
func order(p section) func(a, b row) int {
	return func(a, b row) int {
		x, y := a.job, b.job
		c := 0
		switch p {
		case running, services:
			c = x.StartedAt.Compare(y.StartedAt)
		case waits:
			c = data.UnknownLast(known(x.EstimatedStartAt), known(y.EstimatedStartAt), time.Time.Compare)
			if c == 0 {
				c = cmp.Or(cmp.Compare(y.Priority, x.Priority), cmp.Compare(x.Order, y.Order))
			}
		case ended:
			c = y.EndedAt.Compare(x.EndedAt)
		}
		if c == 0 {
			c = text.Natural(a.src.name, b.src.name)
		}
		if c == 0 {
			c = text.Natural(*x.ID, *y.ID)
		}
		if c == 0 {
			c = strings.Compare(a.src.id, b.src.id)
		}
		return c
	}
}

func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
