package job

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/gpu"
	"berth/queue"
	"berth/queue/plan"
)

// What a run uses of its GPUs is counted over looks, and over agents.
func TestUsageOfGPUs(t *testing.T) {
	l, _, end := opened(t, t.TempDir())
	defer end()
	at := time.Now()
	card := plan.GPU{GPU: queue.GPU{UUID: "GPU-a"}, Memory: 80 << 30}
	other := plan.GPU{GPU: queue.GPU{UUID: "GPU-b", Index: 1}, Memory: 80 << 30}
	l.see(plan.SetGPUs{GPUs: []plan.GPU{card, other}})
	submit := func(change func(*queue.Spec)) queue.ID {
		s := queue.Spec{Name: "train", Argv: []string{"true"}, Workdir: "/", Request: queue.Request{GPUs: 1}}
		change(&s)
		id, err := l.submitWith(t.Context(), s, nil)
		require.NoError(t, err)
		return id
	}
	whole := submit(func(*queue.Spec) {})
	share := submit(func(s *queue.Spec) { s.Request.GPUMemory = 10 << 30 })
	waits := submit(func(*queue.Spec) {})
	require.NoError(t, os.MkdirAll(l.runDir(whole, 1), 0o700))
	look := func(after time.Duration, meter, watts float64, memory int64) {
		p := func(id queue.ID, n int64) gpu.Process {
			return gpu.Process{Owner: gpu.Owner{Kind: "job", ID: id.String()}, GPUMemory: &n}
		}
		s := &gpu.Sample{SampledAt: at.Add(after), GPUs: []gpu.GPU{{UUID: "GPU-a", Power: &watts}, {UUID: "GPU-b"}},
			Processes: []gpu.Process{p(whole, memory), p(whole, 1<<30), p(share, 3<<30), {GPUMemory: &memory}}}
		if meter > 0 {
			s.GPUs[0].Energy = &meter
		}
		l.watchUsage(t.Context(), s)
	}
	look(0, 1000, 100, 5<<30)
	look(2*time.Second, 1300, 100, 9<<30)
	look(4*time.Second, 50, 100, 2<<30) // the driver was loaded anew
	look(6*time.Second, 150, 100, 0)
	require.Equal(t, drawn{usageVersion, 10 << 30, 400}, l.usages.of(whole, 1, l.runDir(whole, 1)))
	require.Equal(t, drawn{usageVersion, 3 << 30, 0}, l.usages.of(share, 1, l.runDir(share, 1)), "not of what it shares")

	uses := l.usages.now()
	require.Equal(t, []gpu.Holder{{Kind: "job", ID: whole.String(), Name: "train"}}, uses["GPU-a"].Held)
	require.Equal(t, []gpu.Holder{{Kind: "job", ID: share.String(), Name: "train", Reserved: 10 << 30}}, uses["GPU-b"].Held)
	require.Equal(t, "job "+waits.String()+" (train)", uses["GPU-a"].Next.String())
	require.Nil(t, uses["GPU-b"].Next, "it waits for one")

	look(2*time.Minute, 160, 100, 0) // it is written
	l.usages.quiet()
	require.Empty(t, l.usages.now())
	l.usages.runs = nil // another agent
	require.Equal(t, drawn{usageVersion, 10 << 30, 410}, l.usages.of(whole, 1, l.runDir(whole, 1)))
	look(3*time.Minute, 0, 100, 0)
	look(3*time.Minute+10*time.Second, 0, 50, 0) // a GPU without a meter
	look(9*time.Minute, 0, 50, 0)                // nobody looked meanwhile
	require.InDelta(t, 410+500, l.usages.of(whole, 1, l.runDir(whole, 1)).Joules, 1e-6)

	require.NoError(t, os.WriteFile(filepath.Join(l.runDir(whole, 1), usageName), []byte(`{"version":2}`), 0o600))
	require.Equal(t, drawn{Version: usageVersion}, readUsage(l.runDir(whole, 1)))
}

func FuzzUsage(f *testing.F) {
	b, err := json.Marshal(drawn{usageVersion, 1 << 30, 12.5})
	require.NoError(f, err)
	f.Add(b)
	f.Add([]byte(`{"version":1,"joules":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		u := parseUsage(b)
		require.Equal(t, usageVersion, u.Version)
		require.True(t, u.Joules >= 0 && u.PeakMemory >= 0)
	})
}
