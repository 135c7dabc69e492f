package host

import (
	"context"
	"errors"
	"math/bits"
	"sync/atomic"
	"syscall"
	"time"

	"berth/gpu"
)

// Space is what a file system says of itself, in bytes and inodes.
type Space struct {
	Total, Free, Available int64 // Free: also what is reserved for root; Available: to everybody
	Inodes, InodesFree     uint64
	NotFolder              bool // a single file is mounted, as engines do with /etc/hosts
}

const (
	localEvery   = 900 * time.Millisecond
	networkEvery = 10 * time.Second
	failedEvery  = 30 * time.Second
	// answerLimit is after how long figures count as old.
	answerLimit = 2 * time.Second
	// patience is how long one sample waits for local file systems; they answer in microseconds.
	patience = 50 * time.Millisecond
	slow     = 20 * time.Millisecond
	// maxAsking bounds the questions that hang. Each may hold a thread of the process.
	maxAsking = 64
)

// disks are the file systems that are shown, by the id of their mount.
type disks struct {
	mounted map[int]*disk
	asking  atomic.Int32
	seeds   map[string][]growthPoint
}

// disk is one file system.
type disk struct {
	mount   Mount
	answers chan answer // holds one: whoever asks never waits to deliver
	asked   time.Duration
	askedAt time.Time // wall
	asking  bool
	slow    bool
	next    time.Duration

	last   Space
	lastAt time.Time // wall; zero: it never answered
	err    error
	growth growth
}

type answer struct {
	space Space
	err   error
	took  time.Duration
}

// Disks asks all file systems and returns what is known of them, in the order of their mount points. It does
// not wait for one that is slow: its figures are the last ones, with StaleSince. An error says that the list
// of mounts could not be read.
func (r *Reader) Disks(ctx context.Context) ([]gpu.Disk, error) {
	mounts, err := r.o.Mounts()
	if err != nil {
		return []gpu.Disk{}, err
	}
	now := r.o.Elapsed()
	seen := make(map[int]bool, len(mounts))
	var wait []*disk
	for _, m := range mounts {
		seen[m.ID] = true
		d := r.disks.mounted[m.ID]
		if d == nil || d.mount.Device != m.Device || d.mount.Point != m.Point {
			d = &disk{answers: make(chan answer, 1)}
			if s := r.disks.seeds[m.Point]; len(s) > 0 {
				d.growth.seed(s, now)
			}
			r.disks.mounted[m.ID] = d
		}
		d.mount = m
		d.take(r)
		if !d.asking && now >= d.next && r.disks.asking.Load() < maxAsking {
			r.ask(d, now)
			if !d.slow && (!m.Network() || d.lastAt.IsZero()) {
				wait = append(wait, d)
			}
		}
	}
	for id := range r.disks.mounted {
		if !seen[id] {
			delete(r.disks.mounted, id)
		}
	}
	r.await(ctx, wait)
	out := make([]gpu.Disk, 0, len(mounts))
	for _, m := range mounts {
		if d := r.disks.mounted[m.ID]; d.shown() {
			out = append(out, d.figures(r.o.Elapsed()))
		}
	}
	return out, nil
}

// Seed tells how much of the file system mounted at point was used before this process started, so that its
// growth is known at once. at are times of the wall clock.
func (r *Reader) Seed(point string, at []time.Time, used []float64) {
	now, wall := r.o.Elapsed(), r.o.Now()
	var points []growthPoint
	for i := range min(len(at), len(used)) {
		if age := wall.Sub(at[i]); age > 0 && age <= growthSpan {
			points = append(points, growthPoint{now - age, used[i]})
		}
	}
	if r.disks.seeds == nil {
		r.disks.seeds = map[string][]growthPoint{}
	}
	r.disks.seeds[point] = points
	for _, d := range r.disks.mounted {
		if d.mount.Point == point {
			d.growth.seed(points, now)
		}
	}
}

func (r *Reader) ask(d *disk, now time.Duration) {
	d.asking, d.asked, d.askedAt = true, now, r.o.Now()
	r.disks.asking.Add(1)
	stat, elapsed, point, answers, asking := r.o.Stat, r.o.Elapsed, d.mount.Point, d.answers, &r.disks.asking
	go func() {
		defer asking.Add(-1)
		s, err := stat(point)
		answers <- answer{s, err, elapsed() - now}
	}()
}

func (r *Reader) await(ctx context.Context, wait []*disk) {
	if len(wait) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, d := range wait {
		select {
		case a := <-d.answers:
			d.keep(r, a)
		case <-ctx.Done():
			return // those that did answer are taken with the next sample
		}
	}
}

// take looks whether an answer came meanwhile.
func (d *disk) take(r *Reader) {
	select {
	case a := <-d.answers:
		d.keep(r, a)
	default:
	}
}

func (d *disk) keep(r *Reader, a answer) {
	d.asking, d.err = false, a.err
	d.slow = a.took > slow
	now := r.o.Elapsed()
	switch {
	case a.err != nil:
		d.next = d.asked + failedEvery
	case d.mount.Network() || d.slow:
		d.next = d.asked + networkEvery
	default:
		d.next = d.asked + localEvery
	}
	if a.err == nil {
		d.last, d.lastAt = a.space, r.o.Now()
		d.growth.add(now, float64(a.space.Total-a.space.Free))
	}
}

// shown: df hides what has no space, and what nobody may look at.
func (d *disk) shown() bool {
	if d.lastAt.IsZero() {
		if d.err != nil {
			return d.mount.Network() && !errors.Is(d.err, syscall.EACCES)
		}
		return d.mount.Network() || d.asking
	}
	return d.last.Total > 0 && !d.last.NotFolder
}

func (d *disk) figures(now time.Duration) gpu.Disk {
	m := d.mount
	f := gpu.Disk{Mount: m.Point, Device: m.Source, Filesystem: m.Type, Options: m.AllOptions(), Network: m.Network(),
		ReadOnly: m.ReadOnly()}
	if d.err != nil || (d.asking && now-d.asked >= answerLimit) {
		since := d.lastAt
		if since.IsZero() {
			since = d.askedAt
		}
		f.StaleSince = &since
	}
	if d.lastAt.IsZero() {
		return f
	}
	s := d.last
	used, available := max(s.Total-s.Free, 0), max(s.Available, 0)
	f.Total, f.Used, f.Available = &s.Total, &used, &available
	f.Reserved = ptr(max(s.Free-available, 0))
	f.UsedPercent = share(uint64(used), uint64(used)+uint64(available))
	if s.Inodes > 0 {
		f.InodesUsed = share(s.Inodes-min(s.InodesFree, s.Inodes), s.Inodes)
	}
	if !f.ReadOnly && f.StaleSince == nil {
		f.Growth, f.FullIn = d.growth.rate(), d.growth.fullIn(available)
	}
	return f
}

// share is in percent, rounded up as df does; nil for a share of nothing.
func share(part, whole uint64) *float64 {
	if whole == 0 {
		return nil
	}
	hi, lo := bits.Mul64(part, 100)
	if hi >= whole {
		return ptr(100.0)
	}
	q, rest := bits.Div64(hi, lo, whole)
	if rest > 0 {
		q++
	}
	return ptr(float64(q))
}
