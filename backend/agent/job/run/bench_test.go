package run

import (
	"testing"

	"berth/queue"
)

// BenchmarkJobs runs jobs of `true`, four at a time, from the start to the last event.
func BenchmarkJobs(b *testing.B) {
	w := newWorld(b)
	slots := make(chan struct{}, 4)
	r := New(w.host(nil), Secrets{}, func(e queue.Event) {
		if e.Ended != nil && len(e.Ended.Left) == 0 || e.Left != nil && len(e.Left.Names) == 0 {
			<-slots
		}
	})
	n := int64(0)
	for b.Loop() {
		slots <- struct{}{}
		n++
		r.Start(b.Context(), w.job(n, "true"))
	}
	r.Wait()
}
