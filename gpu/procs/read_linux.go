package procs

import (
	"bytes"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"berth/gpu/host/procfile"
	"berth/gpu/procs/proc"
)

// procSource reads the kernel's own folder.
type procSource struct {
	*proc.Reader
	dir     string
	foreign bool
}

func newSource(o Options) source {
	return procSource{Reader: proc.NewReader(o.Proc), dir: o.Proc, foreign: *o.Foreign}
}

// details has a reader of its own: it is called from goroutines beside that of the table.
func (s procSource) details(pid int) details {
	d := details{uid: -1}
	r := proc.NewReader(s.dir)
	if o, err := r.Owner(pid); err == nil {
		d.uid = o.Effective
	}
	if b, err := r.File(pid, "cgroup", 0); err == nil {
		d.cgroup = string(b)
		d.container, _ = procfile.ContainerOfGroups(b)
	}
	if s.foreign {
		d.usesGPU = r.Opens(pid, func(name string) bool {
			return strings.HasPrefix(name, "/dev/nvidia") || name == "/dev/dxg"
		})
	}
	// From here on the process's own memory is read, which may hang.
	if b, err := r.File(pid, "cmdline", 4*commandLimit); err == nil {
		d.command = commandLine(b)
	}
	if b, err := r.File(pid, "environ", 256<<10); err == nil {
		for v := range bytes.SplitSeq(b, []byte{0}) {
			if bytes.HasPrefix(v, []byte("BERTH_")) && len(v) < 4096 {
				d.environ = append(d.environ, string(v))
			}
		}
	}
	return d
}

// threadTime is the processor time of this thread, which is kept to this goroutine until threadDone.
func threadTime() time.Duration {
	runtime.LockOSThread()
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// threadDone undoes both calls of threadTime around a measurement.
func threadDone() {
	runtime.UnlockOSThread()
	runtime.UnlockOSThread()
}
