package queue

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"berth/backend/api"
	"berth/ui/chart"
	"berth/ui/data"
	"berth/ui/draw"
	"berth/ui/jobword"
	"berth/ui/text"
)

// Widths of what is said of a job's GPUs: the line of their utilisation, all of it, and of the screen that has room for
// it.
const (
	sparkWidth = 8
	gpusWidth  = 31
	gpusFrom   = 100
)

// load is how a job's GPUs are: shares, NaN where they are not known.
type load struct{ busy, memory float64 }

// trends are the loads of jobs' GPUs while they were shown, the newest last, by the rows' ids.
type trends map[string][]load

// measured takes in new figures.
func (s *Queue) measured() {
	now := trends{}
	for i := range s.rows {
		r := &s.rows[i]
		if r.job == nil || !jobword.HasGPUs(r.job) {
			continue
		}
		x, ok := loadOf(s.e.Store.Figures(r.src.id), r.job)
		if !ok {
			continue
		}
		all := append(s.trends[r.id()], x)
		now[r.id()] = all[max(0, len(all)-sparkWidth):]
	}
	s.trends = now
}

// loadOf is how the GPUs of a job are: their mean utilisation, and how much of their memory is used.
func loadOf(f *data.Figures, j *api.Job) (x load, ok bool) {
	if f == nil || !f.Known {
		return x, false
	}
	var busy, n, used, total float64
	for i := range f.GPUs {
		g := &f.GPUs[i]
		for _, index := range j.GPUs {
			if index != g.Index {
				continue
			}
			if g.Utilization != nil {
				busy += *g.Utilization / 100
				n++
			}
			if g.MemoryUsed != nil && g.MemoryTotal != nil {
				used += float64(*g.MemoryUsed)
				total += float64(*g.MemoryTotal)
			}
		}
	}
	return load{busy / n, used / total}, true // NaN where nothing is known
}

// gpus writes which GPUs a job has and how they are.
func (s *Queue) gpus(l *draw.Line, r *row) {
	end := l.Col() + gpusWidth
	defer func() { l.To(end) }()
	if !jobword.HasGPUs(r.job) {
		return
	}
	t := s.e.Theme
	all := s.trends[r.id()]
	if len(all) == 0 {
		if x, ok := loadOf(s.e.Store.Figures(r.src.id), r.job); ok {
			all = []load{x}
		}
	}
	names := make([]string, len(r.job.GPUs))
	for i, n := range r.job.GPUs {
		names[i] = strconv.Itoa(n)
	}
	which := "GPU " + strings.Join(names, ",")
	if n := len(names); text.Width(which) > 9 {
		which = fmt.Sprintf("%d GPUs", n)
	}
	l.Cell(t.Text, which, 9, false).Space(1)
	if len(all) > 0 {
		busy := make([]float64, len(all))
		for i := range all {
			busy[i] = all[i].busy
		}
		chart.Spark(l, t, t.Good, busy, 1, sparkWidth)
		last := all[len(all)-1]
		l.Cell(t.Text, share(last.busy, ""), 5, true).Cell(t.Dim, share(last.memory, "m"), 6, true)
	}
}

func share(v float64, mark string) string {
	if math.IsNaN(v) {
		return ""
	}
	return fmt.Sprintf("%s%.0f%%", mark, 100*v)
}
