// Command berth-agent is the agent alone, for instances: small, static, with no dashboard, no store
// and no cloud in it. Its subcommands are those of `berth agent`.
package main

import (
	"os"

	"berth/backend/agent"
)

func main() {
	os.Exit(agent.Main(os.Args[1:], agent.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
