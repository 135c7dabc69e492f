//go:build !linux

package process

import (
	"context"
	"os"
)

// Shims are those of an agent. Here each keeps one process.
type Shims struct{}

// Line is an agent's line to a shim. Here there is none: it is nil.
type Line struct{ Record Record }

// Start is the function Start.
func (*Shims) Start(ctx context.Context, command, env []string, spec any, log *os.File, files ...*os.File,
) (*Line, error) {
	return nil, Start(ctx, command, env, spec, log, files...)
}

// Close does nothing.
func (*Shims) Close() {}

// Exit is not called.
func (*Line) Exit(context.Context) (Exit, bool) { return Exit{}, false }

// Alone is not called.
func (*Line) Alone(context.Context) bool { return false }

// Release is not called.
func (*Line) Release() {}

// Drop is not called.
func (*Line) Drop() {}

// ToAgent is a shim's side of a line.
type ToAgent struct{}

// OpenLine returns nil.
func OpenLine() *ToAgent { return nil }

// Next is not called.
func (*ToAgent) Next(any) ([]*os.File, error) { return nil, os.ErrInvalid }

// Say is not called.
func (*ToAgent) Say(Said) {}
