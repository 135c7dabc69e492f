//go:build !front

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/ui/action"
)

func (a *app) actionCmd(kind, short string) *cobra.Command {
	var noWait, yes bool
	var q api.ActionRequest
	cmd := &cobra.Command{
		Use:               kind + " NAME…",
		Short:             short,
		Args:              atLeastOne,
		ValidArgsFunction: a.completeInstances(-1, func(in *api.Instance) bool { return sensible(kind, in) }),
		RunE: func(cmd *cobra.Command, args []string) error {
			if kind != "start" {
				if err := a.askForJobs(cmd.Context(), kind, args, yes || q.Force || q.WhenIdle); err != nil {
					return err
				}
			}
			return a.act(cmd.Context(), kind, args, nil, noWait, q)
		},
	}
	if kind != "start" {
		cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask, though jobs run or wait there")
		cmd.Flags().BoolVar(&q.WhenIdle, "when-idle", false,
			"start no more jobs there, and wait until none runs; berth start calls it off")
	}
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "return as soon as it is under way")
	cmd.Flags().BoolVar(&q.Force, "force", false,
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

// askForJobs asks before instances are stopped or restarted whose jobs run or wait. What can't be asked now has none.
func (a *app) askForJobs(ctx context.Context, kind string, names []string, yes bool) error {
	if yes {
		return nil
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	said := make([]string, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			in, err := c.Instance(ctx, name)
			if err == nil { // else the action says it
				said[i] = action.JobsLost(kind, &in)
			}
		})
	}
	wg.Wait()
	said = slices.DeleteFunc(said, func(s string) bool { return s == "" })
	if len(said) == 0 {
		return nil
	}
	question := strings.ToUpper(kind[:1]) + kind[1:] + " " + strings.Join(names, ", ") + "?"
	return a.confirm(ctx, false, strings.Join(said, "\n")+"\n"+question)
}

func (a *app) rmCmd() *cobra.Command {
	var yes, force bool
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
			var lost, deleted, forgotten []string
			adopted := map[string]bool{}
			for _, name := range args {
				in, err := c.Instance(ctx, name)
				if err != nil && len(args) > 1 {
					return api.Errorf(api.AsError(err).Code, "%w; nothing was deleted", err)
				}
				if err != nil {
					return err
				}
				adopted[name] = in.Adopted
				if in.Adopted {
					forgotten = append(forgotten, name)
				} else {
					deleted = append(deleted, name)
				}
				if !yes {
					lost = append(lost, a.loss(ctx, c, &in))
				}
			}
			var ask []string
			if len(deleted) > 0 {
				ask = append(ask, "delete "+strings.Join(deleted, ", "))
			}
			if len(forgotten) > 0 {
				ask = append(ask, "forget "+strings.Join(forgotten, ", "))
			}
			question := strings.Join(ask, " and ") + "?"
			question = strings.ToUpper(question[:1]) + question[1:]
			if err := a.confirm(ctx, yes, strings.Join(lost, "\n")+"\n"+question); err != nil {
				return err
			}
			return a.act(ctx, "delete", args, adopted, false, api.ActionRequest{Force: force})
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&force, "force", false,
		"forget an adopted machine although something of Berth stays there; berth doctor keeps it in mind")
	a.jsonFlag(cmd)
	return cmd
}

// loss says what deleting or forgetting an instance loses.
func (a *app) loss(ctx context.Context, c *api.WorkspaceClient, in *api.Instance) string {
	if in.Adopted {
		return forgets(ctx, c, in)
	}
	if in.State == api.StateCreateFailed {
		return fmt.Sprintf("%s was never made; what its creation left is removed.", in.Name)
	}
	said := fmt.Sprintf("%s (%s, %s): all its files and processes are lost for good.", in.Name, in.Backend, in.State)
	if jobs := action.JobsLost(action.Delete, in); jobs != "" {
		said += "\n" + jobs
	}
	return said
}

// act asks for the action on every instance, then waits for all; it tells of each failure. A delete forgets those that
// are adopted.
func (a *app) act(ctx context.Context, kind string, names []string, adopted map[string]bool, noWait bool,
	q api.ActionRequest) error {
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
					op, err := c.Action(ctx, name, kind, q)
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
	return a.actDone(ctx, c, kind, names, adopted, ops, errs)
}

func (a *app) actDone(ctx context.Context, c *api.WorkspaceClient, kind string, names []string, adopted map[string]bool,
	ops []api.Operation, errs []error) error {
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
		case kind == "delete" && adopted[name]:
			fmt.Fprintf(a.err, "%s is forgotten\n", plaintext.Text(name))
			a.warnings(&ops[i])
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
