package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/backend/base/plaintext"
)

// The states of jobs that verbs are for.
var (
	jobsWaiting = []api.JobState{api.JobQueued, api.JobHeld}
	jobsActive  = []api.JobState{api.JobPreparing, api.JobRunning, api.JobPaused, api.JobStopping}
	jobsLive    = slices.Concat(jobsWaiting, jobsActive)
	jobsAgain   = []api.JobState{api.JobFailed, api.JobCancelled, api.JobTimedOut, api.JobLost}
	jobsDone    = []api.JobState{api.JobSucceeded, api.JobFailed, api.JobCancelled, api.JobTimedOut, api.JobLost}
)

// jobArgs are an instance and jobs of it.
func jobArgs(cmd *cobra.Command, args []string) error {
	if len(args) < 2 {
		return exactArgs("NAME", "ID")(cmd, args)
	}
	return nil
}

// jobTellCmd is a verb that tells jobs something; it is offered for those in some states.
func (a *app) jobTellCmd(verb, short string, states ...api.JobState) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NAME ID…", Short: short, Args: jobArgs, ValidArgsFunction: a.completeJobs(-1, states...),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.eachJob(cmd.Context(), args[0], args[1:], func(ctx context.Context, c api.JobsClient, id string) error {
				_, err := c.Do(ctx, id, verb)
				return err
			})
		},
	}
}

// eachJob does something with jobs, one after another. Where it can't be done with some, the first one's error is the
// code.
func (a *app) eachJob(ctx context.Context, name string, ids []string,
	do func(ctx context.Context, c api.JobsClient, id string) error) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	return c.WithQuestions(ctx, func(ctx context.Context) error {
		var first error
		for _, id := range ids {
			err := do(ctx, c.Agent(name).Jobs(), id)
			switch {
			case err == nil:
			case ctx.Err() != nil || api.AsError(err).Code == api.CodeUnreachable:
				return err
			case first == nil:
				first = err
			case err.Error() != first.Error(): // there is no such instance, say
				fmt.Fprintf(a.err, "berth: %s\n", plaintext.Text(err.Error()))
			}
		}
		return first
	})
}

func (a *app) jobRmCmd() *cobra.Command {
	return &cobra.Command{
		Use: "rm NAME ID…", Short: "Forget jobs that are done, with their logs", Args: jobArgs,
		ValidArgsFunction: a.completeJobs(-1, jobsDone...),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.eachJob(cmd.Context(), args[0], args[1:], func(ctx context.Context, c api.JobsClient, id string) error {
				return c.Remove(ctx, id)
			})
		},
	}
}

func (a *app) jobPriorityCmd() *cobra.Command {
	return &cobra.Command{
		Use: "priority NAME ID N", Short: "Change a job's priority: a higher one goes first",
		Long:    "A job of a higher priority goes first; 0 is usual. One below 0 stands after --: berth job priority vision 14 -- -5.",
		Example: "  berth job priority vision 14 10", Args: exactArgs("NAME", "ID", "N"),
		ValidArgsFunction: a.completeJobs(1, jobsLive...),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.Atoi(args[2])
			if err != nil {
				return api.Errorf(api.CodeUsage, "%.30q is no priority: a number is needed", args[2])
			}
			return a.eachJob(cmd.Context(), args[0], args[1:2], func(ctx context.Context, c api.JobsClient, id string) error {
				_, err := c.SetPriority(ctx, id, n)
				return err
			})
		},
	}
}

func (a *app) jobMoveCmd() *cobra.Command {
	ids := a.completeJobs(1, jobsWaiting...)
	return &cobra.Command{
		Use: "move NAME ID up|down|top|end", Short: "Change a job's place among those of its priority that wait",
		Example: "  berth job move vision 14 top", Args: exactArgs("NAME", "ID", "WHERE"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 2 {
				return []string{"up", "down", "top", "end"}, cobra.ShellCompDirectiveNoFileComp
			}
			return ids(cmd, args, begun)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.eachJob(cmd.Context(), args[0], args[1:2], func(ctx context.Context, c api.JobsClient, id string) error {
				_, err := c.Move(ctx, id, args[2])
				return err
			})
		},
	}
}

// offeredJobs is how many ids are offered.
const offeredJobs = 100

// completeJobs completes the name of an instance, then up to n ids of its newest jobs in some states (-1: any number;
// no states: all), described by their names and states.
func (a *app) completeJobs(n int, states ...api.JobState) cobra.CompletionFunc {
	names := a.completeNames(1)
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		switch {
		case len(args) == 0:
			return names(cmd, args, begun)
		case n >= 0 && len(args) > n:
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.offer(cmd, func(ctx context.Context, c *api.WorkspaceClient) (out []string, err error) {
			page, err := c.Agent(args[0]).Jobs().List(ctx, api.JobQuery{States: states, Limit: offeredJobs})
			for _, j := range page.Jobs {
				if !slices.Contains(args[1:], jobID(&j)) {
					out = append(out, cobra.CompletionWithDesc(jobID(&j), plaintext.Text(j.Name)+", "+string(j.State)))
				}
			}
			return out, err
		})
	}
}
