package jobword

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize/english"

	"berth/backend/api"
	"berth/ui/money"
)

// GPUs says which GPUs a job has or had, by their numbers, or how many it waits for; "" where nothing is known of any.
func GPUs(j *api.Job) string {
	share, g := "", j.Requested.GPUs
	switch n := j.Requested.GPUMemoryBytes; {
	case n > 0 && (len(j.GPUs) > 1 || g != nil && *g > 1):
		share = fmt.Sprintf(" (%s of the memory of each)", money.Bytes(n))
	case n > 0:
		share = fmt.Sprintf(" (%s of its memory)", money.Bytes(n))
	}
	if len(j.GPUs) > 0 {
		names := make([]string, len(j.GPUs))
		for i, n := range j.GPUs {
			names[i] = strconv.Itoa(n)
			if i < len(j.GPUUUIDs) && strings.HasPrefix(j.GPUUUIDs[i], "MIG-") {
				names[i] += " (" + j.GPUUUIDs[i] + ")"
			}
		}
		return "number " + strings.Join(names, ", ") + share
	}
	switch {
	case g == nil:
		return ""
	case *g == 0:
		return "none"
	}
	return english.Plural(*g, "GPU", "") + share
}

// HasGPUs reports whether a job has GPUs now.
func HasGPUs(j *api.Job) bool {
	return len(j.GPUs) > 0 && !j.State.Done() && j.State != api.JobQueued && j.State != api.JobHeld
}

// OnGPUs says in a few letters which GPUs a job has now: "GPU 0, 3"; "" where it has none.
func OnGPUs(j *api.Job) string {
	if !HasGPUs(j) {
		return ""
	}
	names := make([]string, len(j.GPUs))
	for i, n := range j.GPUs {
		names[i] = strconv.Itoa(n)
	}
	return "GPU " + strings.Join(names, ", ")
}

// Limits says what a job may use at the most, and in how many processes of its own it runs; "" where nothing was said.
func Limits(j *api.Job) string {
	var out []string
	r := &j.Requested
	if r.Ranks > 0 {
		out = append(out, english.Plural(r.Ranks, "rank", ""))
	}
	if r.CPUs > 0 {
		out = append(out, english.Plural(r.CPUs, "CPU", ""))
	}
	if r.MemoryBytes > 0 {
		out = append(out, money.Bytes(r.MemoryBytes)+" of memory")
	}
	return strings.Join(out, ", ")
}
