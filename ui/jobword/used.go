package jobword

import (
	"fmt"

	"berth/backend/api"
	"berth/ui/money"
)

// GPUUsed says what a job has used of its GPUs: "30.0 s of GPUs, at most 12.0 GiB of their memory, 1.2 Wh"; "" where it
// had none.
func GPUUsed(j *api.Job) string {
	if j.GPUSeconds <= 0 {
		return ""
	}
	s := fmt.Sprintf("%.1f s of GPUs", j.GPUSeconds)
	if n := j.PeakGPUMemoryBytes; n > 0 {
		s += ", at most " + money.Bytes(n) + " of their memory"
	}
	if e := j.GPUEnergyJoules; e > 0 {
		s += ", " + money.Energy(e)
	}
	return s
}
