package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/backend/base/plaintext"
)

func (a *app) actionCmd(kind, short string) *cobra.Command {
	var noWait, force bool
	cmd := &cobra.Command{
		Use:               kind + " NAME…",
		Short:             short,
		Args:              atLeastOne,
		ValidArgsFunction: a.completeInstances(-1, func(in *api.Instance) bool { return sensible(kind, in) }),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.act(cmd.Context(), kind, args, noWait, force)
		},
	}
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "return as soon as it is under way")
	cmd.Flags().BoolVar(&force, "force", false,
		"also where Berth would refuse to protect something; a machine is switched off without asking its system")
	a.jsonFlag(cmd)
	return cmd
}

// sensible reports whether the action is worth offering for the instance.
func sensible(kind string, in *api.Instance) bool {
	switch kind {
	case "start":
		return in.Capabilities.Start && in.State != api.StateRunning
	case "stop":
		return in.Capabilities.Stop && in.State != api.StateStopped
	}
	return in.Capabilities.Restart
}

func (a *app) rmCmd() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:               "rm NAME…",
		Aliases:           []string{"delete"},
		Short:             "Delete instances and their disks; of an adopted machine only forget it",
		Args:              atLeastOne,
		ValidArgsFunction: a.completeNames(-1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := a.client()
			if err != nil {
				return err
			}
			var lost []string
			for _, name := range args {
				in, err := c.Instance(ctx, name)
				if err != nil && len(args) > 1 {
					return api.Errorf(api.AsError(err).Code, "%w; nothing was deleted", err)
				}
				if err != nil {
					return err
				}
				lost = append(lost, loss(&in))
			}
			if err := a.confirm(cmd.Context(), yes, strings.Join(lost, "\n")+"\nDelete "+strings.Join(args, ", ")+"?"); err != nil {
				return err
			}
			return a.act(ctx, "delete", args, false, false)
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	a.jsonFlag(cmd)
	return cmd
}

// loss says what deleting an instance loses.
func loss(in *api.Instance) string {
	if in.Adopted {
		return fmt.Sprintf("%s was adopted: Berth ends its own terminals there, removes its agent, and touches nothing else.",
			in.Name)
	}
	if in.State == api.StateCreateFailed {
		return fmt.Sprintf("%s was never made; what its creation left is removed.", in.Name)
	}
	return fmt.Sprintf("%s (%s, %s): all its files and processes are lost for good.", in.Name, in.Backend, in.State)
}

// act asks for the action on every instance, then waits for all; it tells of each failure.
func (a *app) act(ctx context.Context, kind string, names []string, noWait, force bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	ops := make([]api.Operation, len(names))
	errs := make([]error, len(names))
	err = c.WithQuestions(ctx, func(ctx context.Context) error {
		var wg sync.WaitGroup
		for i, name := range names {
			wg.Add(1)
			go func() {
				defer wg.Done()
				tries := 0
				ops[i], errs[i] = again(ctx, func() (api.Operation, error) {
					tries++
					op, err := c.Action(ctx, name, kind, api.ActionRequest{Force: force})
					if kind == "delete" && tries > 1 && errors.Is(err, &api.Error{Code: api.CodeNotFound}) {
						// The first call was heard, though its answer was lost.
						return api.Operation{Kind: kind, Instance: name, State: api.OpSucceeded}, nil
					}
					return op, err
				})
			}()
		}
		wg.Wait()
		for i := range names {
			if errs[i] == nil && !noWait {
				ops[i], errs[i] = a.wait(ctx, c, ops[i])
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range names {
		a.goesOn(ops[i], errs[i])
	}
	return a.actDone(ctx, c, kind, names, ops, errs)
}

func (a *app) actDone(ctx context.Context, c *api.WorkspaceClient, kind string, names []string, ops []api.Operation,
	errs []error) error {
	failed := 0
	for _, err := range errs {
		if err != nil {
			failed++
		}
	}
	for i, name := range names {
		switch {
		case errs[i] != nil:
			if failed > 1 || len(names) > 1 {
				if !errors.Is(errs[i], context.Canceled) && !a.json {
					a.report(errs[i])
				}
			}
		case a.json:
		case kind == "delete":
			fmt.Fprintf(a.err, "%s is deleted\n", plaintext.Text(name))
			a.warnings(&ops[i])
		case ops[i].State.Done():
			a.warnings(&ops[i])
			if in, err := c.Instance(ctx, ops[i].InstanceID); err == nil {
				fmt.Fprintf(a.err, "%s is %s\n", in.Name, in.State)
			}
		default:
			fmt.Fprintf(a.err, "%s of %s is under way\n", kind, plaintext.Text(name))
		}
	}
	if a.json && (failed == 0 || len(names) > 1) {
		if err := a.printJSON(outcomes(names, ops, errs)); err != nil {
			return err
		}
		a.silenced = true
	}
	switch {
	case failed == 0:
		return nil
	case len(names) == 1:
		return errs[0]
	}
	for _, err := range errs {
		if err != nil {
			return api.Errorf(api.AsError(err).Code, "%s failed for %d of %d instances", kind, failed, len(names))
		}
	}
	return nil
}

// outcome is what became of one instance, for --json.
type outcome struct {
	api.Operation
	Name  string     `json:"name"`
	Error *api.Error `json:"error,omitempty"`
}

func outcomes(names []string, ops []api.Operation, errs []error) []outcome {
	out := make([]outcome, len(names))
	for i, name := range names {
		out[i] = outcome{ops[i], name, api.AsError(errs[i])}
	}
	return out
}
