package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"berth/backend/api"
	"berth/backend/transport/wire"
)

// How long is asked what has become of a command whose stream broke: a word is due soon, unless the line is up and an
// agent is being started again.
const (
	askDown  = time.Second
	askFirst = 2 * time.Second
	askUp    = 8 * time.Second
)

// brokeOff says why the stream of a command ended without a word, and what has become of the command there.
func (a *app) brokeOff(ctx context.Context, c *api.WorkspaceClient, name string, began wire.Start, e *api.Error) error {
	limit, why := askFirst, downReason(ctx, c, name) // before it is tried again, which may fail for another reason
	if why != "" {
		limit = askDown
	}
	st, known := execState(ctx, limit, c, name, began)
	if !known && why == "" {
		if why = downReason(ctx, c, name); why == "" {
			st, _ = execState(ctx, askUp, c, name, began)
		}
	}
	line := e.Message
	if why != "" {
		line = fmt.Sprintf("the line to %s broke: %s", name, strings.TrimRight(why, "."))
	}
	outlives := fmt.Sprintf("; what is run in berth ssh %s outlives the line", name)
	switch {
	case !st.SameAgent:
		line = fmt.Sprintf("the agent of %s went away while the command ran (it was killed, or crashed)", name)
		switch st.State {
		case api.ExecRuns:
			return api.Errorf(e.Code, "%s: the command runs on there, until it needs its input or output", line).
				WithHint("it is process %[1]d there: berth exec %[2]s -- sh -c 'kill -- -%[1]d' ends it", st.PID, name)
		case api.ExecEnded:
			return api.Errorf(e.Code, "%s, and the command has ended by now", line).WithHint("run it again%s", outlives)
		}
		return api.Errorf(e.Code, "%s; whether the command runs on can't be told", line).
			WithHint("berth top %s lists what runs there", name)
	case st.State == api.ExecEnded:
		return api.Errorf(e.Code, "%s; the command has ended there", line).WithHint("run it again%s", outlives)
	case st.HungUp:
		return api.Errorf(e.Code, "%s; the command was told to end (SIGHUP)", line).WithHint("run it again%s", outlives)
	case st.State == api.ExecRuns:
		return api.Errorf(e.Code, "%s; the command runs there still", line).
			WithHint("it is told to end (SIGHUP) as soon as the instance sees that the line is gone%s", outlives)
	}
	return api.Errorf(e.Code, "%s; what has become of the command is not known", line).
		WithHint("if only the line broke, it is told to end (SIGHUP) as soon as the instance sees that%s", outlives)
}

// instanceWent says that somebody ends, or has ended, the instance itself, and how; "" where nobody does.
func instanceWent(ctx context.Context, c *api.WorkspaceClient, name string) string {
	ctx, cancel := context.WithTimeout(ctx, askFirst)
	defer cancel()
	in, err := c.Instance(ctx, name)
	switch {
	case errors.Is(err, &api.Error{Code: api.CodeNotFound}):
		return name + " was removed (berth rm)"
	case err != nil:
		return ""
	}
	switch in.State {
	case api.StateDeleting:
		if in.Adopted {
			return name + " is being forgotten (berth rm)"
		}
		return name + " is being deleted (berth rm)"
	case api.StateStopping, api.StateRestarting:
		return name + " is " + string(in.State)
	case api.StateStopped:
		return name + " was stopped"
	}
	return ""
}

// execState asks what has become of a command; known is false where nobody could tell within limit.
func execState(ctx context.Context, limit time.Duration, c *api.WorkspaceClient, name string,
	began wire.Start) (st api.ExecState, known bool) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if began.Exec != "" { // it is empty of an older agent
		var err error
		if st, err = c.Agent(name).ExecState(ctx, began.Exec); err == nil {
			return st, true
		}
	}
	return api.ExecState{PID: began.PID, State: api.ExecUnknown, SameAgent: true}, false
}

// downReason says why the line to an instance is down, or "".
func downReason(ctx context.Context, c *api.WorkspaceClient, name string) string {
	ctx, cancel := context.WithTimeout(ctx, askFirst)
	defer cancel()
	in, err := c.Instance(ctx, name)
	if err != nil || in.Agent == nil || in.Agent.State == "ready" {
		return ""
	}
	return in.Agent.Reason
}
