//go:build !embedagents

package assets

// Agent returns nothing: a development build carries no agents.
func Agent(string, string) ([]byte, bool) { return nil, false }

// Engine returns nothing: a development build plays that program itself.
func Engine(string, string) ([]byte, bool) { return nil, false }
