package job

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"berth/gpu"
)

const (
	// biggestNamed is how many of those who have most memory are named, and biggestLeast from how many bytes on.
	biggestNamed = 3
	biggestLeast = 100 << 20
	// biggestWait is how long a look at the processes may take.
	biggestWait = 3 * time.Second
)

// besideOf names who else than a job has memory of GPUs, which are given by their UUIDs; "": nobody much.
func besideOf(s *gpu.Sample, job string, uuids []string) string {
	on := map[int]bool{}
	for i := range s.GPUs {
		g := &s.GPUs[i]
		if slices.Contains(uuids, g.UUID) || slices.ContainsFunc(g.MIG, func(m gpu.MIG) bool {
			return slices.Contains(uuids, m.UUID)
		}) {
			on[g.Index] = true
		}
	}
	return mostMemory(s.Processes, func(p *gpu.Process) *int64 {
		if p.GPUIndex == nil || !on[*p.GPUIndex] || p.Owner.Kind == "job" && p.Owner.ID == job {
			return nil
		}
		return p.GPUMemory
	})
}

// biggest names who has most of the machine's memory now; "": it can't be told.
func biggest(ctx context.Context, watch func(context.Context, time.Duration) (<-chan *gpu.Sample, func())) string {
	ctx, cancel := context.WithTimeout(ctx, biggestWait)
	defer cancel()
	samples, stop := watch(ctx, time.Second)
	defer stop()
	select {
	case s, ok := <-samples:
		if ok {
			return mostMemory(s.Processes, func(p *gpu.Process) *int64 { return p.Memory })
		}
	case <-ctx.Done():
	}
	return ""
}

// mostMemory names the processes that have most.
func mostMemory(list []gpu.Process, of func(*gpu.Process) *int64) string {
	var most []*gpu.Process
	seen := map[int]bool{}
	for i := range list {
		p := &list[i]
		if n := of(p); n != nil && *n >= biggestLeast && !seen[p.PID] {
			seen[p.PID] = true
			most = append(most, p)
		}
	}
	slices.SortStableFunc(most, func(a, b *gpu.Process) int { return cmp.Compare(*of(b), *of(a)) })
	var out []string
	for _, p := range most[:min(len(most), biggestNamed)] {
		out = append(out, fmt.Sprintf("%s of %s (process %d, %s)", shortCommand(p.Command), p.User, p.PID,
			humanize.IBytes(uint64(*of(p)))))
	}
	return strings.Join(out, ", ")
}
