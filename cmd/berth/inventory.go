//go:build !front

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/backend/machine/profile"
	"berth/backend/machine/software"
)

func (a *app) inventoryCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "inventory NAME [OTHER]",
		Short:   "What is really installed on an instance, against what its profiles promise",
		Example: "  berth inventory vision\n  berth inventory vision train-1      # side by side",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 && len(args) != 2 {
				return exactArgs("NAME", "[OTHER]")(cmd, args)
			}
			return nil
		},
		ValidArgsFunction: a.completeNames(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			invs := make([]*api.Inventory, len(args))
			err = c.WithQuestions(cmd.Context(), func(ctx context.Context) error {
				g, ctx := errgroup.WithContext(ctx)
				for i, name := range args {
					g.Go(func() (err error) {
						invs[i], err = a.inventory(ctx, c, name)
						return err
					})
				}
				return g.Wait()
			})
			if err != nil {
				return err
			}
			if a.json {
				if len(invs) == 1 {
					return a.printJSON(invs[0])
				}
				return a.printJSON(invs)
			}
			return a.printInventories(args, invs)
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

// inventory reads one instance's inventory and holds it against its profiles.
func (a *app) inventory(ctx context.Context, c *api.WorkspaceClient, name string) (*api.Inventory, error) {
	in, err := c.Instance(ctx, name)
	if err != nil {
		return nil, err
	}
	inv, err := c.InstanceInventory(ctx, name)
	if err != nil {
		return nil, err
	}
	profile.Load(profile.Dir(a.home.Config)).Hold(&inv, in.Profiles)
	return &inv, nil
}

func (a *app) printInventories(names []string, invs []*api.Inventory) error {
	head := []string{""}
	for i := range invs {
		head = append(head, invs[i].Instance)
		if i < len(names) && invs[i].Instance == "" {
			head[i+1] = names[i]
		}
	}
	rows := [][]string{append(head, "")}
	section := ""
	for _, r := range software.Rows(invs...) {
		if r.Section != section {
			section = r.Section
			rows = append(rows, []string{section})
		}
		line := []string{"  " + r.Name}
		note := ""
		for i, v := range r.Values {
			switch {
			case v == "" && r.Drift[i] != nil:
				v = "missing"
			case v == "":
				v = dash
			}
			line = append(line, v)
			if d := r.Drift[i]; d != nil && note == "" {
				note = "! " + software.DriftText(d)
			}
		}
		if note == "" && r.Differs {
			note = "differs"
		}
		rows = append(rows, append(line, note))
	}
	if err := table(a.out, rows); err != nil {
		return err
	}
	for _, inv := range invs {
		for _, e := range inv.Errors {
			fmt.Fprintf(a.err, "berth: %s: %s\n", plaintext.Text(inv.Instance), plaintext.Text(e))
		}
	}
	return nil
}
