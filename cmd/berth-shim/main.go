// Command berth-shim holds one terminal; the agent starts it. See package shim.
package main

import (
	"os"

	"berth/backend/agent/shim"
)

func main() { os.Exit(shim.Main(os.Args[1:])) }
