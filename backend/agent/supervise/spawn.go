package supervise

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
)

// Spawn starts a supervisor for the folder by its command line (`berth agent parent`, without the
// folder) and returns once it is in charge: it carries out the request it finds, or runs the agent.
// With finish it never does the latter. Where one lives already, that is fine. What is spawned
// belongs to nobody.
func Spawn(ctx context.Context, command []string, d Dir, finish bool) error {
	args := append(slices.Clone(command[1:]), string(d))
	if finish {
		args = append(args, finishWord)
	}
	log, err := os.OpenFile(d.Log(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the supervisor's log: %w", err)
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := exec.Command(command[0], args...)
	cmd.Dir = "/"
	cmd.Env = outside(os.Environ())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		return fmt.Errorf("starting the supervisor %s: %w", command[0], err)
	}
	go func() { _ = cmd.Wait() }() // reaps it, if this process lives longer
	stop := context.AfterFunc(ctx, func() { _ = r.Close() })
	defer stop()
	line, err := bufio.NewReader(io.LimitReader(r, 4<<10)).ReadString('\n')
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("the supervisor ended at once; its log is %s: %w", d.Log(), err)
	case line != readyLine:
		return errors.New(strings.TrimSpace(line))
	}
	return nil
}

const readyLine = "ready\n"

// outside is an environment without the marks of an instance: whoever starts a supervisor may be
// inside one, and what it supervises is not. What says where this host's GPU driver and leases are stays.
func outside(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return strings.HasPrefix(name, "BERTH_") && !slices.Contains(hostVariables, name)
	})
}

// hostVariables are read by the GPU probe and by who shares GPUs with other users.
var hostVariables = []string{"BERTH_NVML_LIBRARY", "BERTH_NVIDIA_SMI", "BERTH_GPU_SOURCE", "BERTH_PROBE", "BERTH_LEASES"}
