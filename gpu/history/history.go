package history

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"berth/gpu"
)

// History keeps samples. It may be used from any goroutine.
type History struct {
	path string
	now  func() time.Time

	mu      sync.RWMutex
	st      *store
	lock    *os.File
	bins    []bin // being filled, one for each ring; the first is not used
	row     []byte
	values  []float64 // of the sample at hand, by cell
	last    time.Time // of the sample before
	tried   time.Time // when a file was last tried to be had; of the monotonic clock
	grown   time.Time
	problem error // why it is in memory
	writing error // why the last row was not written
	room    error // why there are no places for all subjects
	closed  bool
}

// bin is the row of a coarser ring that is being filled.
type bin struct {
	begin int64 // seconds
	sum   []float64
	max   []float64
	n     []uint32
	any   bool
}

const (
	retry = time.Minute
	// fine is how close samples are while somebody watches: only then are they kept singly.
	fine = 5 * time.Second
)

// Open opens the history in a file, or prepares to make it with the first sample. It never fails: what can't be
// had is kept in memory, and Problem says why. path "": only in memory.
func Open(path string, now func() time.Time) *History {
	if now == nil {
		now = time.Now
	}
	h := &History{path: path, now: now}
	if path == "" {
		h.problem = errors.New("no file was given for the history")
	} else {
		h.open()
	}
	return h
}

// open takes the file if there is one. A file that is not there yet is made by the first sample, which says how
// much has to fit.
func (h *History) open() {
	h.tried = time.Now()
	if h.lock == nil {
		if err := os.MkdirAll(filepath.Dir(h.path), 0o700); err != nil {
			h.problem = err
			return
		}
		l, err := lock(h.path)
		if err != nil {
			h.problem = err
			return
		}
		h.lock = l
	}
	s, err := openFile(h.path)
	switch {
	case err == nil:
		old := h.st
		h.use(s)
		h.problem = nil
		if old != nil {
			h.writing = s.merge(old)
		}
	case missing(err):
		h.problem = nil
	default:
		h.problem = err
	}
}

// use makes s the store, with empty bins.
func (h *History) use(s *store) {
	h.st = s
	h.row, h.values = make([]byte, s.lay.row), make([]float64, s.lay.cells)
	h.bins = make([]bin, len(s.rings))
	for i := range h.bins {
		h.bins[i] = bin{sum: make([]float64, s.lay.cells), max: make([]float64, s.lay.cells), n: make([]uint32, s.lay.cells)}
	}
}

// Problem says why the history is not in its file, or why a row could not be written; nil: all is well.
func (h *History) Problem() error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	switch {
	case h.problem != nil && errors.Is(h.problem, errAside):
		return h.problem
	case h.problem != nil:
		return fmt.Errorf("history is in memory only, and lost when the agent ends: %w; it is tried again each minute",
			h.problem)
	case h.writing != nil:
		return fmt.Errorf("history has a gap: %w", h.writing)
	case h.room != nil:
		return fmt.Errorf("history has no room for what came since it was made: %w; it is tried again each minute", h.room)
	}
	return nil
}

// Append keeps a sample. An error, which Problem gives too, says that it is in no file.
func (h *History) Append(s *gpu.Sample) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || s.SampledAt.Unix() <= 0 || s.SampledAt.Unix() > math.MaxUint32 {
		return nil
	}
	need := needed(s)
	h.ensure(need)
	h.fit(need)
	st := h.st
	for i := range h.values {
		h.values[i] = math.NaN()
	}
	live := map[*entry]bool{}
	each(s, func(kind int, subject string, index uint16, values []*float64) {
		e := h.entry(kind, subject, index, live)
		if e == nil {
			return // more of them than a history holds: the rest is only in the live figures
		}
		for c, v := range values {
			if v != nil && !math.IsInf(*v, 0) {
				h.values[st.lay.cell(kind, e.slot, c)] = *v
			}
		}
	})
	for e := range live {
		e.seen = st.seq + 1
	}
	h.writing = st.saveTable()
	at := s.SampledAt.Unix()
	if gap := s.SampledAt.Sub(h.last); gap.Abs() < fine {
		h.write(0, at, func(cell int) (mean, max float64) { return h.values[cell], h.values[cell] })
	}
	h.last = s.SampledAt
	for i := 1; i < len(h.bins); i++ {
		b, step := &h.bins[i], st.rings[i].step
		if begin := at / step * step; begin != b.begin {
			h.flush(i)
			b.begin = begin
		}
		b.add(h.values)
	}
	if h.problem != nil && !errors.Is(h.problem, errAside) {
		return h.problem
	}
	if h.writing != nil {
		return h.writing
	}
	return h.room
}

// entry finds the place of a subject, or makes one.
func (h *History) entry(kind int, subject string, index uint16, live map[*entry]bool) *entry {
	subject = shorten(subject)
	e := h.st.find(kind, subject)
	if e == nil {
		// Those of this sample that come later are live too, but have an entry already if they were in the one before.
		e = h.st.assign(kind, subject, index, func(o *entry) bool { return live[o] || (h.st.seq > 0 && o.seen+3 > h.st.seq) })
	}
	if e == nil {
		return nil
	}
	if e.index != index {
		e.index, h.st.dirty = index, true
	}
	live[e] = true
	return e
}

// ensure gets a store: the file, or memory.
func (h *History) ensure(need capacity) {
	again := h.path != "" && time.Since(h.tried) >= retry
	if again && h.st != nil && h.st.file != nil {
		h.restore()
		return
	}
	if h.st != nil && (h.st.file != nil || !again) {
		return
	}
	if again {
		h.open()
		if h.st != nil && h.st.file != nil {
			return
		}
	}
	c := spare(need)
	if h.path != "" && (h.problem == nil || errors.Is(h.problem, errAside)) {
		h.tried = time.Now()
		old := h.st
		if old != nil {
			c = atLeast(c, old.lay.cap)
			h.flushAll()
		}
		s, err := create(h.path, c, old)
		if err == nil {
			h.use(s)
			return
		}
		h.problem = err
	}
	if h.st == nil {
		h.use(newStore(c, memoryRings(), nil))
	}
}

// restore makes the file again if somebody removed it; its rows can still be read.
func (h *History) restore() {
	h.tried = time.Now()
	mine, err := h.st.file.Stat()
	if err != nil {
		return
	}
	if there, err := os.Stat(h.path); err == nil && os.SameFile(mine, there) || err != nil && !missing(err) {
		return
	}
	h.flushAll()
	if err := os.MkdirAll(filepath.Dir(h.path), 0o700); err != nil {
		h.room = err
		return
	}
	s, err := create(h.path, h.st.lay.cap, h.st)
	if h.room = err; err != nil {
		return
	}
	_ = h.st.file.Close()
	h.use(s)
}

// fit makes room for what came since the store was made.
func (h *History) fit(need capacity) {
	now := h.st.lay.cap
	larger := false
	for k := range need {
		larger = larger || need[k] > now[k]
	}
	if !larger || (!h.grown.IsZero() && time.Since(h.grown) < retry) {
		return
	}
	h.grown = time.Now()
	h.flushAll()
	c := atLeast(spare(need), now)
	if h.st.file == nil {
		s := newStore(c, memoryRings(), nil)
		if err := s.copyRows(h.st); err == nil {
			h.use(s)
		}
		return
	}
	s, err := create(h.path, c, h.st)
	if h.room = err; err != nil { // a full disk: what has a place keeps it
		return
	}
	_ = h.st.file.Close()
	h.use(s)
}

func (h *History) flushAll() {
	for i := 1; i < len(h.bins); i++ {
		h.flush(i)
	}
}

func (h *History) flush(i int) {
	b := &h.bins[i]
	if b.any {
		h.write(i, b.begin, func(cell int) (float64, float64) {
			if b.n[cell] == 0 {
				return math.NaN(), math.NaN()
			}
			return b.sum[cell] / float64(b.n[cell]), b.max[cell]
		})
	}
	b.any = false
	clear(b.sum)
	clear(b.n)
}

func (b *bin) add(values []float64) {
	b.any = true
	for i, v := range values {
		if math.IsNaN(v) {
			continue
		}
		if b.n[i] == 0 || v > b.max[i] {
			b.max[i] = v
		}
		b.sum[i] += v
		b.n[i]++
	}
}

func (h *History) write(i int, at int64, value func(cell int) (mean, max float64)) {
	l := &h.st.lay
	for k := range kinds {
		for slot := range int(l.cap[k]) {
			b := h.row[l.offset[k]+slot*l.width[k]:]
			for c, col := range l.columns[k] {
				mean, most := value(l.cell(k, slot, c))
				col.enc.put(b, mean)
				b = b[col.enc.width():]
				if col.max {
					col.enc.put(b, most)
					b = b[col.enc.width():]
				}
			}
		}
	}
	if err := h.st.append(i, uint32(at), h.row); err != nil {
		h.writing = err
	}
}

// Close writes what is under way and closes the file.
func (h *History) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	var err error
	if h.st != nil {
		h.flushAll()
		err = h.writing
		if h.st.file != nil {
			err = errors.Join(err, h.st.file.Close())
		}
	}
	if h.lock != nil {
		_ = h.lock.Close()
	}
	return err
}
