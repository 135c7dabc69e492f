package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/ui/age"
	"berth/ui/money"
)

func (a *app) jobUsageCmd() *cobra.Command {
	var by, since string
	cmd := &cobra.Command{
		Use: "usage NAME", Short: "What jobs have used of an instance, by user or group", Args: exactArgs("NAME"),
		Long: "usage sums up time, CPU time, GPU time, energy and cost of the jobs that run or have ended since. Of a job that was run\n" +
			"several times its last run counts; the cost is the instance's price for the time, whatever else ran then.",
		Example: "  berth job usage vision\n  berth job usage vision --by group --since 7d", ValidArgsFunction: a.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if by != "user" && by != "group" {
				return api.Errorf(api.CodeUsage, "--by %q: usage is summed up by user or group", by).WithHint("--by group")
			}
			from, err := moment(since, time.Now())
			if err != nil {
				return api.Errorf(api.CodeUsage, "--since %w", err)
			}
			return a.jobUsage(cmd.Context(), args[0], by, from)
		},
	}
	cmd.Flags().StringVar(&by, "by", "user", "user or group")
	cmd.Flags().StringVar(&since, "since", "30d", "90m, 24h, 7d, or a time")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) jobUsage(ctx context.Context, name, by string, since time.Time) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var u api.JobUsage
	if err := c.WithQuestions(ctx, func(ctx context.Context) error {
		u, err = c.Agent(name).Jobs().Usage(ctx, by, since)
		return err
	}); err != nil {
		return err
	}
	if price := priceOf(ctx, c, name); price != nil {
		for i := range u.Rows {
			cost := u.Rows[i].RunSeconds / 3600 * *price
			u.Rows[i].CostUSD = &cost
		}
	}
	if a.json {
		return a.printJSON(u)
	}
	if len(u.Rows) == 0 {
		fmt.Fprintln(a.err, "berth: no job has run since "+clock(u.Since))
		return nil
	}
	span := func(seconds float64) string {
		s, _ := age.Elapsed(time.Duration(seconds * float64(time.Second)))
		return s
	}
	rows := [][]string{{map[string]string{"user": "USER", "group": "GROUP"}[by], "JOBS", "RUN", "CPU", "GPU", "ENERGY", "COST"}}
	for _, r := range u.Rows {
		who, energy := plaintext.Text(r.Name), ""
		if who == "" {
			who = "-"
		}
		if r.GPUEnergyJoules > 0 {
			energy = money.Energy(r.GPUEnergyJoules)
		}
		rows = append(rows, []string{who, strconv.Itoa(r.Jobs), span(r.RunSeconds), span(r.CPUSeconds), span(r.GPUSeconds),
			energy, money.Maybe(r.CostUSD)})
	}
	return listing(a.out, rows)
}
