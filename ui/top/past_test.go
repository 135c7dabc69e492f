package top

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/gpu"
)

// What is measured now goes into the step that is going on, or begins the next one.
func TestSamplesAreAddedToTheirStep(t *testing.T) {
	at := time.Date(2026, 3, 14, 10, 0, 0, 0, time.UTC)
	p := past{of: item{kind: cpuItem}, metric: "cpu_percent", loaded: true, step: 10 * time.Second,
		points: []gpu.Point{{At: at, Mean: 10, Max: 20}}}
	add := func(sec int, v float64) {
		s := &gpu.Sample{SampledAt: at.Add(time.Duration(sec) * time.Second)}
		s.CPU = &v
		p.add(s)
	}
	add(4, 30)
	add(8, 20)
	require.Equal(t, []gpu.Point{{At: at, Mean: 20, Max: 30}}, p.points)
	add(-1, 99)
	add(10, 50)
	add(11, 70)
	require.Equal(t, []gpu.Point{{At: at, Mean: 20, Max: 30}, {At: at.Add(10 * time.Second), Mean: 60, Max: 70}}, p.points)
	p.add(&gpu.Sample{SampledAt: at.Add(time.Minute)}) // not measured: a gap
	require.Len(t, p.points, 2)
	for i := range 20_000 {
		add(100+10*i, 1)
	}
	require.LessOrEqual(t, len(p.points), 5*points)
}
