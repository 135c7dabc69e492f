package telemetry

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"strings"
	"time"

	"berth/backend/api"
)

// hookLimit is how long a hook may run.
const hookLimit = 30 * time.Second

// hookParallel is how many hooks run at once: when a switch fails, every instance has a finding in the same second, and
// each hook is a process.
const hookParallel = 4

// hookCall is a finding for which the hook is to be called.
type hookCall struct {
	host    *host
	in      api.Instance // as it was when the finding was new
	finding api.Attention
	known   bool // it was called for the same finding of another instance: this only is noted
}

// callHook has the hook called for a finding. h.mu must be held.
func (h *Hub) callHook(c hookCall) {
	h.calls = append(h.calls, c)
	if h.calling < hookParallel && h.ctx.Err() == nil {
		h.calling++
		h.wg.Go(h.runHooks)
	}
}

// runHooks calls the hook for what waits, until nothing does or the hub ends. What the hook was called for is noted
// when it has been: the next daemon calls it for the rest.
func (h *Hub) runHooks() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.calls) > 0 && h.ctx.Err() == nil {
		c := h.calls[0]
		h.calls = h.calls[1:]
		h.mu.Unlock()
		if !c.known {
			h.o.Hook(h.ctx, &c.in, &c.finding)
		}
		h.mu.Lock()
		if h.ctx.Err() != nil {
			break // it may have been ended in the middle
		}
		now := h.o.Now()
		old := func(_ string, since time.Time) bool { return now.Sub(since) > toldFor }
		maps.DeleteFunc(c.host.told, old)
		maps.DeleteFunc(c.host.kept, old)
		if c.host.kept == nil {
			c.host.kept = map[string]time.Time{}
		}
		c.host.kept[c.finding.ID] = c.finding.Since
		told := maps.Clone(c.host.kept)
		h.mu.Unlock()
		if err := h.o.Workspace.KeepTold(h.ctx, c.in.ID, told); err != nil && h.ctx.Err() == nil {
			h.o.Log.Warn("noting what the hook was called for", "instance", c.in.Name, "error", err)
		}
		h.mu.Lock()
	}
	h.calling--
}

// Hook runs a command line of sh for a finding, with what it is in BERTH_INSTANCE, BERTH_FINDING (its id), BERTH_RULE,
// BERTH_SEVERITY, BERTH_SUBJECT, BERTH_TEXT and BERTH_ADVICE. What it says when it fails is logged.
func Hook(command string, log *slog.Logger) func(ctx context.Context, in *api.Instance, f *api.Attention) {
	return func(ctx context.Context, in *api.Instance, f *api.Attention) {
		ctx, cancel := context.WithTimeout(ctx, hookLimit)
		defer cancel()
		cmd := exec.CommandContext(ctx, "sh", "-c", command)
		cmd.WaitDelay = time.Second
		cmd.Env = os.Environ()
		for name, v := range map[string]string{"INSTANCE": in.Name, "FINDING": f.ID, "RULE": f.Rule, "SEVERITY": f.Severity,
			"SUBJECT": f.Subject, "TEXT": f.Text, "ADVICE": f.Advice} {
			cmd.Env = append(cmd.Env, "BERTH_"+name+"="+strings.ReplaceAll(v, "\x00", ""))
		}
		out, err := cmd.CombinedOutput()
		if err != nil && ctx.Err() == nil {
			log.Warn("the hook for what wants attention failed", "instance", in.Name, "finding", f.ID, "error", err, "output",
				strings.TrimSpace(string(out[:min(len(out), 500)])))
		}
	}
}
