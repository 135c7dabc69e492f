package jobword

import (
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

func TestGPUs(t *testing.T) {
	asked := func(n int, memory int64) api.JobRequested {
		return api.JobRequested{GPUs: &n, GPUMemoryBytes: memory}
	}
	for want, j := range map[string]api.Job{
		"":                                       {},
		"none":                                   {Requested: asked(0, 0)},
		"2 GPUs":                                 {Requested: asked(2, 0)},
		"1 GPU (2.0 GiB of its memory)":          {Requested: asked(1, 2<<30)},
		"2 GPUs (2.0 GiB of the memory of each)": {Requested: asked(2, 2<<30)},
		"number 0, 3":                            {Requested: asked(2, 0), GPUs: []int{0, 3}},
		"number 3 (MIG-x)":                       {Requested: asked(1, 0), GPUs: []int{3}, GPUUUIDs: []string{"MIG-x"}},
		"number 3 (2.0 GiB of its memory)":       {Requested: asked(1, 2<<30), GPUs: []int{3}},
	} {
		require.Equal(t, want, GPUs(&j))
	}
}
