package main

import (
	"context"

	"github.com/spf13/cobra"

	"berth/backend/agent"
	"berth/backend/home"
	"berth/backend/remote"
)

// agentCmd runs the agent and its parts in a development build, where the whole program plays them.
func (a *app) agentCmd() *cobra.Command {
	return &cobra.Command{
		Use: "agent", Short: "What runs on an instance", Hidden: true, DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			a.exit = agent.Main(args, a.in, a.out, a.err)
			return nil
		},
	}
}

// agentBinary says which program to put on hosts of a system.
func agentBinary(h home.Home) func(context.Context, string, string) (string, error) {
	return remote.Binaries{Home: h}.Find
}
