// Package part says what a part of the agent is, and what the agent gives to each.
//
// A part is one feature on an instance: commands, terminals, set-ups, figures. It has a package of its own with a
// function New(*Host) Part, which stands in the list of package agent, and nothing else of the agent knows it. No part
// imports another: what one must know of the others (whose a process is) goes through Host. A test keeps it so.
package part

import (
	"context"
	"time"

	"berth/backend/api"
	"berth/gpu"
)

// Part is one feature of the agent. Every function may be nil. A panic in one of them, or in a handler, is logged and
// shown; it ends neither the agent nor another part.
type Part struct {
	// Name is what it is called in errors, warnings and the log: "terminals".
	Name string
	// Routes are what it serves. They are wanted for the API's description, too, where the Host is empty.
	Routes []api.Route
	// Start begins its work before the first request is served, and returns soon. ctx ends with the agent, later than
	// its last stream. Where it fails, the agent serves the other parts: the routes of this one answer with the
	// reason, and it stands in the agent's warnings.
	Start func(ctx context.Context) error
	// Drain leaves the instance to a newer agent: from its return on, nothing on disk is read or written any more, and
	// no new work begins. Streams that run go on, to their end. A part with a Drain serves no request afterwards.
	Drain func()
	// Stop ends its work when the agent ends: before the streams are ended, or after the last one where the part was
	// drained. What runs outside the agent (terminals, jobs, steps) goes on.
	Stop func()
	// End ends what runs outside the agent, for an instance that is stopped with all that runs on it. It comes before
	// Stop, and has grace between asking and forcing.
	End func(ctx context.Context, grace time.Duration) error
	// Leave ends what runs outside the agent for one of Berth's homes, by its id; what others use goes on.
	Leave func(ctx context.Context, home string, grace time.Duration) error
	// Info adds what the part has to say to what the agent says of itself.
	Info func(*api.AgentInfo)
	// Processes lists those that the part has started outside the agent, with all that descends from them.
	Processes func() []Process
	// GPUs says who has the GPUs, by their UUIDs, as far as the part knows. It does not block.
	GPUs func() map[string]gpu.Use
	// Watch gives what the host shows, now and then every so often, until the function that it returns is called or ctx
	// ends; the channel is closed then. One part has it.
	Watch func(ctx context.Context, every time.Duration) (<-chan *gpu.Sample, func())
}

// Process is what a part has started outside the agent, a shim and its shell, say.
type Process struct {
	Kind string // as figures show it: terminal
	ID   string
	PIDs []int  // its main processes
	Mark string // the variable, NAME=value, that only its processes have; may be empty
}

// Worked notes in an agent's answer that somebody or something was at work at t.
func Worked(i *api.AgentInfo, t time.Time) {
	if t.After(i.LastActivity) {
		i.LastActivity = t.UTC()
	}
}
