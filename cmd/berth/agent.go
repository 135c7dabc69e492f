package main

import (
	"os"

	"github.com/spf13/cobra"

	"berth/backend/agent"
	"berth/backend/base/paths"
	"berth/backend/transport/ssh"
)

// agentCmd runs the agent and its parts in a development build, where the whole program plays them.
func (a *app) agentCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "agent", Short: "What runs on an instance", Hidden: true, DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			a.exit = agent.Main(args, agent.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
			return nil
		},
	}
	cmd.AddCommand(a.gpuCheckCmd())
	return cmd
}

// binaries finds the programs to put on other hosts.
func binaries(h paths.Home) *ssh.Binaries {
	return &ssh.Binaries{Home: h, Executable: func() (string, error) { return h.Program("berth") },
		Embedded: embeddedAgent(h)}
}
