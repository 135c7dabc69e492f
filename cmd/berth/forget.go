//go:build !front

package main

import (
	"context"

	"berth/backend/api"
	"berth/ui/action"
)

// forgets says what is lost with an adopted machine: the terminals that end, by name.
func forgets(ctx context.Context, c *api.WorkspaceClient, in *api.Instance) string {
	text := in.Name + " was adopted: Berth removes its agent there and touches nothing else."
	if in.Agent != nil && in.Agent.State == "unavailable" {
		return text // there is none, and no terminal outlives its client
	}
	ctx, cancel := context.WithTimeout(ctx, action.LookLimit)
	defer cancel()
	agent := c.Agent(in.ID)
	defer agent.Close()
	d, err := agent.Departure(ctx)
	if err != nil {
		return text + " Which of its terminals would end can't be seen now: " + api.AsError(err).Message
	}
	if stays := action.Stays(d); stays != "" {
		text = in.Name + " was adopted. " + stays
	}
	return text + " " + action.Ends(d)
}
