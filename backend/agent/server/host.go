package server

import (
	"context"
	"maps"
	"runtime/debug"
	"time"

	"berth/backend/agent/embedded"
	"berth/backend/agent/part"
	"berth/gpu"
)

// What an agent does for its parts: part.Agent, but for Contain, which each part has of its own.

// Context implements part.Agent.
func (a *Agent) Context() context.Context { return a.ctx }

// Begin implements part.Agent.
func (a *Agent) Begin() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.stopping() {
		return false
	}
	a.streams.Add(1)
	return true
}

// Done implements part.Agent.
func (a *Agent) Done() { a.streams.Done() }

// LoginEnvironment implements part.Agent.
func (a *Agent) LoginEnvironment(ctx context.Context) []string { return a.login.Environment(ctx) }

// Active implements part.Agent.
func (a *Agent) Active() { a.activity.Store(time.Now().UnixNano()) }

// Event implements part.Agent.
func (a *Agent) Event(kind, level, message string) { a.events.add(kind, level, message) }

// Grace implements part.Agent.
func (a *Agent) Grace() time.Duration { return time.Duration(a.grace.Load()) }

// Processes implements part.Agent.
func (a *Agent) Processes() []part.Process {
	var out []part.Process
	for _, p := range a.parts {
		if p.Processes != nil {
			out = append(out, p.Processes()...)
		}
	}
	return out
}

// GPUs implements part.Agent.
func (a *Agent) GPUs() map[string]gpu.Use {
	out := map[string]gpu.Use{}
	for _, p := range a.parts {
		if p.GPUs != nil {
			maps.Copy(out, p.GPUs())
		}
	}
	return out
}

// Watch implements part.Agent.
func (a *Agent) Watch(ctx context.Context, every time.Duration) (<-chan *gpu.Sample, func()) {
	for _, p := range a.parts {
		if p.Watch != nil {
			return p.Watch(ctx, every)
		}
	}
	none := make(chan *gpu.Sample)
	close(none)
	return none, func() {}
}

// ShimCommand implements part.Agent: the small program where this build has it, else this program in that role.
func (a *Agent) ShimCommand(id string) []string {
	if path := a.shim(); path != "" {
		return []string{path, id}
	}
	return part.Command(a.host.Exe, "shim", id)
}

// embeddedShim writes the embedded shim out and returns its path; "" where there is none or it can't be run.
func (a *Agent) embeddedShim() string {
	path, err := embedded.Shim(a.c.BinDir())
	if path != "" || err != nil {
		debug.FreeOSMemory() // once: unpacking took more than all the rest does
	}
	if err != nil {
		a.c.Log.Warn("the small shim can't be used, this program plays its part", "err", err)
	}
	return path
}
