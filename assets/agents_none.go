//go:build !embedagents

package assets

// Agent returns nothing: a development build carries no agents.
func Agent(string, string) ([]byte, bool) { return nil, false }
