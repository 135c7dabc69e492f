package plan

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/queue"
)

// manyShapes are so many waiting jobs, each of another shape, behind four that run.
func manyShapes(n int) (*Planner, time.Time) {
	p := New(Limits{Slots: 4}, 0)
	now := epoch
	p.Do(now, Submit{Spec: spec()}, Submit{Spec: spec()}, Submit{Spec: spec()}, Submit{Spec: spec()})
	in := make([]Input, 0, n)
	for i := range n {
		s := spec()
		s.User, s.Priority = fmt.Sprint("user", i), i%100
		s.Request.Slots = 1 + i%4
		s.Timeout = time.Duration(1+i%1000) * time.Minute
		in = append(in, Submit{Spec: s})
	}
	p.Do(now, in...)
	return p, now
}

// BenchmarkDecision ends a job, has the next one begin, and tells its start: with 100,000 jobs of 100,000 shapes
// waiting, of which the first often doesn't fit.
func BenchmarkDecision(b *testing.B) {
	p, now := manyShapes(100_000)
	b.ReportAllocs()
	var took []time.Duration
	for b.Loop() {
		now = now.Add(time.Second)
		it := p.active[0]
		before := time.Now()
		p.Do(now, Happened{queue.Event{ID: it.id, Attempt: it.st.Attempt, Ended: &queue.Ended{At: now}}},
			Submit{Spec: spec(func(s *queue.Spec) { s.User = now.String() })})
		took = append(took, time.Since(before))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs/p99")
}

// BenchmarkSharing ends a job with a GPU and has the next one begin, of 1,000 that wait, with and without others who
// come first; and asks what is wanted, as is done a few times a second.
func BenchmarkSharing(b *testing.B) {
	for _, others := range []int{0, 3, 30} {
		p := New(Limits{Slots: 64, GPUs: someGPUs(8)}, 0)
		now := epoch
		said := SetGPUs{GPUs: someGPUs(8), Sharing: Sharing{Mine: Stand{UID: 1, Used: time.Hour, At: now}}}
		for i := range others {
			said.Sharing.Others = append(said.Sharing.Others, Claim{Stand: Stand{UID: 2 + i, At: now}, User: "bob",
				Wants: []Want{{GPUs: 9, Jobs: 5}}})
		}
		p.Do(now, said)
		for range 1000 {
			p.Do(now, Submit{Spec: spec(gpus(1))})
		}
		b.Run(fmt.Sprint(others, " others"), func(b *testing.B) {
			for b.Loop() {
				it := p.active[0]
				p.Do(now, Happened{queue.Event{ID: it.id, Attempt: it.st.Attempt, Ended: &queue.Ended{At: now}}},
					Submit{Spec: spec(gpus(1))})
			}
		})
		b.Run(fmt.Sprint(others, " others, what is wanted"), func(b *testing.B) {
			for b.Loop() {
				p.Demand()
			}
		})
	}
}

// BenchmarkReasons explains a page of waiting jobs from all over the line.
func BenchmarkReasons(b *testing.B) {
	p, now := manyShapes(100_000)
	var ids []queue.ID
	for i := range 50 {
		ids = append(ids, id(int64(5+i*2000)))
	}
	var first []queue.ID
	for it := range p.inOrder() {
		if first = append(first, it.id); len(first) == len(ids) {
			break
		}
	}
	b.Run("front", func(b *testing.B) {
		for b.Loop() {
			p.Reasons(now, first)
		}
	})
	b.Run("all over", func(b *testing.B) {
		for b.Loop() {
			p.Reasons(now, ids)
		}
	})
}

// BenchmarkArray submits an array of 100,000 elements, and cancels it.
func BenchmarkArray(b *testing.B) {
	p := New(Limits{Slots: 0}, 0)
	for b.Loop() {
		out := p.Do(epoch, Submit{Spec: spec(elems("0-99999"))})
		p.Do(epoch, Cancel{out.Answers[0].ID, "ann"})
	}
}

// TestALongQueueIsSmall: a hundred thousand waiting jobs are to take a part of what the agent may use, 200 MB.
func TestALongQueueIsSmall(t *testing.T) {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const n = 20_000
	before := heap()
	p, _ := manyShapes(n)
	used := int64(heap()) - int64(before)
	_, waiting := p.Counts()
	require.Equal(t, n, waiting)
	require.Less(t, used/n, int64(800), "bytes a job")
}
