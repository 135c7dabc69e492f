// Command berth-shim keeps one process that outlives the agent, with a terminal or without. The agent starts it.
// See packages shim and, below it, process.
package main

import (
	"os"

	"berth/backend/agent/shim"
)

func main() { os.Exit(shim.Main(os.Args[1:])) }
