package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/backend/base/plaintext"
)

// attentionWait is how long instances may take to say what wants attention on them.
const attentionWait = 5 * time.Second

// attentionRow is what wants attention on an instance, as --json prints it. What several instances on one host find is
// one row.
type attentionRow struct {
	Instance  string   `json:"instance"`
	Instances []string `json:"instances,omitempty"` // where there are several: all of them, Instance first
	api.Attention
}

// add says that another instance finds the same.
func (r *attentionRow) add(name string, f api.Attention) {
	if len(r.Instances) == 0 {
		r.Instances = []string{r.Instance}
	}
	r.Instances = append(r.Instances, name)
	if f.Since.Before(r.Since) {
		r.Since = f.Since
	}
}

func (a *app) attentionCmd() *cobra.Command {
	var ack, mute string
	var span time.Duration
	var all bool
	cmd := &cobra.Command{
		Use:   "attention [NAME]",
		Short: "What wants attention on the instances, and what to do",
		Long: "attention lists what is the matter: GPUs that are lost, hot or idle while they are billed, disks that fill, agents that are silent. With the id\n" +
			"of a finding, --ack hides it until it goes and comes again, and --mute keeps its rule quiet on that instance for a while.",
		Example: "  berth attention\n  berth attention vision --ack disk-full:/\n  berth attention vision --mute gpu-idle --for 8h",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return exactArgs("[NAME]")(cmd, args)
			}
			return nil
		},
		ValidArgsFunction: a.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) == 1 {
				name = args[0]
			}
			q := api.AttentionRequest{Finding: cmp.Or(ack, mute), Acknowledge: ack != ""}
			switch {
			case q.Finding != "" && name == "":
				return api.Errorf(api.CodeUsage, "--ack and --mute need the instance whose finding it is").
					WithHint("berth attention NAME --ack ID")
			case ack != "" && mute != "":
				return api.Errorf(api.CodeUsage, "--ack and --mute exclude each other")
			case cmd.Flags().Changed("for") && mute == "":
				return api.Errorf(api.CodeUsage, "--for belongs to --mute")
			case span <= 0:
				return api.Errorf(api.CodeUsage, "--for %s: a time such as 8h", span)
			case mute != "":
				q.MuteSeconds = span.Seconds()
			}
			return a.attention(cmd.Context(), name, q, all)
		},
	}
	f := cmd.Flags()
	f.StringVar(&ack, "ack", "", "acknowledge the finding of this id")
	f.StringVar(&mute, "mute", "", "mute the rule of the finding of this id")
	f.DurationVar(&span, "for", time.Hour, "how long --mute lasts")
	f.BoolVar(&all, "all", false, "also what was acknowledged or muted")
	a.jsonFlag(cmd)
	return cmd
}

// attentionRows are the findings of all instances; what several find of one host is one row. All are also those that
// were acknowledged or muted.
func attentionRows(list []api.Instance, known map[string]api.FleetFigures, all bool, now time.Time) []attentionRow {
	var rows []attentionRow
	at := map[string]int{} // by what a row is about
	for i := range list {
		for _, f := range known[list[i].ID].Attention {
			if !all && (f.Acknowledged || (f.MutedUntil != nil && f.MutedUntil.After(now))) {
				continue
			}
			about := f.About(list[i].ID)
			if r, ok := at[about]; ok {
				rows[r].add(list[i].Name, f)
				continue
			}
			at[about] = len(rows)
			rows = append(rows, attentionRow{Instance: list[i].Name, Attention: f})
		}
	}
	return rows
}

// attention lists what is found of all instances, or of one; or says something of one finding.
func (a *app) attention(ctx context.Context, name string, q api.AttentionRequest, all bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	list, err := c.Instances(ctx, api.ListOptions{})
	if err != nil {
		return err
	}
	if name != "" {
		in, err := c.Instance(ctx, name)
		if err != nil {
			return err
		}
		list = []api.Instance{in}
	}
	var rows []attentionRow
	err = follow(ctx, c, list, func(known map[string]api.FleetFigures) error {
		if q.Finding != "" {
			return c.Attend(ctx, list[0].ID, q) // while it is followed: what is found is known
		}
		rows = attentionRows(list, known, all, time.Now())
		return nil
	})
	if err != nil || q.Finding != "" {
		return err
	}
	order := []string{"critical", "warning", "info"}
	slices.SortStableFunc(rows, func(x, y attentionRow) int {
		return cmp.Or(cmp.Compare(slices.Index(order, x.Severity), slices.Index(order, y.Severity)), x.Since.Compare(y.Since))
	})
	if a.json {
		return a.printJSON(append([]attentionRow{}, rows...))
	}
	if len(rows) == 0 {
		fmt.Fprintln(a.err, "berth: nothing wants attention")
		return nil
	}
	lines := [][]string{{"SEVERITY", "INSTANCE", "SUBJECT", "SINCE", "WHAT", "ID"}}
	for _, r := range rows {
		of := r.Instance
		if len(r.Instances) > 0 {
			of = strings.Join(r.Instances, ", ")
		}
		lines = append(lines, []string{r.Severity, of, r.Subject, r.Since.Local().Format("2006-01-02 15:04"), r.Text,
			r.ID})
	}
	if err := table(a.out, lines); err != nil {
		return err
	}
	told := map[string]bool{}
	for _, r := range rows {
		if r.Advice != "" && !told[r.Advice] {
			told[r.Advice] = true
			fmt.Fprintln(a.out, plaintext.Text("\n"+r.Rule+": "+r.Advice))
		}
	}
	return nil
}

// follow watches the fleet until every instance of the list that runs has been heard, or for attentionWait, and
// calls then, while it is still watched, with what is known.
func follow(ctx context.Context, c *api.WorkspaceClient, list []api.Instance,
	then func(map[string]api.FleetFigures) error) error {
	waiting, known := map[string]bool{}, map[string]api.FleetFigures{}
	for i := range list {
		waiting[list[i].ID] = list[i].State == api.StateRunning || list[i].State == api.StateSetupFailed
	}
	lines := make(chan api.FleetFigures)
	wctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- c.WatchFleet(wctx, time.Second, func(f api.FleetFigures) error {
			select {
			case lines <- f:
				return nil
			case <-wctx.Done():
				return wctx.Err()
			}
		})
	}()
	late := time.After(attentionWait)
	for done := false; !done && slices.Contains(slices.Collect(maps.Values(waiting)), true); {
		select {
		case f := <-lines:
			known[f.Instance] = f
			// not only: not heard yet
			if (f.Silent == nil && f.Summary != nil) || (f.Silent != nil && time.Since(*f.Silent) > time.Second) {
				waiting[f.Instance] = false
			}
		case <-late:
			done = true
		case err := <-ended:
			cancel()
			return err
		}
	}
	err := then(known)
	cancel()
	if werr := <-ended; err == nil && !errors.Is(werr, context.Canceled) {
		err = werr
	}
	return err
}
