//go:build !front

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"berth/backend/api"
)

func (a *app) snapshotCmd() *cobra.Command {
	var noWait bool
	cmd := &cobra.Command{
		Use:     "snapshot NAME [SNAPSHOT]",
		Short:   "Keep the disk of an instance as it is now, to go back to",
		Example: "  berth snapshot vision before-upgrade\n  berth snapshot ls vision\n  berth snapshot restore vision before-upgrade\n  berth snapshot rm vision before-upgrade",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 && len(args) != 2 {
				return exactArgs("NAME", "[SNAPSHOT]")(cmd, args)
			}
			return nil
		},
		ValidArgsFunction: a.completeInstances(1, func(in *api.Instance) bool { return in.Capabilities.Snapshots }),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := time.Now().Format("s20060102-150405")
			if len(args) == 2 {
				name = args[1]
			}
			return a.operate(cmd, noWait, func(ctx context.Context, c *api.WorkspaceClient, id string) (api.Operation, error) {
				return c.Snapshot(ctx, args[0], api.SnapshotRequest{Name: name, RequestID: id})
			})
		},
	}
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "return as soon as it is under way")
	a.jsonFlag(cmd)
	cmd.AddCommand(a.snapshotLsCmd(), a.snapshotRestoreCmd(), a.snapshotRmCmd())
	return cmd
}

func (a *app) snapshotLsCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls NAME", Short: "List the snapshots of an instance, oldest first", Args: exactArgs("NAME"),
		ValidArgsFunction: a.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := c.Snapshots(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(list)
			}
			rows := [][]string{{"SNAPSHOT", "TAKEN", "MEMORY", ""}}
			for _, s := range list {
				memory, current := "", ""
				if s.Memory {
					memory = "with memory"
				}
				if s.Current {
					current = "the disk goes on from here"
				}
				rows = append(rows, []string{s.Name, s.CreatedAt.Local().Format("2006-01-02 15:04:05"), memory, current})
			}
			return table(a.out, rows)
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) snapshotRestoreCmd() *cobra.Command {
	var yes, noWait bool
	cmd := &cobra.Command{
		Use: "restore NAME SNAPSHOT", Short: "Take the disk back to a snapshot; what came after it is lost",
		Args:              exactArgs("NAME", "SNAPSHOT"),
		ValidArgsFunction: a.completeSnapshots,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.hasSnapshot(cmd.Context(), args[0], args[1]); err != nil {
				return err
			}
			text := fmt.Sprintf("Everything that was written on %s since %s was taken is lost for good, and what runs there ends.\nGo back to %s?", args[0], args[1], args[1])
			if err := a.confirm(cmd.Context(), yes, text); err != nil {
				return err
			}
			return a.operate(cmd, noWait, func(ctx context.Context, c *api.WorkspaceClient, id string) (api.Operation, error) {
				return c.Restore(ctx, args[0], api.SnapshotRequest{Name: args[1], RequestID: id})
			})
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "return as soon as it is under way")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) snapshotRmCmd() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "rm NAME SNAPSHOT", Short: "Forget a snapshot; the instance stays as it is", Args: exactArgs("NAME", "SNAPSHOT"),
		ValidArgsFunction: a.completeSnapshots,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.hasSnapshot(cmd.Context(), args[0], args[1]); err != nil {
				return err
			}
			if err := a.confirm(cmd.Context(), yes, "Forget the snapshot "+args[1]+" of "+args[0]+"?"); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			return c.DeleteSnapshot(cmd.Context(), args[0], args[1])
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// hasSnapshot is the error for a snapshot that is not there: said before anything is asked.
func (a *app) hasSnapshot(ctx context.Context, name, snapshot string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	list, err := c.Snapshots(ctx, name)
	if err != nil {
		return err
	}
	for _, s := range list {
		if s.Name == snapshot {
			return nil
		}
	}
	return api.Errorf(api.CodeNotFound, "%s has no snapshot %q", name, snapshot).WithHint("berth snapshot ls %s", name)
}

// completeSnapshots completes an instance, then one of its snapshots.
func (a *app) completeSnapshots(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return a.completeInstances(1, func(in *api.Instance) bool { return in.Capabilities.Snapshots })(cmd, args, part)
	}
	return a.offer(cmd, func(ctx context.Context, c *api.WorkspaceClient) (out []string, err error) {
		list, err := c.Snapshots(ctx, args[0])
		for _, s := range list {
			out = append(out, cobra.CompletionWithDesc(s.Name, s.CreatedAt.Local().Format("2006-01-02 15:04")))
		}
		return out, err
	})
}

func (a *app) cloneCmd() *cobra.Command {
	var q api.CreateRequest
	var noWait bool
	cmd := &cobra.Command{
		Use:               "clone NAME NEW",
		Short:             "Make an instance with a copy of another one's disk; that one must be stopped",
		Example:           "  berth stop vision && berth clone vision vision-2",
		Args:              exactArgs("NAME", "NEW"),
		ValidArgsFunction: a.completeInstances(1, func(in *api.Instance) bool { return in.Capabilities.Clone }),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.From, q.Name = args[0], args[1]
			return a.create(cmd, q, noWait)
		},
	}
	cmd.Flags().StringVar(&q.Size, "size", "", "size, if it is to be another one than the original's")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "return as soon as it is under way")
	a.jsonFlag(cmd)
	return cmd
}
