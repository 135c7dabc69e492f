package main

import (
	"context"
	"net"

	"github.com/spf13/cobra"

	"berth/backend/agent/inside"
	"berth/backend/api"
	"berth/backend/base/shellquote"
	"berth/queue"
)

// insideToo lets the name of the instance be left out of a verb of jobs, where that is run on an instance: then it is
// about that one, whose agent is called without a daemon.
func (a *app) insideToo(cmd *cobra.Command) *cobra.Command {
	check, do := cmd.Args, cmd.RunE
	named := func(cmd *cobra.Command, args []string) ([]string, error) {
		err := check(cmd, args)
		leftOut := len(args) == 0 || cmd.ArgsLenAtDash() == 0 || jobIDForm(args[0])
		here := append([]string{inside.Name()}, args...)
		switch {
		case !leftOut || err == nil && !inside.Is() || inside.Is() && check(cmd, here) != nil:
			return args, err // an instance may be called 14
		case inside.Is():
			a.goInside()
			return here, nil
		}
		return args, api.Errorf(api.CodeUsage, "%s: the name of an instance is missing, and this is no terminal of one",
			cmd.CommandPath()).WithHint("%s --help shows how it is called; berth ls lists the instances", cmd.CommandPath())
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		_, err := named(cmd, args)
		return err
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		args, err := named(cmd, args)
		if err != nil {
			return err
		}
		return do(cmd, args)
	}
	return cmd
}

// jobIDForm reports whether a word names a job, and no instance.
func jobIDForm(s string) bool {
	_, err := queue.ParseID(s)
	return err == nil || queue.IsUUID(s)
}

// goInside makes the agent of the instance that this runs on the one that is called.
func (a *app) goInside() {
	if a.conn == nil {
		a.conn = &api.WorkspaceClient{Inside: inside.Client(), Dial: func(context.Context) (net.Conn, error) {
			return nil, api.Errorf(api.CodeUnreachable, "only the instance's own agent is asked from inside")
		}}
	}
}

// jobWords are the arguments by which a verb finds a job.
func (a *app) jobWords(name, id string) string {
	if a.conn != nil && a.conn.Inside != nil {
		return id
	}
	return shellquote.Word(name) + " " + id
}

// asHere has a job that is submitted on its instance run where this does.
func (a *app) asHere(q *api.JobRequest) error {
	if a.conn == nil || a.conn.Inside == nil {
		return nil
	}
	return inside.Place(q)
}
