package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"berth/backend/api"
)

func (a *app) workspaceCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "workspace", Short: "Several homes with one fleet", Args: noArgs, RunE: needsVerb,
		Long: "Several homes (two laptops, say) with one fleet: each shows the machines that the others made in the same " +
			"cloud account, or with the same libvirtd.\n\nberth help workspace says more.",
		Example: "  berth workspace show\n  berth workspace join 3f9a1c0de4b52768",
	}
	show := &cobra.Command{Use: "show", Short: "Print the id of this home's workspace", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			info, err := c.Daemon().Info(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(struct {
					ID   string `json:"id"`
					Home string `json:"home_id"`
				}{info.WorkspaceID, info.HomeID})
			}
			_, err = fmt.Fprintln(a.out, info.WorkspaceID)
			return err
		}}
	a.jsonFlag(show)
	cmd.AddCommand(show, a.joinCmd())
	return cmd
}

func (a *app) joinCmd() *cobra.Command {
	var q api.JoinRequest
	cmd := &cobra.Command{
		Use: "join ID", Short: "Let this home see the machines that another one made", Args: exactArgs("ID"),
		Long: "Let this home see the machines that another one made. ID is what berth workspace show prints in the other " +
			"home.\n\nFrom then on each home shows the machines of both; what this home made before is seen there, too. " +
			"Adopted machines and those of this computer (--backend local) stay with their home.",
		Example: "  berth workspace join 3f9a1c0de4b52768\n  berth workspace join 3f9a1c0de4b52768 --key ./their-key",
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			q.ID = args[0]
			if q.KeyPath != "" {
				if q.KeyPath, err = filepath.Abs(q.KeyPath); err != nil {
					return err
				}
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			j, err := c.Daemon().Join(cmd.Context(), q)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(j)
			}
			seen := "no machine of another home is seen yet; it is when it runs where this home looks"
			if len(j.Imported) > 0 {
				seen = "it sees " + strings.Join(j.Imported, ", ")
			}
			_, err = fmt.Fprintf(a.out, "This home belongs to the workspace %s: %s.\n", j.ID, seen)
			return err
		},
	}
	cmd.Flags().StringVar(&q.KeyPath, "key", "", "a copy of the other home's key, which opens what it made")
	_ = cmd.MarkFlagFilename("key")
	a.jsonFlag(cmd)
	return cmd
}
