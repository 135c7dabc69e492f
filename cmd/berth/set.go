package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/backend/base/plaintext"
)

func (a *app) setCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set NAME [KEY=VALUE...]",
		Short: "Change what is said of an instance",
		Long: "set changes what Berth keeps of an instance. owner=me makes it yours: of an instance that was found at its provider, and that names nobody who is\n" +
			"known here, the owner is unknown, and nobody may open a shell on it until somebody says that it is theirs.\n\n" +
			"jobs.slots=N is how many jobs it runs at once (usually two for each core), jobs.group.G=N how many of group G (0: they wait),\n" +
			"jobs.default_gpus=N how many GPUs a job gets that says nothing of them (usually one, where there are any).\n" +
			"The instance keeps these; without a value it is as usual again. Without any KEY=VALUE set prints what is set of the queue.",
		Example: "  berth set vision owner=me\n  berth set vision jobs.slots=4 jobs.group.big=1",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 {
				return exactArgs("NAME")(cmd, args)
			}
			return nil
		},
		ValidArgsFunction: a.completeSet,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.printLimits(cmd.Context(), args[0])
			}
			if n := countJobKeys(args[1:]); n > 0 {
				if n < len(args)-1 {
					return api.Errorf(api.CodeUsage, "what is set of the queue (%s…) is set by itself", jobsKeys)
				}
				q, err := limitsRequest(args[1:])
				if err != nil {
					return err
				}
				return a.setLimits(cmd.Context(), args[0], q)
			}
			q, err := setRequest(args[1:])
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			in, err := c.Records().Set(cmd.Context(), args[0], q)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(in)
			}
			_, err = fmt.Fprintf(a.err, "%s belongs to %s\n", plaintext.Text(in.Name), plaintext.Text(in.Owner))
			return err
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

// setRequest reads KEY=VALUE arguments.
func setRequest(args []string) (q api.SetRequest, err error) {
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		switch {
		case !ok:
			return q, api.Errorf(api.CodeUsage, "%q is not KEY=VALUE", arg).WithHint("berth set NAME owner=me")
		case key == "owner":
			q.Owner = value
		default:
			return q, api.Errorf(api.CodeUsage, "%q can't be set: what can is owner, jobs.slots, jobs.group.G and jobs.default_gpus", key).
				WithHint("berth set NAME owner=me")
		}
	}
	return q, q.Check()
}

// completeSet completes the name of an instance, and then what can be set of it.
func (a *app) completeSet(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return a.completeNames(1)(cmd, args, word)
	}
	return []string{"owner=me", "jobs.slots=", "jobs.group.", "jobs.default_gpus="}, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}
