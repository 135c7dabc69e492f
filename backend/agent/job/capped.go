package job

import (
	"context"

	"github.com/dustin/go-humanize"

	"berth/backend/agent/job/run"
	"berth/backend/agent/part"
	"berth/backend/agent/process"
	"berth/backend/api"
	"berth/queue"
)

// tooMuch says that a job asks for more memory or processors than there are, or for so little that nothing can run.
func tooMuch(s *queue.Spec) error {
	if s.CPUs == 0 && s.Memory == 0 {
		return nil
	}
	memory, cpus := process.Machine()
	switch {
	case s.CPUs < 0 || s.Memory < 0:
		return nil // Check says so
	case s.CPUs > cpus:
		return api.Errorf(api.CodeUsage, "a job can't have %d CPUs: this instance has %d", s.CPUs, cpus)
	case memory > 0 && s.Memory > memory:
		return api.Errorf(api.CodeUsage, "a job can't have %s of memory: this instance has %s", size(s.Memory), size(memory))
	case s.Memory > 0 && s.Memory < process.LeastMemory:
		return api.Errorf(api.CodeUsage, "a job can't be limited to %s of memory: the least is %s", size(s.Memory),
			size(process.LeastMemory)).WithHint("say it with its unit: --mem 8GB")
	}
	return nil
}

func size(n int64) string { return humanize.IBytes(uint64(n)) }

// uncapped are words for those limits of a job that can't be set here, for who submits it.
func uncapped(ctx context.Context, h *part.Host, s *queue.Spec) []string {
	if why := run.Uncapped(ctx, h, s); why != "" {
		return []string{why}
	}
	return nil
}

// words are causes as the API has them.
func words(causes []queue.Cause) (out []string) {
	for _, c := range causes {
		out = append(out, string(c))
	}
	return out
}
