package main

import (
	"os"

	"github.com/spf13/cobra"

	"berth/gpu/probe/child"
)

// agentProbeCmd is the GPU probe, where there is no small program for it: a development build plays that part too.
func (a *app) agentProbeCmd() *cobra.Command {
	return &cobra.Command{
		Use: "probe", Short: "Print what the GPUs show as lines of JSON", Hidden: true, DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			a.exit = child.Main(args, os.Stdin, os.Stdout, os.Stderr, child.Portable()...)
			return nil
		},
	}
}
