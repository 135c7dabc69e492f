//go:build !front

package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/backend/machine/profile"
)

func (a *app) setupCmd() *cobra.Command {
	var q api.SetupRequest
	var file string
	var noWait bool
	cmd := &cobra.Command{
		Use:   "setup NAME",
		Short: "Go on with a set-up that failed or let go of it, or set up more: profiles, a script",
		Example: "  berth setup vision --resume\n  berth setup vision --profile pytorch,r\n" +
			"  berth setup vision --setup more.sh\n  berth setup vision --forget",
		Args:              exactArgs("NAME"),
		ValidArgsFunction: a.completeInstances(1, func(in *api.Instance) bool { return !in.State.Changing() }),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if q.Setup, err = readScript(file, "the set-up script"); err != nil {
				return err
			}
			return a.operate(cmd, noWait, func(ctx context.Context, c *api.WorkspaceClient, id string) (api.Operation, error) {
				q.RequestID = id
				return c.StartSetup(ctx, args[0], q)
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&q.Resume, "resume", false, "run the step that failed again, and those after it")
	f.BoolVar(&q.Forget, "forget", false, "let go of what failed: it is not unfinished any more; what its steps did stays")
	f.StringSliceVar(&q.Profiles, "profile", nil, "set-up profiles, as berth profile ls lists them")
	f.StringVar(&file, "setup", "", "script to run once")
	f.BoolVar(&noWait, "no-wait", false, "return as soon as it is under way")
	a.jsonFlag(cmd)
	for _, other := range []string{"profile", "setup"} {
		cmd.MarkFlagsMutuallyExclusive("resume", other)
		cmd.MarkFlagsMutuallyExclusive("forget", other)
	}
	cmd.MarkFlagsMutuallyExclusive("resume", "forget")
	cmd.MarkFlagsOneRequired("resume", "forget", "profile", "setup")
	a.completeProfiles(cmd)
	return cmd
}

// readScript reads a script to run on an instance; an empty path is no script.
func readScript(path, what string) (string, error) {
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", api.Errorf(api.CodeUsage, "reading %s: %w", what, err)
	}
	return string(b), nil
}

// operate begins an operation of an instance that exists and waits for it; it prints the instance.
func (a *app) operate(cmd *cobra.Command, noWait bool,
	begin func(ctx context.Context, c *api.WorkspaceClient, requestID string) (api.Operation, error)) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	began := time.Now()
	id := requestID()
	op, err := again(ctx, func() (api.Operation, error) { return begin(ctx, c, id) })
	if err != nil {
		return err
	}
	if !noWait {
		if op, err = a.waitAsked(ctx, c, op); err != nil {
			return err
		}
	}
	if a.json {
		return a.printJSON(op)
	}
	a.warnings(&op)
	if op.State == api.OpSucceeded && len(op.Steps) == 0 {
		return nil // done at once; it has said what
	}
	if noWait {
		fmt.Fprintf(a.err, "%s of %s is under way; look at it with: berth show %s\n", op.Kind, plaintext.Text(op.Instance),
			plaintext.Text(op.Instance))
		return nil
	}
	state := ""
	if in, err := c.Instance(ctx, op.InstanceID); err == nil {
		state = "; it is " + string(in.State)
	}
	fmt.Fprintf(a.err, "%s of %s: done after %s%s\n", op.Kind, plaintext.Text(op.Instance), seconds(time.Since(began)),
		state)
	return nil
}

// warnings prints what an operation left undone although it succeeded.
func (a *app) warnings(op *api.Operation) {
	for _, w := range op.Warnings {
		fmt.Fprintf(a.err, "berth: %s\n", plaintext.Text(w))
	}
}

// setupPlan is the plan of set-up profiles, read anew: the user may have changed theirs.
func (a *app) setupPlan(names []string, arch string) (api.SetupPlan, error) {
	set, err := a.profiles()
	if err != nil {
		return api.SetupPlan{}, err
	}
	c, err := set.Compose(names, profile.Facts{Arch: arch})
	if err == nil {
		err = set.Refused(c.Profiles)
	}
	return c.Plan("", false), err
}

// completeProfiles completes the flag --profile, the last of its names.
func (a *app) completeProfiles(cmd *cobra.Command) {
	_ = cmd.RegisterFlagCompletionFunc("profile", func(_ *cobra.Command, _ []string, part string) ([]string,
		cobra.ShellCompDirective) {
		set, err := a.profiles()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		before := part[:strings.LastIndexByte(part, ',')+1]
		var out []string
		for _, p := range set.Profiles() {
			if !slices.Contains(strings.Split(before, ","), p.Name) {
				out = append(out, cobra.CompletionWithDesc(before+p.Name, p.Title))
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	})
}
