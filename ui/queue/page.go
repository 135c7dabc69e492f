package queue

import (
	"strconv"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/ui/screen"
	"berth/ui/seen"
)

// states are those of the jobs of each section.
var states = [sections][]api.JobState{active, kept, waiting, done}

// pageMsg is another page of a section of an instance's jobs.
type pageMsg struct {
	of   *Queue
	src  *source
	gen  int
	part section
	page api.JobPage
	err  error
}

// went reads more of a section where the cursor comes near to the end of what was read of it.
func (s *Queue) went(int) tea.Cmd {
	i, ok := s.Row()
	if !ok {
		return nil
	}
	part := s.rows[i].part
	for k := i; k < min(i+s.View, len(s.rows)); k++ {
		if s.rows[k].part != part {
			break
		}
		if k == len(s.rows)-1 || s.rows[k+1].part != part {
			return s.more(part)
		}
	}
	return nil
}

// more reads a page more of a section.
func (s *Queue) more(part section) tea.Cmd {
	var cmds []tea.Cmd
	for _, f := range s.sources {
		if f.next[part] == "" || f.paging || f.jobs == nil {
			continue
		}
		f.paging = true
		m := pageMsg{of: s, src: f, gen: f.gen, part: part}
		q := query(part)
		q.Page = f.next[part]
		cmds = append(cmds, func() tea.Msg {
			m.page, m.err = m.src.jobs.List(s.ctx, q)
			return m
		})
	}
	return tea.Batch(cmds...)
}

// paged takes in a page.
func (s *Queue) paged(m pageMsg) tea.Cmd {
	f := m.src
	if m.of != s || s.ctx.Err() != nil {
		return nil
	}
	f.paging = false
	if m.gen != f.gen { // it is read anew
		return nil
	}
	if m.err != nil {
		return screen.Warn("more of the jobs of " + f.name + " could not be read: " + api.AsError(m.err).Message)
	}
	f.next[m.part] = m.page.Next
	if m.part == ended {
		f.ends += len(m.page.Jobs)
	}
	for i := range m.page.Jobs {
		s.take(f, &m.page.Jobs[i])
	}
	s.Keep(s.lay)
	return nil
}

// lowest is the page that goes on behind jobs: their lowest number.
func lowest(jobs []*api.Job) string {
	least, id := int64(0), ""
	for _, j := range jobs {
		if n, err := strconv.ParseInt(*j.ID, 10, 64); err == nil && (id == "" || n < least) {
			least, id = n, *j.ID
		}
	}
	return id
}

// seenUpTo is up to which change the queue of an instance was seen before; below 0: it never was.
func (s *Queue) seenUpTo(f *source, epoch string) int64 {
	if s.e.Seen == nil {
		return -1
	}
	if m, ok := s.e.Seen.Last(f.id); ok && m.Epoch == epoch {
		return m.Seq
	}
	return -1
}

// note says that the queue of an instance is seen.
func (s *Queue) note(f *source) {
	if s.e.Seen != nil && f.epoch != api.NoJobs {
		s.e.Seen.Note(f.id, seen.Mark{Epoch: f.epoch, Seq: f.seq, At: s.e.Now().UTC()})
	}
}
