package run

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/dustin/go-humanize"

	"berth/backend/agent/environ"
	"berth/backend/agent/part"
	"berth/backend/agent/process"
	"berth/backend/api"
	"berth/queue"
)

// rootLimit is how long root may take to hand over control groups.
const rootLimit = 20 * time.Second

// limitOf is what a job's processes may use. Those of a container are the engine's, which limits them.
func limitOf(s *queue.Spec) process.Limit {
	if s.Image != "" {
		return process.Limit{}
	}
	return process.Limit{Memory: s.Memory, CPUs: s.CPUs}
}

// Uncapped says why the limits of a job can't be set here; "": they can, or it has none. Where only root can, root is
// asked for it.
func Uncapped(ctx context.Context, h *part.Host, s *queue.Spec) string {
	l := limitOf(s)
	if l == (process.Limit{}) {
		return ""
	}
	name := "berth-can-" + strconv.Itoa(os.Getpid())
	err := process.CanLimit(name, l)
	if err != nil && os.Geteuid() != 0 {
		limited, cancel := context.WithTimeout(ctx, rootLimit)
		defer cancel()
		if _, no := h.Root().Run(limited, "limiting jobs", "cgroup-make"); no == nil {
			err = process.CanLimit(name, l)
		} else {
			e := api.AsError(no)
			say := e.Message
			if e.Code == api.CodeForbidden && e.Hint != "" {
				say = e.Hint // who can, and how
			}
			err = fmt.Errorf("%w; %s", err, say)
		}
	}
	if err == nil {
		return ""
	}
	return notSet(l, err.Error())
}

// notSet says that a limit does not hold.
func notSet(l process.Limit, why string) string {
	what := "memory"
	switch {
	case l.Memory > 0 && l.CPUs > 0:
		what = "memory or of CPUs"
	case l.CPUs > 0:
		what = "CPUs"
	}
	return "no limit of " + what + " can be set here, the job runs without: " + why
}

// uncapped are words for limits that do not hold although they could be set.
func uncapped(l *process.Limited) []string {
	if l == nil || l.Why == "" {
		return nil
	}
	return []string{notSet(l.Limit, l.Why)}
}

// threads are the variables by which libraries know how many threads to start.
var threads = []string{"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"}

// withThreads has libraries start no more threads than a job has CPUs. What is set already stays.
func withThreads(env []string, cpus int) []string {
	if cpus == 0 {
		return env
	}
	for _, k := range threads {
		if environ.Lookup(env, k) == "" {
			env = environ.Merge(env, k+"="+strconv.Itoa(cpus))
		}
	}
	return env
}

// oomText says how processes were killed for want of memory; "": none was.
func oomText(killed int, memory, peak int64) string {
	if killed == 0 {
		return ""
	}
	who := "the system killed a process of it"
	if killed > 1 {
		who = fmt.Sprintf("the system killed %d processes of it", killed)
	}
	if memory == 0 {
		return "the machine had no memory left: " + who
	}
	return fmt.Sprintf("it used all of its %s of memory (%s at most): %s", size(memory, memory), size(min(peak, memory), memory), who)
}

// size is an amount of memory, in the units that its limit was said in.
func size(n, limit int64) string {
	if limit%1_000_000 == 0 {
		return humanize.Bytes(uint64(n))
	}
	return humanize.IBytes(uint64(n))
}
