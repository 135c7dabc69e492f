package telemetry

import (
	"context"
	"fmt"
	"strings"
	"time"

	"berth/backend/api"
	"berth/gpu"
)

// checkLimit is how long an instance may take to say how it is measured.
const checkLimit = 5 * time.Second

// Check says of every instance that runs, and that may be seen, where its figures come from, and what can't be
// measured or kept.
func (h *Hub) Check(ctx context.Context, see func(id string) bool) []api.Check {
	ctx, cancel := context.WithTimeout(h.o.Workspace.Background(ctx), checkLimit)
	defer cancel()
	checks := make([]*api.Check, 0)
	begin := func(all []api.Instance) { checks = make([]*api.Check, len(all)) }
	h.eachUsable(ctx, see, begin, func(i int, in *api.Instance, client *api.AgentClient) {
		c := &api.Check{Area: "figures", Name: in.Name, Status: "ok"}
		checks[i] = c
		s, err := client.Figures(ctx, api.ProcessSearch{})
		if err != nil {
			c.Status, c.Message = "warn", "its agent gives no figures: "+api.AsError(err).Message
			return
		}
		c.Message = sources(&s)
		if s.GPUsStaleSince != nil || (s.GPUError != "" && s.GPUSource != "") {
			c.Status = "warn"
		}
		info, ahead, err := client.InfoAndClock(ctx)
		if err != nil {
			return
		}
		if ahead != 0 {
			info.Warnings = append(info.Warnings, "its clock is "+api.ClockText(ahead))
		}
		if len(info.Warnings) > 0 {
			c.Status, c.Message = "warn", c.Message+"; "+strings.Join(info.Warnings, "; ")
		}
	})
	var out []api.Check
	for _, c := range checks {
		if c != nil {
			out = append(out, *c)
		}
	}
	return out
}

// sources says in words where a sample comes from.
func sources(s *gpu.Sample) string {
	gpus := "no GPU"
	switch len(s.GPUs) {
	case 0:
	case 1:
		gpus = "1 GPU"
	default:
		gpus = fmt.Sprintf("%d GPUs", len(s.GPUs))
	}
	if s.GPUSource != "" {
		gpus += " by " + s.GPUSource
	}
	if s.DriverVersion != "" {
		gpus += ", driver " + s.DriverVersion
	}
	if s.GPUError != "" {
		gpus += " (" + s.GPUError + ")"
	}
	return fmt.Sprintf("%s; %d processes, %d file systems", gpus, s.ProcessCount, len(s.Disks))
}
