package run

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/queue"
)

// BenchmarkJobs runs jobs of `true`, four at a time, from the start to the last event. It tells what the agent and its
// shims cost beside the time, which other processes here take part of.
func BenchmarkJobs(b *testing.B) {
	w := newWorld(b)
	slots := make(chan struct{}, 4)
	r := New(w.host(nil), Secrets{}, func(e queue.Event) {
		if e.Ended != nil && len(e.Ended.Left) == 0 || e.Left != nil && len(e.Left.Names) == 0 {
			<-slots
		}
	})
	own, shims := usage(b, syscall.RUSAGE_SELF), usage(b, syscall.RUSAGE_CHILDREN)
	n := int64(0)
	for b.Loop() {
		slots <- struct{}{}
		n++
		r.Start(b.Context(), w.job(n, "true"))
	}
	r.Wait()
	time.Sleep(100 * time.Millisecond) // until the shims are gone, which counts what they cost
	for name, before := range map[string]syscall.Rusage{"agent": own, "shim": shims} {
		who := syscall.RUSAGE_SELF
		if name == "shim" {
			who = syscall.RUSAGE_CHILDREN
		}
		now := usage(b, who)
		cpu := time.Duration(now.Utime.Nano() + now.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
		b.ReportMetric(cpu.Seconds()*1000/float64(n), name+"-ms/op")
		b.ReportMetric(float64(now.Minflt-before.Minflt)/float64(n), name+"-faults/op")
	}
}

func usage(b *testing.B, who int) (u syscall.Rusage) {
	require.NoError(b, syscall.Getrusage(who, &u))
	return u
}
