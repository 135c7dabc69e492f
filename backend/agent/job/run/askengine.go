package run

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"berth/backend/agent/container"
	"berth/backend/agent/part"
	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/queue"
)

// checkLimit is how long a look for the engine may take.
const checkLimit = 15 * time.Second

// AskEngine runs the program that speaks to a container engine, and returns what it prints.
func AskEngine(ctx context.Context, h *part.Host, word string, s container.Spec, limit time.Duration) ([]byte, error) {
	args, err := s.Args(word, nil)
	if err != nil {
		return nil, err
	}
	argv, err := h.EngineCommand(args...)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(limited, argv[0], argv[1:]...)
	cmd.Env, cmd.Dir, cmd.WaitDelay = h.Environment(ctx, nil, false, ""), "/", time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if words := plaintext.Short(strings.TrimPrefix(errs.String(), "berth: "), 500); words != "" {
			return nil, fmt.Errorf("%s", words)
		}
		return nil, fmt.Errorf("%s: %w", argv[0], err)
	}
	return out.Bytes(), nil
}

// CheckImage says why a job's container could not be run here, for the submit. host is where the engine listens, as it
// was set; gpus are UUIDs that the job may get.
func CheckImage(ctx context.Context, h *part.Host, s *queue.Spec, host string, gpus []string) error {
	if s.Image == "" {
		return nil
	}
	if s.Request.GPUs == 0 {
		gpus = nil
	}
	b, err := AskEngine(ctx, h, container.WordCheck, container.Spec{Image: s.Image, Host: host, GPUs: gpus}, checkLimit)
	if err != nil {
		if api.AsError(err).Code == api.CodeNoEngine {
			return err
		}
		return api.Errorf(api.CodeFailed, "looking for the container engine: %w", err)
	}
	var a container.Answer
	if err := json.Unmarshal(b, &a); err != nil {
		return api.Errorf(api.CodeFailed, "looking for the container engine: its answer can't be read: %w", err)
	}
	switch {
	case a.Problem == "":
		return nil
	case a.Usage:
		return api.Errorf(api.CodeUsage, "%s", a.Problem).WithHint("%s", a.Hint)
	}
	return api.Errorf(api.CodeFailed, "%s", a.Problem).WithHint("%s", a.Hint)
}
