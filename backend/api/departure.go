package api

import (
	"context"
	"slices"
)

// Departure is what ends and what stays on an adopted machine when the home that asks forgets it.
type Departure struct {
	Ends   []Terminal // that end
	Others []HomeUse  // who uses the agent, too: then it stays, with their terminals
	// Commands is how many run through the agent. Those of the home that asks end; whose they are is not known.
	Commands int
	Jobs     JobCounts // that end with the agent: none where it stays
	Services int       // the same
}

// Departure says what would end. An agent of a build from before knows of no others, and all of its terminals end.
func (c *AgentClient) Departure(ctx context.Context) (Departure, error) {
	var d Departure
	info, err := c.Info(ctx)
	if err != nil {
		return d, err
	}
	d.Commands = info.Execs
	if d.Ends, err = c.Terminals(ctx); err != nil {
		return d, err
	}
	d.Others = slices.DeleteFunc(info.Homes, func(u HomeUse) bool { return u.Own })
	if len(d.Others) > 0 {
		d.Ends = slices.DeleteFunc(d.Ends, func(t Terminal) bool { return !t.Own })
	} else {
		d.Jobs, d.Services = info.Jobs, info.Services
	}
	return d, nil
}
