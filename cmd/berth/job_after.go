package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/backend/base/plaintext"
)

// completeAfter completes the ids of --after and --after-failure: lists with commas between them, "any:" before.
func (a *app) completeAfter(cmd *cobra.Command) {
	for _, flag := range []string{"after", "after-failure"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, args []string, begun string) ([]string,
			cobra.ShellCompDirective) {
			if len(args) == 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp // the instance isn't known yet
			}
			before := begun[:strings.LastIndexAny(begun, ":,")+1]
			said := strings.FieldsFunc(before, func(r rune) bool { return r == ':' || r == ',' })
			return a.offer(cmd, func(ctx context.Context, c *api.WorkspaceClient) (out []string, err error) {
				page, err := c.Agent(args[0]).Jobs().List(ctx, api.JobQuery{Limit: offeredJobs})
				for _, j := range page.Jobs {
					if j.ID != nil && !slices.Contains(said, *j.ID) {
						out = append(out, cobra.CompletionWithDesc(before+*j.ID, plaintext.Text(j.Name)+", "+string(j.State)))
					}
				}
				return out, err
			})
		})
	}
}
