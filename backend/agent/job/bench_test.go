package job

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"berth/queue"
	"berth/queue/journal"
	"berth/queue/plan"
)

// instant is a runner whose runs are over at once.
type instant struct {
	emit func(queue.Event)
	done chan struct{}
}

func (r *instant) Start(_ context.Context, q queue.Run) {
	go func() {
		at := time.Now().UTC()
		r.emit(queue.Event{ID: q.ID, Attempt: q.Attempt, At: at, Started: &queue.Started{PID: 1, At: at, Supervised: true}})
		r.emit(queue.Event{ID: q.ID, Attempt: q.Attempt, At: at, Ended: &queue.Ended{At: at}})
		r.done <- struct{}{}
	}()
}

func (r *instant) Adopt(context.Context, queue.Run)                {}
func (r *instant) Signal(context.Context, queue.Run, queue.Signal) {}

// BenchmarkQueue takes jobs through the queue, from the submit to the end, without their processes.
func BenchmarkQueue(b *testing.B) {
	dir := b.TempDir()
	j, err := journal.Open(b.Context(), dir)
	require.NoError(b, err)
	runs := filepath.Join(dir, "runs")
	require.NoError(b, os.MkdirAll(runs, 0o700))
	l := newLoop(j, plan.Limits{Slots: 4}, runs, slog.New(slog.DiscardHandler))
	r := &instant{emit: l.emit, done: make(chan struct{}, 1000)}
	l.runner = r
	require.NoError(b, l.load(b.Context()))
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.keepOn(ctx, func(f func()) { f() })
	}()
	var before, after syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &before))
	n := 0
	for b.Loop() {
		_, err := l.submit(b.Context(), queue.Spec{Name: "true", Argv: []string{"true"}, Workdir: "/home/user",
			Request: queue.Request{GPUs: -1}, UUID: uuid.NewString(), User: "user@laptop"})
		require.NoError(b, err)
		n++
	}
	for range n {
		<-r.done
	}
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &after))
	cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	b.ReportMetric(cpu.Seconds()*1000/float64(n), "cpu-ms/op")
	b.ReportMetric(float64(after.Minflt-before.Minflt)/float64(n), "faults/op")
	cancel()
	<-ended
	require.NoError(b, j.Close())
}
