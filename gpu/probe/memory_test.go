package probe

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/gpu"
	"berth/gpu/nvmltest"
)

func TestMemory(t *testing.T) {
	var m memory
	reading := func(gpus ...gpu.GPU) *gpu.Reading { return &gpu.Reading{DriverVersion: "1", GPUs: gpus} }
	a, b, c := gpu.GPU{Index: 0, UUID: "a", Name: "A"}, gpu.GPU{Index: 1, UUID: "b", Name: "B"},
		gpu.GPU{Index: 2, UUID: "c", Name: "C"}
	hit := b
	hit.LastXID = &gpu.XID{Code: 79, At: time.Unix(5, 0)}
	r := reading(a, hit, c)
	m.complete(r)
	require.Len(t, r.GPUs, 3)

	// Another child: the driver refuses the handle.
	r = reading(a, gpu.GPU{Index: 1, Error: "lost"}, c)
	m.complete(r)
	require.Equal(t, "b", r.GPUs[1].UUID)
	require.Equal(t, "lost", r.GPUs[1].Error)
	require.Equal(t, 79, r.GPUs[1].LastXID.Code)

	// Or the driver has forgotten it, and the last one has moved up.
	moved := c
	moved.Index = 1
	r = reading(a, moved)
	m.complete(r)
	require.Len(t, r.GPUs, 3)
	require.Equal(t, []string{"a", "c", "b"}, []string{r.GPUs[0].UUID, r.GPUs[1].UUID, r.GPUs[2].UUID})
	require.Equal(t, 2, r.GPUs[2].Index)
	require.Equal(t, gone, r.GPUs[2].Error)
	require.Equal(t, 79, r.GPUs[2].LastXID.Code)

	// It is back.
	r = reading(a, b, c)
	m.complete(r)
	require.Len(t, r.GPUs, 3)
	require.Empty(t, r.GPUs[1].Error)
	require.Equal(t, 79, r.GPUs[1].LastXID.Code)

	// Another driver begins anew.
	r = &gpu.Reading{DriverVersion: "2", GPUs: []gpu.GPU{a}}
	m.complete(r)
	require.Len(t, r.GPUs, 1)
}

// What happened to a GPU is still known when the child that saw it is gone.
func TestXIDOutlivesTheChild(t *testing.T) {
	f := driver(t, nvmltest.Scenario{GPUs: nvmltest.A100s(2)})
	p := open(t, options(t, "probe", f.Env()...))
	until(t, p, "figures", fresh)
	f.Change(func(s *nvmltest.Scenario) { s.Events = []nvmltest.Event{{GPU: 1, Code: 79}} })
	s := until(t, p, "the XID", func(s State) bool { return s.Reading.GPUs[1].LastXID != nil })
	require.NoError(t, syscall.Kill(s.PID, syscall.SIGKILL))
	f.Change(func(s *nvmltest.Scenario) { s.GPUs = s.GPUs[:1] })
	s = until(t, p, "figures of the next child", func(n State) bool { return fresh(n) && n.PID != s.PID })
	require.Len(t, s.Reading.GPUs, 2)
	require.Equal(t, nvmltest.A100(1).UUID, s.Reading.GPUs[1].UUID)
	require.Equal(t, gone, s.Reading.GPUs[1].Error)
	require.Equal(t, 79, s.Reading.GPUs[1].LastXID.Code)
}
