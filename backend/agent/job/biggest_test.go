package job

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/gpu"
)

func TestWhoHasTheMemory(t *testing.T) {
	n := func(v int64) *int64 { return &v }
	zero, one := 0, 1
	s := &gpu.Sample{GPUs: []gpu.GPU{{UUID: "GPU-a"}, {UUID: "GPU-b", Index: 1}}, Processes: []gpu.Process{
		{PID: 1, User: "ann", Command: "/usr/bin/python train.py", GPUIndex: &zero, GPUMemory: n(1 << 30), Memory: n(9 << 30),
			Owner: gpu.Owner{Kind: "job", ID: "4"}},
		{PID: 2, User: "bob", Command: "/usr/bin/python eat.py", GPUIndex: &zero, GPUMemory: n(60 << 30), Memory: n(2 << 30)},
		{PID: 2, User: "bob", Command: "/usr/bin/python eat.py", GPUIndex: &one, GPUMemory: n(70 << 30), Memory: n(2 << 30)},
		{PID: 3, User: "eve", Command: "small", GPUIndex: &zero, GPUMemory: n(1 << 20), Memory: n(1 << 20)}}}
	require.Equal(t, "python eat.py of bob (process 2, 60 GiB)", besideOf(s, "4", []string{"GPU-a"}))
	require.Equal(t, "python eat.py of bob (process 2, 60 GiB), python train.py of ann (process 1, 1.0 GiB)",
		besideOf(s, "5", []string{"GPU-a"}))
	require.Empty(t, besideOf(s, "4", nil))
	c := make(chan *gpu.Sample, 1)
	c <- s
	watch := func(context.Context, time.Duration) (<-chan *gpu.Sample, func()) { return c, func() {} }
	require.Equal(t, "python train.py of ann (process 1, 9.0 GiB), python eat.py of bob (process 2, 2.0 GiB)",
		biggest(t.Context(), watch))
	require.Contains(t, hintOf("exit", 0, "python of bob", []byte("CUDA out of memory")), "; beside it had python of bob")
}
