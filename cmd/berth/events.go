package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/backend/base/plaintext"
)

func (a *app) eventsCmd() *cobra.Command {
	var follow bool
	var limit int
	cmd := &cobra.Command{
		Use:   "events [NAME]",
		Short: "What happened, and who asked for it",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return api.Errorf(api.CodeUsage, "events takes at most one NAME")
			}
			return nil
		},
		ValidArgsFunction: a.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o := api.EventOptions{Limit: limit}
			if len(args) == 1 {
				o.Instance = args[0]
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			a.sayGone(cmd.Context(), c, o)
			if follow {
				return a.followEvents(cmd.Context(), c, o)
			}
			list, err := c.Events(cmd.Context(), o)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(list)
			}
			for i := range list {
				if err := a.printEvent(&list[i]); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with new ones until interrupted")
	cmd.Flags().IntVarP(&limit, "limit", "n", 100, "the newest so many")
	a.jsonFlag(cmd)
	return cmd
}

// sayGone says that the instance whose events are asked for is there no more, if so. What else is wrong is said by the
// call for the events.
func (a *app) sayGone(ctx context.Context, c *api.WorkspaceClient, o api.EventOptions) {
	if o.Instance == "" {
		return
	}
	if _, err := c.Instance(ctx, o.Instance); !errors.Is(err, &api.Error{Code: api.CodeNotFound}) {
		return
	}
	o.Limit = 1
	if kept, err := c.Events(ctx, o); err == nil && len(kept) > 0 {
		fmt.Fprintf(a.err, "berth: %s is gone; this is what is kept of it\n", plaintext.Text(o.Instance))
	}
}

func (a *app) followEvents(ctx context.Context, c *api.WorkspaceClient, o api.EventOptions) error {
	enc := json.NewEncoder(jsonOut(a.out))
	for {
		err := c.Records().FollowEvents(ctx, o, func(e api.Event) error {
			o.Since = e.Seq // where the next daemon goes on
			if a.json {
				return enc.Encode(e)
			}
			return a.printEvent(&e)
		})
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && api.AsError(err).Code != api.CodeUnreachable {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (a *app) printEvent(e *api.Event) error {
	level := ""
	if e.Level != "info" {
		level = e.Level + ": "
	}
	who := ""
	if e.Actor != "" {
		who = " (" + plaintext.Text(e.Actor) + ")"
	}
	_, err := fmt.Fprintf(a.out, "%s  %-24s  %s%s%s\n", e.Time.Local().Format("2006-01-02 15:04:05.000"),
		plaintext.Text(e.Instance), level, plaintext.Text(e.Message), who)
	return err
}
