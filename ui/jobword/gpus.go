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
