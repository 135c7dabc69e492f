//go:build embedagents

package assets

import "embed"

//go:embed agents/*.zst
var agentFS embed.FS

// Agent returns the zstd-compressed agent for a system and architecture (in Go's names), if this build
// carries one. `make dist` makes such builds.
func Agent(goos, goarch string) ([]byte, bool) {
	b, err := agentFS.ReadFile("agents/berth-agent-" + goos + "-" + goarch + ".zst")
	return b, err == nil
}

// Engine returns the zstd-compressed program that speaks to container engines, for a system and architecture, if this
// build carries one.
func Engine(goos, goarch string) ([]byte, bool) {
	b, err := agentFS.ReadFile("agents/berth-engine-" + goos + "-" + goarch + ".zst")
	return b, err == nil
}
