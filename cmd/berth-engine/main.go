// Command berth-engine runs the container of a job. The agent starts it; it is put on an instance at the first job with
// an image. See package engine.
package main

import (
	"os"

	"berth/backend/agent/engine"
)

func main() { os.Exit(engine.Main(os.Args[1:], os.Stdout, os.Stderr)) }
