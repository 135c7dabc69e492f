package host

import (
	"time"

	"berth/gpu"
	"berth/gpu/host/procfile"
)

// Options are what tests replace; the zero value measures this machine.
type Options struct {
	Root string           // where proc and sys are found below; "": /
	Now  func() time.Time // the wall clock
	// Elapsed is a clock that is never set; rates are by it.
	Elapsed func() time.Duration
	// Mounts lists what is mounted, and Stat asks a file system; the latter may block for ever.
	Mounts func() ([]Mount, error)
	Stat   func(mount string) (Space, error)
}

// Reader measures the host. It belongs to one goroutine.
type Reader struct {
	o     Options
	file  procfile.Reader
	os    system // what only this system has
	disks disks
}

// New makes a Reader. Rates are nil in its first answer: call Host once and again a second later.
func New(o Options) *Reader {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Elapsed == nil {
		start := time.Now()
		o.Elapsed = func() time.Duration { return time.Since(start) }
	}
	if o.Stat == nil {
		o.Stat = statfs
	}
	r := &Reader{o: o}
	r.disks.mounted = map[int]*disk{}
	r.os.init(r)
	return r
}

// Host measures processors, memory, network and block devices. Shares and rates are means since the call before.
func (r *Reader) Host() gpu.Host { return r.host() }

// Close closes open files. Questions to file systems that hang go on until the kernel ends them.
func (r *Reader) Close() { r.os.close() }

// rate is what a counter grew by in a second; nil where it went backwards: it was reset, or wrapped, and
// nobody can tell which.
func rate(before, now uint64, scale float64, passed time.Duration) *int64 {
	if now < before || passed <= 0 {
		return nil
	}
	v := int64(float64(now-before) * scale / passed.Seconds())
	return &v
}

func ptr[T any](v T) *T { return &v }
