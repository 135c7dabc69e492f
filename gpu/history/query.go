package history

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"berth/gpu"
)

// Query says what is asked for.
type Query struct {
	Metrics []string // names of gpu.Metrics; empty: all
	Subject string   // a GPU's UUID, a mount, an interface, a block device; empty: all
	Since   time.Time
	Until   time.Time // zero: now
	// Points is how many a series has at most; 0: 1000. It is lowered where very many series are asked for.
	Points int
}

// ErrMetric is returned for a metric that is none.
var ErrMetric = errors.New("no such metric")

const (
	defaultPoints = 1000
	maxPoints     = 50000
	maxCells      = 2 << 20 // of all series of one answer: about 50 MB while it is made
)

// steps are the resolutions of an answer, in seconds.
func steps() []int64 {
	return []int64{1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400}
}

// wanted is one column of one entry of the table, and the series that it goes to.
type wanted struct {
	e      *entry
	col    column
	cell   int
	at     int // in a row
	series int
}

type series struct {
	kind    int
	metric  string
	subject string
	index   uint16
	hidden  bool // only wanted for a derived one
	sum     []float64
	max     []float64
	n       []uint32
}

// Series answers a question, in the order of gpu.Metrics and then of subjects. A step without a measurement has no
// point. The last point may be of a step that is still going on.
func (h *History) Series(q Query) ([]gpu.Series, error) {
	for _, m := range q.Metrics {
		if !slices.ContainsFunc(gpu.Metrics(), func(x gpu.Metric) bool { return x.Name == m }) {
			return nil, fmt.Errorf("metric %q: %w", m, ErrMetric)
		}
	}
	until := q.Until
	if until.IsZero() {
		until = h.now()
	}
	since := q.Since
	if since.IsZero() {
		since = until.Add(-time.Hour)
	}
	from, to := since.Unix(), until.Unix()
	if from > to {
		return []gpu.Series{}, nil
	}
	from = max(from, to-366*86400, 0)
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.st == nil {
		return []gpu.Series{}, nil
	}
	want, list := h.wanted(q)
	if len(list) == 0 {
		return []gpu.Series{}, nil
	}
	points := int64(q.Points)
	if points <= 0 {
		points = defaultPoints
	}
	points = max(2, min(points, maxPoints, maxCells/int64(len(list))))
	step, ring := h.resolution(from, to, points)
	a := answer{step: step, from: from / step * step, to: to}
	n := int((a.to-a.from)/step) + 1
	for i := range list {
		list[i].sum, list[i].max, list[i].n = make([]float64, n), make([]float64, n), make([]uint32, n)
	}
	if err := h.collectAll(ring, a, want, list); err != nil {
		return nil, err
	}
	return a.series(derive(list)), nil
}

// wanted finds the columns that the question is about.
func (h *History) wanted(q Query) (want []wanted, list []series) {
	number := map[[2]string]int{}
	subject := shorten(q.Subject)
	for k, cols := range h.st.lay.columns {
		for c, col := range cols {
			asked := len(q.Metrics) == 0 || slices.Contains(q.Metrics, col.metric)
			forDerived := k == disks && c < 2 && (len(q.Metrics) == 0 || slices.Contains(q.Metrics, derived))
			if !asked && !forDerived {
				continue
			}
			off := 0
			for _, before := range cols[:c] {
				off += before.size()
			}
			for _, e := range h.st.entries {
				if e.kind != k || (q.Subject != "" && e.subject != subject) {
					continue
				}
				key := [2]string{col.metric, e.subject}
				s, ok := number[key]
				if !ok {
					s = len(list)
					number[key] = s
					list = append(list, series{kind: k, metric: col.metric, subject: e.subject, hidden: !asked})
				}
				list[s].index = e.index
				want = append(want, wanted{e: e, col: col, cell: h.st.lay.cell(k, e.slot, c), at: h.st.lay.offset[k] +
					e.slot*h.st.lay.width[k] + off, series: s})
			}
		}
	}
	return want, list
}

func (c column) size() int {
	if c.max {
		return 2 * c.enc.width()
	}
	return c.enc.width()
}

// resolution chooses the finest step that gives no more points than asked for, and the ring that has it.
func (h *History) resolution(from, to, points int64) (step int64, ring int) {
	age := h.now().Unix() - from
	for _, step = range steps() {
		if (to-from/step*step)/step+1 > points {
			continue
		}
		ring = 0
		for i, r := range h.st.rings {
			if r.step <= step {
				ring = i
			}
		}
		last := ring == len(h.st.rings)-1
		if r := h.st.rings[ring]; !last && age > r.step*r.rows {
			continue // it does not reach back so far
		}
		if ring == 0 && !h.dense(from, to) {
			continue
		}
		return step, ring
	}
	for (to-from/step*step)/step+1 > points {
		step *= 2
	}
	return step, len(h.st.rings) - 1
}

// dense reports whether somebody watched for most of the time, so that there are single seconds.
func (h *History) dense(from, to int64) bool {
	count := func(ring int) (n int64) {
		_ = h.st.rows(ring, overlap(from, to), func(_ int64, _ uint64, t uint32, _ []byte) {
			if int64(t) >= from && int64(t) <= to {
				n++
			}
		})
		return n
	}
	return 2*count(0) >= count(1)*h.st.rings[1].step && count(0) > 0
}

func overlap(from, to int64) func(span) bool {
	return func(s span) bool { return int64(s.first) <= to && int64(s.last) >= from }
}

type answer struct{ step, from, to int64 }

// perWorker is how many series make it worth to have one more goroutine.
const perWorker = 40

// collectAll shares the series of a large answer among a few goroutines: decoding is what takes the time.
func (h *History) collectAll(ring int, a answer, want []wanted, list []series) error {
	n := min(len(list)/perWorker+1, 4, runtime.GOMAXPROCS(0))
	if n == 1 {
		return h.collect(ring, a, want, list)
	}
	shares := make([][]wanted, n)
	for _, w := range want {
		shares[w.series%n] = append(shares[w.series%n], w)
	}
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range shares {
		wg.Go(func() { errs[i] = h.collect(ring, a, shares[i], list) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// fill completes an answer of single seconds, which there are only while somebody watches: where few of those of
// a row of the next ring were measured, that row stands for the others.
func (h *History) fill(a answer, want []wanted, list []series) error {
	span := h.st.rings[1].step
	if a.step >= span {
		return nil
	}
	err := h.st.rows(1, overlap(a.from, a.to), func(_ int64, seq uint64, t uint32, row []byte) {
		at := int64(t)
		first, last := max(at-a.from, 0)/a.step, (min(at+span-1, a.to)-a.from)/a.step
		if at+span <= a.from || at > a.to {
			return
		}
		for i := range want {
			w := &want[i]
			mean := w.col.enc.get(row[w.at:])
			if seq < w.e.from || seq > w.e.to || mean != mean {
				continue
			}
			s, have := &list[w.series], int64(0)
			for bin := first; bin <= last; bin++ {
				have += int64(min(s.n[bin], 1))
			}
			if 2*have >= last-first+1 {
				continue
			}
			most := mean
			if w.col.max {
				most = w.col.enc.get(row[w.at+w.col.enc.width():])
			}
			for bin := first; bin <= last; bin++ {
				if s.n[bin] == 0 {
					s.sum[bin], s.max[bin], s.n[bin] = mean, most, 1
				}
			}
		}
	})
	if err != nil {
		return fmt.Errorf("reading the history %s: %w", h.path, err)
	}
	return nil
}

func (h *History) collect(ring int, a answer, want []wanted, list []series) error {
	add := func(w *wanted, i int64, mean, most float64) {
		if mean != mean {
			return
		}
		s := &list[w.series]
		if s.n[i] == 0 || most > s.max[i] {
			s.max[i] = most
		}
		s.sum[i] += mean
		s.n[i]++
	}
	err := h.st.rows(ring, overlap(a.from, a.to), func(_ int64, seq uint64, t uint32, row []byte) {
		at := int64(t)
		if at < a.from || at > a.to {
			return
		}
		bin := (at - a.from) / a.step
		for i := range want {
			w := &want[i]
			if seq < w.e.from || seq > w.e.to {
				continue
			}
			mean := w.col.enc.get(row[w.at:])
			most := mean
			if w.col.max {
				most = w.col.enc.get(row[w.at+w.col.enc.width():])
			}
			add(w, bin, mean, most)
		}
	})
	if err != nil {
		return fmt.Errorf("reading the history %s: %w", h.path, err)
	}
	// What is not written yet.
	if b := &h.bins[ring]; ring > 0 && b.any && b.begin >= a.from && b.begin <= a.to {
		for i := range want {
			w := &want[i]
			if n := b.n[w.cell]; n > 0 && w.e.to == noEnd {
				mean := b.sum[w.cell] / float64(n)
				most := mean
				if w.col.max {
					most = b.max[w.cell]
				}
				add(w, (b.begin-a.from)/a.step, mean, most)
			}
		}
	}
	if ring == 0 {
		return h.fill(a, want, list)
	}
	return nil
}

// derive makes disk_used_percent of what is used and what is available.
func derive(list []series) []series {
	for i := range list {
		u := &list[i]
		if u.metric != "disk_used_bytes" {
			continue
		}
		j := slices.IndexFunc(list, func(s series) bool {
			return s.metric == "disk_available_bytes" && s.subject == u.subject
		})
		if j < 0 {
			continue
		}
		p := series{kind: disks, metric: derived, subject: u.subject, index: noGPU, sum: make([]float64, len(u.n)),
			max: make([]float64, len(u.n)), n: make([]uint32, len(u.n))}
		for k, n := range u.n {
			if m := list[j].n[k]; n > 0 && m > 0 {
				used, available := u.sum[k]/float64(n), list[j].sum[k]/float64(m)
				if used+available > 0 {
					p.sum[k], p.n[k] = 100*used/(used+available), 1
					p.max[k] = p.sum[k]
				}
			}
		}
		list = append(list, p)
	}
	return slices.DeleteFunc(list, func(s series) bool { return s.hidden })
}

func (a answer) series(list []series) []gpu.Series {
	order := map[string]int{}
	for i, m := range gpu.Metrics() {
		order[m.Name] = i
	}
	out := make([]gpu.Series, 0, len(list))
	for _, s := range list {
		g := gpu.Series{Metric: s.metric, Subject: s.subject, Step: float64(a.step), Points: []gpu.Point{}}
		if s.kind == gpus && s.index != noGPU {
			i := int(s.index)
			g.Index = &i
		}
		for i, n := range s.n {
			if n > 0 {
				mean := s.sum[i] / float64(n)
				g.Points = append(g.Points, gpu.Point{At: time.Unix(a.from+int64(i)*a.step, 0).UTC(), Mean: mean,
					Max: max(mean, s.max[i])})
			}
		}
		if len(g.Points) > 0 {
			out = append(out, g)
		}
	}
	slices.SortStableFunc(out, func(x, y gpu.Series) int {
		if d := order[x.Metric] - order[y.Metric]; d != 0 {
			return d
		}
		if x.Index != nil && y.Index != nil && *x.Index != *y.Index {
			return *x.Index - *y.Index
		}
		return compare(x.Subject, y.Subject)
	})
	return out
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
