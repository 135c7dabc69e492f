//go:build !front

package main

import (
	"context"

	"github.com/spf13/cobra"

	"berth/backend/api"
)

func (a *app) imageCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "image", Short: "Make images that instances are made from, and remove them", Args: noArgs,
		RunE: needsVerb,
	}
	cmd.AddCommand(a.imageBuildCmd(), a.imageRmCmd())
	return cmd
}

func (a *app) imageBuildCmd() *cobra.Command {
	var q api.ImageRequest
	var noWait bool
	cmd := &cobra.Command{
		Use:     "build NAME --from INSTANCE",
		Short:   "Make an image of an instance, so that the next one starts ready",
		Long:    "Make an image of an instance, so that the next one starts ready.\n\nA running instance is stopped while its disk is copied, and started again.",
		Example: "  berth create base-gpu --profile pytorch\n  berth image build torch --from base-gpu\n  berth create vision --image torch",
		Args:    exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Name = args[0]
			return a.operate(cmd, noWait, func(ctx context.Context, c *api.WorkspaceClient, id string) (api.Operation, error) {
				q.RequestID = id
				return c.OwnImages().Build(ctx, q)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.From, "from", "", "the instance whose disk becomes the image")
	f.StringVar(&q.Description, "description", "", "a line about it, for berth images")
	f.BoolVar(&noWait, "no-wait", false, "return as soon as it is under way")
	a.jsonFlag(cmd)
	_ = cmd.MarkFlagRequired("from")
	_ = cmd.RegisterFlagCompletionFunc("from", a.completeInstances(-1,
		func(in *api.Instance) bool { return in.Capabilities.Build }))
	return cmd
}

func (a *app) imageRmCmd() *cobra.Command {
	var backend string
	var yes bool
	cmd := &cobra.Command{
		Use: "rm NAME", Short: "Remove an image that was built, or fetched, from the backend's side", Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if backend, err = a.imageBackend(cmd.Context(), c, backend, args[0]); err != nil {
				return err
			}
			if err := a.confirm(cmd.Context(), yes, "Remove the image "+args[0]+" from backend "+backend+"?"); err != nil {
				return err
			}
			return c.OwnImages().Delete(cmd.Context(), backend, args[0])
		},
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.offer(cmd, func(ctx context.Context, c *api.WorkspaceClient) (out []string, err error) {
			list, err := c.Images(ctx, backend)
			for _, im := range list {
				if im.Cached || im.Origin == "built" {
					out = append(out, cobra.CompletionWithDesc(im.Name, im.Description))
				}
			}
			return out, err
		})
	}
	cmd.Flags().StringVar(&backend, "backend", "", "the backend that has it, if several do")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	a.completeBackend(cmd)
	return cmd
}

// imageBackend finds the one backend that has the image.
func (a *app) imageBackend(ctx context.Context, c *api.WorkspaceClient, backend, name string) (string, error) {
	list, err := c.Images(ctx, backend)
	if err != nil {
		return "", err
	}
	found := ""
	for _, im := range list {
		switch {
		case im.Name != name:
		case found != "":
			return "", api.Errorf(api.CodeUsage, "backends %s and %s both have an image %q", found, im.Backend, name).
				WithHint("say which with --backend")
		default:
			found = im.Backend
		}
	}
	if found == "" {
		return "", api.Errorf(api.CodeNotFound, "there is no image %q", name).WithHint("berth images lists them")
	}
	return found, nil
}
