package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/ui/money"
)

func (a *app) completionCmd() *cobra.Command {
	return &cobra.Command{
		Use:       "completion bash|zsh|fish|powershell",
		Short:     "Print a completion script, with live instance names",
		Long:      "Print a completion script.\n\n  bash:  source <(berth completion bash)\n  zsh:   berth completion zsh > \"${fpath[1]}/_berth\"\n  fish:  berth completion fish | source",
		Args:      exactArgs("SHELL"),
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return bashCompletion(root, a.out)
			case "zsh":
				return root.GenZshCompletion(a.out)
			case "fish":
				return root.GenFishCompletion(a.out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.out)
			}
			return api.Errorf(api.CodeUsage, "no completions for %q", args[0]).WithHint("bash, zsh, fish or powershell")
		},
	}
}

// completeNames completes up to n instance names (-1: any number), with their states as descriptions.
func (a *app) completeNames(n int) cobra.CompletionFunc {
	return a.completeInstances(n, func(*api.Instance) bool { return true })
}

// completeInstances completes the names of the instances that fit.
func (a *app) completeInstances(n int, fits func(*api.Instance) bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if n >= 0 && len(args) >= n {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return a.offer(cmd, func(ctx context.Context, c *api.WorkspaceClient) (out []string, err error) {
			list, err := c.Instances(ctx, api.ListOptions{})
			for _, in := range list {
				if !slices.Contains(args, in.Name) && fits(&in) {
					out = append(out, cobra.CompletionWithDesc(in.Name, string(in.State)+", "+in.Backend))
				}
			}
			return out, err
		})
	}
}

// offer completes with what list finds out from the workspace, if it does so soon.
func (a *app) offer(cmd *cobra.Command,
	list func(ctx context.Context, c *api.WorkspaceClient) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	c, err := a.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	out, err := list(ctx, c)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completeBackend completes the --backend flag.
func (a *app) completeBackend(cmd *cobra.Command) {
	_ = cmd.RegisterFlagCompletionFunc("backend", func(cmd *cobra.Command, _ []string, _ string) ([]string,
		cobra.ShellCompDirective) {
		return a.offer(cmd, func(ctx context.Context, c *api.WorkspaceClient) (out []string, err error) {
			list, err := c.Backends(ctx)
			for _, b := range list {
				out = append(out, cobra.CompletionWithDesc(b.Name, b.Title))
			}
			return out, err
		})
	})
}

// completeCatalogue completes a flag with the names that list returns for the backend given so far.
func (a *app) completeCatalogue(cmd *cobra.Command, flag string,
	list func(ctx context.Context, c *api.WorkspaceClient, backend string) ([]string, error)) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, _ string) ([]string,
		cobra.ShellCompDirective) {
		backend, _ := cmd.Flags().GetString("backend") // the flag exists beside it
		return a.offer(cmd, func(ctx context.Context, c *api.WorkspaceClient) ([]string, error) {
			return list(ctx, c, backend)
		})
	})
}

func sizeNames(ctx context.Context, c *api.WorkspaceClient, backend string) (out []string, err error) {
	list, err := c.Sizes(ctx, backend)
	for _, s := range list {
		out = append(out, cobra.CompletionWithDesc(s.Name, fmt.Sprintf("%d vCPUs, %s, %s", s.VCPUs,
			money.Size(s.MemoryBytes), gpusText(s.GPUs))))
	}
	return out, err
}

func imageNames(ctx context.Context, c *api.WorkspaceClient, backend string) (out []string, err error) {
	list, err := c.Images(ctx, backend)
	for _, im := range list {
		out = append(out, cobra.CompletionWithDesc(im.Name, im.Description))
	}
	return out, err
}
