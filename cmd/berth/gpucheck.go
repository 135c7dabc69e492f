//go:build !front

package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"

	"github.com/spf13/cobra"

	"berth/backend/base/paths"
	"berth/gpu/check"
	"berth/gpu/nvml/loader"
	"berth/gpu/probe"
	"berth/gpu/probe/child"
)

// gpuCheckCmd compares what Berth reads of this machine's GPUs with nvidia-smi.
func (a *app) gpuCheckCmd() *cobra.Command {
	return &cobra.Command{
		Use: "gpu-check [-for 60s] [-every 1s]", Short: "Compare what Berth reads of this machine's GPUs with nvidia-smi",
		Hidden: true, DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			program, err := probeProgram()
			if err != nil {
				return err
			}
			if program == "" || loader.Built {
				a.exit = check.Main(args, os.Stdout, os.Stderr, child.Portable()...)
				return nil
			}
			// A static build carries the library's loader in a small program, or has one beside it.
			c := exec.CommandContext(cmd.Context(), program, append([]string{"check"}, args...)...)
			c.Stdout, c.Stderr = os.Stdout, os.Stderr
			c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
			signal.Ignore(os.Interrupt) // the program says itself how it ended
			if err := c.Run(); c.ProcessState == nil {
				return fmt.Errorf("comparing the GPUs' figures: starting %s: %w", program, err)
			}
			a.exit = max(c.ProcessState.ExitCode(), 0)
			if !c.ProcessState.Exited() {
				a.exit = 1
			}
			return nil
		},
	}
}

// probeProgram is the best of the small programs that this build has for asking the driver; "" for none.
func probeProgram() (string, error) {
	h, err := paths.Find()
	if err != nil {
		return "", err
	}
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this program's file: %w", err)
	}
	commands, err := probe.Commands(nil, exe, h.Bin())
	if len(commands) == 0 {
		return "", err
	}
	return commands[0][0], nil
}
