package job

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/lease"
	"berth/backend/api"
	"berth/gpu"
	"berth/queue"
	"berth/queue/plan"
)

func TestWhatASampleSaysOfTheGPUs(t *testing.T) {
	at := time.Now()
	on := func(index int, p gpu.Process) gpu.Process {
		p.GPUIndex = &index
		return p
	}
	one := 1
	noon := time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	s := &gpu.Sample{SampledAt: noon,
		GPUs: []gpu.GPU{
			{Index: 0, UUID: "GPU-a", MemoryTotal: new(int64(80)), MemoryUsed: new(int64(5))},
			{Index: 1, UUID: "GPU-b", Error: "GPU is lost", LastXID: &gpu.XID{Code: 79}},
			{Index: 2, UUID: "GPU-c", MIGEnabled: new(true), MIG: []gpu.MIG{
				{Index: 0, UUID: "MIG-x", MemoryTotal: new(int64(10))}, {Index: 1, UUID: "MIG-y", MemoryTotal: new(int64(20))}}},
			{Index: 3, UUID: "GPU-d", MIGEnabled: new(true)}, // divided into nothing: no program can use it
			{Index: 4, UUID: "GPU-e", ComputeMode: "prohibited"},
			{Index: 5, UUID: "GPU-f", LastXID: &gpu.XID{Code: 48, At: noon.Add(-time.Minute), Meaning: "double bit", Severity: "critical"}},
			{Index: 6, UUID: "GPU-g", LastXID: &gpu.XID{Code: 63, At: noon.Add(-time.Hour), Meaning: "remapped", Severity: "critical"}},
			{Index: 7, UUID: "GPU-h", LastXID: &gpu.XID{Code: 13, At: noon, Application: true}},
		},
		Topology: []gpu.Link{{A: 0, B: 1, Kind: "NV4"}, {A: 1, B: 4, Kind: "PIX"}, {A: 0, B: 2, Kind: "SYS"}},
		Processes: []gpu.Process{
			on(0, gpu.Process{PID: 7, User: "bob", Command: "/usr/bin/python train.py --with a very long list of arguments",
				StartedAt: at, GPUKind: "compute"}),
			on(0, gpu.Process{PID: 8, User: "ann", Command: "Xorg", GPUKind: "graphics"}),
			on(0, gpu.Process{PID: 9, User: "ann", Command: "probe", Owner: gpu.Owner{Kind: "agent"}}),
			on(2, gpu.Process{PID: 10, MIG: &one}),
			on(2, gpu.Process{PID: 11, MIG: &one, Command: "python", Owner: gpu.Owner{Kind: "job", ID: "12_3"}}),
			{PID: 12, User: "bob", Command: "bash"},
		},
	}
	require.Equal(t, []plan.GPU{
		{GPU: queue.GPU{UUID: "GPU-a", Index: 0}, Memory: 80, Used: 5,
			Users: []plan.User{{Text: "python train.py --with a very long list… of bob (process 7)", Since: at}}},
		{GPU: queue.GPU{UUID: "GPU-b", Index: 1}, Fault: plan.Fault{Text: "GPU is lost", Lost: true},
			Users: []plan.User{{Text: "it gives no figures (GPU is lost)"}}},
		{GPU: queue.GPU{UUID: "MIG-x", Index: 2, MIG: true}, Memory: 10, Near: 2},
		{GPU: queue.GPU{UUID: "MIG-y", Index: 2, MIG: true}, Memory: 20, Near: 2, Users: []plan.User{
			{Job: queue.ID{Number: 12, Index: 3, Element: true}, Text: "job 12_3, which it was not given to"},
			{Text: "process 10, of which no more is known"}}},
		{GPU: queue.GPU{UUID: "GPU-e", Index: 4}, Users: []plan.User{{Text: "its compute mode allows no program"}}},
		{GPU: queue.GPU{UUID: "GPU-f", Index: 5}, Near: 5, Fault: plan.Fault{Text: "XID 48: double bit", At: noon.Add(-time.Minute)},
			Users: []plan.User{{Text: "it had XID 48 (double bit), and is kept out until 12:09 UTC"}}},
		{GPU: queue.GPU{UUID: "GPU-g", Index: 6}, Near: 6, Fault: plan.Fault{Text: "XID 63: remapped", At: noon.Add(-time.Hour)}},
		{GPU: queue.GPU{UUID: "GPU-h", Index: 7}, Near: 7},
	}, gpusOf(s))
}

// looker gives a ledger its samples.
type looker struct {
	samples chan *gpu.Sample
	every   chan time.Duration // of each watch that begins
	ends    chan struct{}      // one for each that ends
}

func (k *looker) watch(_ context.Context, every time.Duration) (<-chan *gpu.Sample, func()) {
	k.every <- every
	return k.samples, func() { k.ends <- struct{}{} }
}

// ledgerWith begins a ledger of an instance that has a driver.
func ledgerWith(t *testing.T) (*ledger, *looker, <-chan plan.SetGPUs) {
	k := &looker{make(chan *gpu.Sample), make(chan time.Duration, 9), make(chan struct{}, 9)}
	told := make(chan plan.SetGPUs, 9)
	g := newLedger(k.watch, func(s plan.SetGPUs) { told <- s })
	g.present = func() bool { return true }
	dir := filepath.Join(t.TempDir(), "leases") // removed after the ledger has ended
	g.leases = func() (*lease.Folder, error) { return lease.Open([]string{dir}) }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); g.run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return g, k, told
}

func sampled(at time.Time, uuids ...string) *gpu.Sample {
	s := &gpu.Sample{GPUsReadAt: at}
	for i, u := range uuids {
		s.GPUs = append(s.GPUs, gpu.GPU{Index: i, UUID: u})
	}
	return s
}

// TestTheLedgerLooksOnlyWhileItMatters looks while somebody has or wants a GPU, and takes nothing for true that was
// read before; where the driver does not answer, what is known is kept, and nothing is given away.
func TestTheLedgerLooksOnlyWhileItMatters(t *testing.T) {
	g, k, told := ledgerWith(t)
	require.Equal(t, plan.SetGPUs{Unknown: lookedAt}, g.first())
	g.want(true)
	require.Equal(t, ledgerFirst, <-k.every)
	was := time.Now().Add(time.Hour) // also where the clock is set back
	k.samples <- sampled(was, "GPU-a")
	k.samples <- sampled(was, "GPU-a")
	k.samples <- sampled(was.Add(-2*time.Hour), "GPU-a", "GPU-b")
	now := <-told
	require.Len(t, now.GPUs, 2, "the first that was read since")
	require.Equal(t, ledgerEvery, <-k.every)
	k.samples <- sampled(was, "GPU-a", "GPU-b")
	k.samples <- &gpu.Sample{GPUError: "it hangs"}
	now = <-told
	require.Equal(t, "their state is not known now: it hangs", now.Unknown, "what was the same is not told")
	require.Len(t, now.GPUs, 2)
	k.samples <- sampled(was, "GPU-b")
	require.Len(t, (<-told).GPUs, 1)
	close(k.samples) // the figures have ended
	now = <-told
	require.Equal(t, lookedAt, now.Unknown, "nobody knows who comes from now on")
	require.Len(t, now.GPUs, 1)
	<-k.ends
	<-k.ends
}

// usually is how many GPUs a job gets that says nothing.
func usually(n int) func() (int, error) { return func() (int, error) { return n, nil } }

func TestWhatASubmitGets(t *testing.T) {
	g, k, _ := ledgerWith(t)
	go func() {
		for at := time.Now(); ; at = at.Add(1) {
			select {
			case k.samples <- sampled(at, "GPU-a", "GPU-b"):
			case <-t.Context().Done():
				return
			}
		}
	}()
	for _, c := range []struct {
		asked queue.Request
		usual int
		got   int // -2: refused
	}{
		{queue.Request{GPUs: -1}, 1, 1}, {queue.Request{GPUs: -1}, 0, 0}, {queue.Request{GPUs: 2}, 1, 2},
		{queue.Request{}, 1, 0},
		{queue.Request{GPUs: 3}, 1, -2}, {queue.Request{GPUs: -1, Exclusive: true}, 1, 2},
		{queue.Request{GPUs: 1, Exclusive: true}, 0, 1}, {queue.Request{GPUs: -1, GPUMemory: 1}, 0, -2},
	} {
		s := queue.Spec{Request: c.asked}
		err := g.settle(t.Context(), &s, usually(c.usual))
		if c.got == -2 {
			require.ErrorIs(t, err, &api.Error{Code: api.CodeUsage}, "%+v", c.asked)
			continue
		}
		require.NoError(t, err, "%+v", c.asked)
		require.Equal(t, c.got, s.Request.GPUs, "%+v", c.asked)
	}
	for _, v := range []string{"CUDA_VISIBLE_DEVICES=1", "CUDA_DEVICE_ORDER=PCI_BUS_ID"} {
		require.ErrorContains(t, g.settle(t.Context(), &queue.Spec{Env: []string{v}}, usually(1)), "set by the queue")
	}
	g.present = func() bool { return false }
	s := queue.Spec{Request: queue.Request{GPUs: -1}, Env: []string{"CUDA_VISIBLE_DEVICES=1"}}
	require.NoError(t, g.settle(t.Context(), &s, usually(1)))
	require.Equal(t, -1, s.Request.GPUs, "nothing is set where there are none")
	for _, r := range []queue.Request{{GPUs: 1}, {GPUs: -1, GPUMemory: 1}} {
		require.ErrorIs(t, g.settle(t.Context(), &queue.Spec{Request: r}, usually(1)), &api.Error{Code: api.CodeUsage})
	}
	require.False(t, g.isWanted())
}
