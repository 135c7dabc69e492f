package plan

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"berth/queue"
)

const gib = 1 << 30

// someGPUs are GPUs of 80 GiB, in two sets of up to four.
func someGPUs(n int) []GPU {
	gpus := make([]GPU, n)
	for i := range gpus {
		gpus[i] = GPU{GPU: queue.GPU{UUID: fmt.Sprintf("GPU-%d", i), Index: i}, Memory: 80 * gib, Near: i / 4}
	}
	return gpus
}

func gpus(n int) func(*queue.Spec) { return func(s *queue.Spec) { s.Request.GPUs = n } }

// share asks for memory of one GPU.
func share(bytes int64) func(*queue.Spec) {
	return func(s *queue.Spec) { s.Request.GPUs, s.Request.GPUMemory = 1, bytes }
}

// indices are those of the GPUs that a job has.
func (w *world) indices(id queue.ID) []int {
	var at []int
	for _, g := range w.journal[id].GPUs {
		at = append(at, g.Index)
	}
	return at
}

func TestAJobGetsTheGPUsItAskedFor(t *testing.T) {
	w := newWorld(t, Limits{Slots: 8, GPUs: someGPUs(3)})
	one, two, third := w.submit(gpus(-1)), w.submit(gpus(2)), w.submit(gpus(1))
	none, many := w.submit(gpus(0)), w.submit(gpus(4))
	require.Equal(t, "preparing preparing queued preparing queued", w.states(one, two, third, none, many))
	require.Equal(t, [][]int{{0}, {1, 2}, nil, nil},
		[][]int{w.indices(one), w.indices(two), w.indices(third), w.indices(none)})
	w.restart()
	require.Equal(t, "queued", w.states(third), "they are held after a restart, too")
	w.ok(w.exit(one, 0))
	require.Equal(t, "preparing", w.states(third))
	require.Equal(t, []int{0}, w.indices(third))
	require.Equal(t, "it needs 4 GPUs, and this instance has 3", w.reason(many).Text)
	alone := w.submit(gpus(-1), func(s *queue.Spec) { s.Request.Exclusive = true })
	for _, id := range []queue.ID{two, third, none} {
		require.Equal(t, "queued", w.states(alone))
		w.ok(w.exit(id, 0))
	}
	require.Equal(t, []int{0, 1, 2}, w.indices(alone))
	require.Equal(t, "queued", w.states(w.submit(gpus(0))), "nothing runs beside it")
	plain := newWorld(t, Limits{Slots: 8})
	require.Equal(t, "preparing preparing", plain.states(plain.submit(gpus(-1)), plain.submit(gpus(-1))))
}

func TestGPUsOfOneSetGoTogether(t *testing.T) {
	w := newWorld(t, Limits{Slots: 99, GPUs: someGPUs(8)})
	one := w.submit(gpus(1))
	four, two, rest := w.submit(gpus(4)), w.submit(gpus(2)), w.submit(gpus(1))
	require.Equal(t, [][]int{{0}, {4, 5, 6, 7}, {1, 2}, {3}},
		[][]int{w.indices(one), w.indices(four), w.indices(two), w.indices(rest)})
	w.do(w.exit(one, 0), w.exit(four, 0))
	require.Equal(t, []int{0}, w.indices(w.submit(gpus(1))), "the larger set stays whole")
	w.ok(w.exit(two, 0))
	require.Equal(t, []int{1, 4, 5, 6, 7}, w.indices(w.submit(gpus(5))), "no set has so many")
}

func TestSharesOfAGPU(t *testing.T) {
	w := newWorld(t, Limits{Slots: 99, GPUs: someGPUs(2)})
	a, b := w.submit(share(30*gib)), w.submit(share(30*gib))
	require.Equal(t, [][]int{{0}, {0}}, [][]int{w.indices(a), w.indices(b)}, "the same one, so that another stays whole")
	whole := w.submit(gpus(1))
	require.Equal(t, []int{1}, w.indices(whole), "never one that is shared")
	big, small := w.submit(share(30*gib)), w.submit(share(20*gib))
	require.Equal(t, "queued queued", w.states(big, small), "what was reserved is kept for it, and none goes before the first")
	require.Contains(t, w.reason(big).Text, "waits for a GPU (GPU 0: jobs 1, 2; GPU 1: job 3)")
	w.ok(Cancel{big, ""})
	require.Equal(t, []int{0}, w.indices(small))
	used := someGPUs(2)
	used[0].Used = 79 * gib // somebody takes more than was said
	w.do(SetGPUs{GPUs: used}, w.exit(a, 0), w.exit(b, 0))
	late := w.submit(share(gib + 1))
	require.Equal(t, "queued", w.states(late), "what is really used counts")
	w.ok(SetGPUs{GPUs: someGPUs(2)})
	require.Equal(t, []int{0}, w.indices(late))
	require.Equal(t, "it needs a GPU with more memory than this instance's have", w.reason(w.submit(share(81*gib))).Text)
}

func TestMIGInstances(t *testing.T) {
	mig := func(i int, memory int64) GPU {
		return GPU{GPU: queue.GPU{UUID: fmt.Sprintf("MIG-%d", i), Index: 7, MIG: true}, Memory: memory, Near: 9}
	}
	w := newWorld(t, Limits{Slots: 99, GPUs: []GPU{mig(0, 40*gib), mig(1, 10*gib), mig(2, 10*gib)}})
	require.Equal(t, "it needs 2 GPUs, and a process can use one MIG instance only", w.reason(w.submit(gpus(2))).Text)
	a, b := w.submit(share(8*gib)), w.submit(share(20*gib))
	require.Equal(t, "MIG-1", w.journal[a].GPUs[0].UUID, "the smallest that does")
	require.Equal(t, "MIG-0", w.journal[b].GPUs[0].UUID)
	require.Equal(t, "MIG-2", w.journal[w.submit(gpus(-1))].GPUs[0].UUID)
	mixed := newWorld(t, Limits{Slots: 99, GPUs: append(someGPUs(1), mig(0, 10*gib))})
	require.Equal(t, "GPU-0", mixed.journal[mixed.submit(gpus(1))].GPUs[0].UUID)
	require.Equal(t, "queued", mixed.states(mixed.submit(gpus(1))), "a whole one was meant")
	require.Equal(t, "it needs 2 GPUs, and this instance has 1", mixed.reason(mixed.submit(gpus(2))).Text)
}

func TestGPUsThatAreTaken(t *testing.T) {
	w := newWorld(t, Limits{Slots: 9, GPUsUnknown: "the driver does not answer"})
	one, cpu := w.submit(gpus(-1)), w.submit(gpus(0))
	require.Equal(t, "queued preparing", w.states(one, cpu), "never without its GPU")
	require.Equal(t, "it waits for a GPU: the driver does not answer", w.reason(one).Text)
	taken := someGPUs(2)
	for i := range taken {
		taken[i].Users = []User{{Text: "python of bob (process 4242)", Since: epoch.Add(-3 * time.Hour)}}
	}
	w.ok(SetGPUs{GPUs: taken})
	require.Equal(t, "it is the next, and waits for a GPU (GPU 0: python of bob (process 4242), 3 h; "+
		"GPU 1: python of bob (process 4242), 3 h)", w.reason(one).Text)
	w.ok(SetGPUs{GPUs: append(taken[:1:1], someGPUs(2)[1])})
	require.Equal(t, []int{1}, w.indices(one))
	w.do(w.started(one), SetGPUs{GPUs: taken[:1], Unknown: "the driver does not answer"})
	require.Equal(t, "running", w.states(one), "what runs goes on")
	many := w.submit(gpus(2))
	require.Equal(t, "it waits for 2 GPUs: the driver does not answer", w.reason(many).Text)
	w.ok(SetGPUs{GPUs: taken[:1]})
	require.Equal(t, WaitsImpossible, w.reason(many).Code)
	require.Equal(t, "preparing", w.states(w.submit(gpus(0))), "what can never run is in nobody's way")
	w.ok(SetGPUs{})
	require.Equal(t, "running queued", w.states(one, w.submit(gpus(1))))
}

func TestAJobThatUsesAnothersGPU(t *testing.T) {
	w := newWorld(t, Limits{Slots: 9, GPUs: someGPUs(2)})
	a := w.submit(gpus(1))
	w.ok(w.started(a))
	seen := someGPUs(2)
	for i := range seen {
		seen[i].Users = []User{{Job: a, Text: "job 1"}}
	}
	w.ok(SetGPUs{GPUs: seen})
	b := w.submit(gpus(1))
	require.Equal(t, "it is the next, and waits for a GPU (GPU 0: job 1; GPU 1: job 1)", w.reason(b).Text)
	w.limits.GPUs = seen
	w.restart()
	require.Equal(t, "queued", w.states(b))
	w.do(SetGPUs{GPUs: seen}, w.started(a))
	w.ok(w.exit(a, 0))
	require.Equal(t, []int{0}, w.indices(b), "the process is gone, though nobody has looked since")
}

func TestWhatAGPUHadIsTheCause(t *testing.T) {
	w := newWorld(t, Limits{Slots: 9, GPUs: someGPUs(2)})
	with := func(f Fault) SetGPUs {
		now := someGPUs(2)
		now[0].Fault = f
		return SetGPUs{GPUs: now}
	}
	run := func(f Fault, code int) queue.Job {
		id := w.submit(gpus(1))
		w.ok(w.started(id))
		w.after(time.Minute)
		f.At = w.now.Add(f.At.Sub(time.Time{}))
		w.do(with(f), w.exit(id, code))
		return w.journal[id]
	}
	xid := Fault{Text: "XID 79: gone"}
	j := run(xid, 1)
	require.Equal(t, []string{"xid", "GPU 0: XID 79: gone"}, []string{string(j.Cause), j.Message})
	require.Equal(t, queue.ByExit, run(xid, 0).Cause, "it succeeded")
	xid.At = time.Time{}.Add(-time.Hour)
	require.Equal(t, queue.ByExit, run(xid, 1).Cause, "that was before")
	require.Equal(t, queue.ByGPULoss, run(Fault{Text: "lost", Lost: true}, 1).Cause)
	id := w.submit(gpus(2))
	w.do(SetGPUs{GPUs: someGPUs(1)}, w.exit(id, 1))
	require.Equal(t, queue.ByGPULoss, w.journal[id].Cause)
}

// TestNoGPUIsGivenTwice starts and ends jobs of all kinds: no GPU ever has two that want it whole, one of these beside
// one that shares, or more reserved than it has.
func TestNoGPUIsGivenTwice(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := draws{rt}
		all := someGPUs(d.n("GPUs", 1, 8))
		for i := range all {
			all[i].MIG = d.n("MIG", 0, 3) == 0
			all[i].Near = d.n("set", 0, 2)
			all[i].Memory = int64(d.n("memory", 1, 8)) * 10
		}
		w := &world{t: rt, now: epoch, limits: Limits{Slots: 99, GPUs: all}, journal: map[queue.ID]queue.Job{}}
		w.p = New(w.limits, 0)
		for range d.n("steps", 1, 40) {
			if d.n("end", 0, 2) == 0 && len(w.p.active) > 0 {
				w.do(w.exit(w.p.active[d.n("which", 0, len(w.p.active)-1)].id, 0))
			} else {
				w.do(Submit{Spec: spec(func(s *queue.Spec) {
					s.Request.GPUs = d.n("gpus", 1, 4)
					s.Request.GPUMemory = int64(max(d.n("share", -4, 8), 0)) * 5
				})})
			}
			whole, reserved := map[string]int{}, map[string]int64{}
			for _, id := range w.p.Active() {
				j := w.journal[id]
				require.Len(rt, j.GPUs, j.Spec.Request.GPUs)
				for _, g := range j.GPUs {
					require.False(rt, g.MIG && len(j.GPUs) > 1)
					if j.Spec.Request.GPUMemory == 0 {
						whole[g.UUID]++
					}
					reserved[g.UUID] += j.Spec.Request.GPUMemory
				}
			}
			for _, g := range all {
				require.LessOrEqual(rt, whole[g.UUID], 1)
				require.False(rt, whole[g.UUID] > 0 && reserved[g.UUID] > 0)
				require.LessOrEqual(rt, reserved[g.UUID], g.Memory)
			}
			if front := w.p.Front(1); len(front) > 0 { // what waits could not be started
				n := w.p.needOf(w.journal[front[0]].Spec.Request)
				require.False(rt, w.p.room.fits(n))
			}
		}
	})
}
