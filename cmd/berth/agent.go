//go:build !front

package main

import (
	"context"
	"os"
	"runtime"

	"github.com/spf13/cobra"

	"berth/assets"
	"berth/backend/agent"
	"berth/backend/base/paths"
	"berth/backend/transport/ssh"
)

// agentCmd runs the agent and its parts in a development build, where the whole program plays them.
func (a *app) agentCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "agent", Short: "What runs on an instance", Hidden: true, DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			stdio := agent.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
			if len(args) > 0 && args[0] == "engine" {
				var err error
				a.exit, err = a.playEngine(args[1:], stdio)
				return err
			}
			a.exit = agent.Main(args, stdio)
			return nil
		},
	}
	cmd.AddCommand(a.gpuCheckCmd())
	return cmd
}

// engineProgram is the compressed program that runs containers, which is put on instances.
func engineProgram(goos, goarch string) ([]byte, bool) {
	if p := os.Getenv("BERTH_TEST_ENGINE"); p != "" { // a development build carries none
		b, err := os.ReadFile(p)
		return b, err == nil && goos == runtime.GOOS && goarch == runtime.GOARCH
	}
	return assets.Engine(goos, goarch)
}

// binaries finds the programs to put on other hosts.
func binaries(h paths.Home) *ssh.Binaries {
	b := &ssh.Binaries{Home: h, Executable: func() (string, error) { return h.Program("berth") },
		Embedded: embeddedAgent(h)}
	if p := os.Getenv("BERTH_TEST_AGENT"); p != "" { // tests have it built once, and not for each of their homes
		b.Embedded = func(_ context.Context, goos, goarch string) (string, bool, error) {
			return p, goos == runtime.GOOS && goarch == runtime.GOARCH, nil
		}
	}
	return b
}
