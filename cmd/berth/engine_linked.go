//go:build !front && !embedagents

package main

import (
	"berth/backend/agent"
	"berth/backend/agent/engine"
)

// playEngine plays the program that speaks to a container engine: a development build has it in itself.
func (a *app) playEngine(args []string, stdio agent.Stdio) (int, error) {
	return engine.Main(args, stdio.Out, stdio.Err), nil
}
