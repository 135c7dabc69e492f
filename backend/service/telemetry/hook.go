package telemetry

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"time"

	"berth/backend/api"
)

// hookLimit is how long a hook may run.
const hookLimit = 30 * time.Second

// Hook runs a command line of sh for a finding, with what it is in BERTH_INSTANCE, BERTH_FINDING (its id), BERTH_RULE,
// BERTH_SEVERITY, BERTH_SUBJECT, BERTH_TEXT and BERTH_ADVICE. What it says when it fails is logged.
func Hook(command string, log *slog.Logger) func(ctx context.Context, in *api.Instance, f *api.Attention) {
	return func(ctx context.Context, in *api.Instance, f *api.Attention) {
		ctx, cancel := context.WithTimeout(ctx, hookLimit)
		defer cancel()
		cmd := exec.CommandContext(ctx, "sh", "-c", command)
		cmd.WaitDelay = time.Second
		cmd.Env = os.Environ()
		for name, v := range map[string]string{"INSTANCE": in.Name, "FINDING": f.ID, "RULE": f.Rule, "SEVERITY": f.Severity, "SUBJECT": f.Subject, "TEXT": f.Text, "ADVICE": f.Advice} {
			cmd.Env = append(cmd.Env, "BERTH_"+name+"="+strings.ReplaceAll(v, "\x00", ""))
		}
		out, err := cmd.CombinedOutput()
		if err != nil && ctx.Err() == nil {
			log.Warn("the hook for what wants attention failed", "instance", in.Name, "finding", f.ID, "error", err, "output", strings.TrimSpace(string(out[:min(len(out), 500)])))
		}
	}
}
