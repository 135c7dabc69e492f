package idle

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/gpu"
)

const (
	// maxMinutes is how long a day may be: a clock that is set back makes it 25 hours, a zone that changes a little more.
	maxMinutes = 27 * 60
	// maxGPUs is how many GPUs of one host are counted.
	maxGPUs = 64
)

// Bounds returns the first moment of now's day and that of the next, in now's zone. The day need not have 24 hours, nor
// begin at midnight, where clocks are set then.
func Bounds(now time.Time) (start, end time.Time) {
	y, m, d := now.Date()
	start, end = first(y, m, d, now.Location()), first(y, m, d+1, now.Location())
	if !end.After(now) { // a zone that left out a whole day
		end = now.Add(24 * time.Hour)
	}
	return start, end
}

func first(y int, m time.Month, d int, loc *time.Location) time.Time {
	t := time.Date(y, m, d, 0, 0, 0, 0, loc)
	begin, end := t.ZoneBounds()
	if want := time.Date(y, m, d, 12, 0, 0, 0, loc).Day(); t.Day() != want {
		return end // midnight was left out, and t is before it
	}
	if begin.IsZero() {
		return t
	}
	// Where midnight comes twice, the day begins with the first.
	_, now := t.Zone()
	_, before := begin.Add(-time.Second).Zone()
	if other := t.Add(time.Duration(now-before) * time.Second); other.Before(begin) && other.Day() == t.Day() {
		return other
	}
	return t
}

// Minutes are those of a day in which one GPU was idle, or did something. A set bit is a minute, counted from the
// day's start; none is in both.
type Minutes struct {
	Idle []byte `json:"idle,omitempty"`
	Busy []byte `json:"busy,omitempty"`
}

// Day is what is known of one day. The zero Day takes nothing in.
type Day struct {
	Start time.Time           `json:"start"`
	End   time.Time           `json:"end"`
	GPUs  map[string]*Minutes `json:"gpus,omitempty"` // by Key
	// Until is up to when the host's history has been read; zero: it has not.
	Until time.Time `json:"until,omitzero"`
	// Ended is up to when all that the host did is known, where it stopped then; zero: it is not known.
	Ended time.Time `json:"ended,omitzero"`
}

// New returns the day of now of which nothing is known.
func New(now time.Time) *Day {
	d := &Day{GPUs: map[string]*Minutes{}}
	d.Start, d.End = Bounds(now)
	return d
}

// Same reports whether both are the same day.
func (d *Day) Same(e *Day) bool { return d.Start.Equal(e.Start) && d.End.Equal(e.End) }

// Key names a GPU: by the beginning of its UUID, as gpu.GPUSummary.ID has it, or, without one, by its index.
func Key(id string, index int) string {
	switch {
	case id != "":
		return id
	case index >= 0 && index < len(indices):
		return indices[index]
	}
	return "#" + strconv.Itoa(index)
}

var indices = [...]string{"#0", "#1", "#2", "#3", "#4", "#5", "#6", "#7", "#8", "#9", "#10", "#11", "#12", "#13", "#14",
	"#15"}

// Named reports whether a key is of a UUID, and so means the same GPU on other instances of its host.
func Named(key string) bool { return !strings.HasPrefix(key, "#") }

// Minute is the number of the minute of the day that t is in; -1: none.
func (d *Day) Minute(t time.Time) int {
	if t.Before(d.Start) || !t.Before(d.End) {
		return -1
	}
	return min(int(t.Sub(d.Start)/time.Minute), maxMinutes-1)
}

// Mark notes that a GPU did something in a minute, or that it did not as far as was seen: what it did in another
// second of the minute makes the minute busy.
func (d *Day) Mark(minute int, key string, busy bool) {
	if minute < 0 || minute >= maxMinutes {
		return
	}
	m := d.GPUs[key]
	if m == nil {
		if d.GPUs == nil || len(d.GPUs) >= maxGPUs {
			return
		}
		m = &Minutes{}
		d.GPUs[key] = m
	}
	switch {
	case busy:
		m.Busy = with(m.Busy, minute)
		if has(m.Idle, minute) {
			m.Idle[minute/8] &^= 1 << (minute % 8)
		}
	case !has(m.Busy, minute):
		m.Idle = with(m.Idle, minute)
	}
}

func has(b []byte, i int) bool { return i/8 < len(b) && b[i/8]&(1<<(i%8)) != 0 }

func with(b []byte, i int) []byte {
	if i/8 >= len(b) {
		b = append(b, make([]byte, i/8+1-len(b))...)
	}
	b[i/8] |= 1 << (i % 8)
	return b
}

// Read takes in what a host's history says of "gpu_utilization_percent"; ahead is by how much the host's clock is ahead
// of the one that Start is of. A step is busy if its maximum is, as it is for the agent.
func (d *Day) Read(series []gpu.Series, ahead time.Duration) {
	for i := range series {
		s := &series[i]
		if s.Metric != "gpu_utilization_percent" || !(s.Step >= 1) {
			continue
		}
		step := time.Duration(min(s.Step, 86400)) * time.Second
		key := subject(s)
		for _, p := range s.Points {
			from := p.At.Add(-ahead)
			to := from.Add(step)
			if from.Before(d.Start) {
				from = d.Start
			}
			if to.After(d.End) {
				to = d.End
			}
			busy := !(p.Max < gpu.BusyPercent) // NaN is no idleness
			for from.Before(to) {
				minute := d.Minute(from)
				d.Mark(minute, key, busy)
				next := d.Start.Add(time.Duration(minute+1) * time.Minute)
				if !next.After(from) {
					break // beyond the longest day
				}
				from = next
			}
		}
	}
}

// subject is the key of a series of the history.
func subject(s *gpu.Series) string {
	if s.Index != nil && s.Subject == fmt.Sprintf("GPU %d", *s.Index) {
		return Key("", *s.Index)
	}
	return gpu.ShortID(s.Subject)
}

// Merge takes in what another knows of the same day.
func (d *Day) Merge(o *Day) {
	for key, m := range o.GPUs {
		for i := range 8 * max(len(m.Idle), len(m.Busy)) {
			if busy := has(m.Busy, i); busy || has(m.Idle, i) {
				d.Mark(i, key, busy)
			}
		}
	}
}

// Clone returns a copy that shares nothing with d; nil is nil.
func (d *Day) Clone() *Day {
	if d == nil {
		return nil
	}
	c := *d
	c.GPUs = make(map[string]*Minutes, len(d.GPUs))
	for key, m := range d.GPUs {
		c.GPUs[key] = &Minutes{slices.Clone(m.Idle), slices.Clone(m.Busy)}
	}
	return &c
}

// Keys are those of the GPUs of which something is known, in order.
func (d *Day) Keys() []string { return slices.Sorted(maps.Keys(d.GPUs)) }

// Idle is how long a GPU was idle, without the minute `but` (one that is still going on; -1: none). Minutes in which
// one of the others says that it was busy, or which others that come before count already, are left out: of instances
// on one host each sees the same GPU.
func (d *Day) Idle(key string, but int, counted, others []*Day) time.Duration {
	m := d.GPUs[key]
	if m == nil {
		return 0
	}
	n := 0
	length := d.Minute(d.End.Add(-1)) + 1
	for i, b := range m.Idle {
		if left := length - 8*i; left < 8 {
			b &= byte(1<<max(left, 0) - 1)
		}
		if but/8 == i && but >= 0 {
			b &^= 1 << (but % 8)
		}
		for _, o := range counted {
			if om := o.GPUs[key]; om != nil && i < len(om.Idle) {
				b &^= om.Idle[i]
			}
		}
		for _, o := range others {
			if om := o.GPUs[key]; om != nil && i < len(om.Busy) {
				b &^= om.Busy[i]
			}
		}
		n += bits.OnesCount8(b)
	}
	return time.Duration(n) * time.Minute
}
