//go:build !front

package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/gpu"
	"berth/ui/money"
)

func (a *app) historyCmd() *cobra.Command {
	var o api.HistoryOptions
	var since, until string
	var asCSV bool
	cmd := &cobra.Command{
		Use:   "history NAME",
		Short: "What was measured on an instance, also while nobody watched",
		Long: "history prints what the instance's agent measured: each second for 15 minutes while somebody watches, each 10 s for 6 hours, each minute\n" +
			"for 30 days, with mean and maximum. What was not measured is missing, not 0.\n\nWhat is measured:\n\n" + metricsText(),
		Example:           "  berth history vision --metric gpu_utilization_percent --since 6h\n  berth history vision --metric disk_used_bytes --subject / --since 30d --csv >disk.csv",
		Args:              exactArgs("NAME"),
		ValidArgsFunction: a.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			now := time.Now()
			var err error
			if o.Since, err = moment(since, now); err != nil {
				return api.Errorf(api.CodeUsage, "--since %w", err)
			}
			if until != "" {
				if o.Until, err = moment(until, now); err != nil {
					return api.Errorf(api.CodeUsage, "--until %w", err)
				}
			}
			if asCSV && a.json {
				return api.Errorf(api.CodeUsage, "--csv and --json exclude each other")
			}
			if o.Points < 0 {
				return api.Errorf(api.CodeUsage, "--points %d: at least 1", o.Points)
			}
			return a.history(cmd.Context(), args[0], o, asCSV)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.Metrics, "metric", nil, "what; may be repeated; empty: all")
	f.StringVar(&o.Subject, "subject", "", "only of this GPU (its UUID), disk (its mount) or interface")
	f.StringVar(&since, "since", "1h", "from when on: 90m, 6h, 30d, or a time (2006-01-02T15:04:05Z)")
	f.StringVar(&until, "until", "", "until when; empty: now")
	f.IntVar(&o.Points, "points", 0, "at most so many points a series; 0: 1000")
	f.BoolVar(&asCSV, "csv", false, "print every point: time,metric,subject,mean,max")
	a.jsonFlag(cmd)
	_ = cmd.RegisterFlagCompletionFunc("metric", func(*cobra.Command, []string, string) ([]string,
		cobra.ShellCompDirective) {
		var out []string
		for _, m := range gpu.Metrics() {
			out = append(out, cobra.CompletionWithDesc(m.Name, m.Help))
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}

func (a *app) history(ctx context.Context, name string, o api.HistoryOptions, asCSV bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var series []gpu.Series
	err = c.WithQuestions(ctx, func(ctx context.Context) error {
		series, err = c.Agent(name).History(ctx, o)
		return err
	})
	switch {
	case err != nil:
		return err
	case a.json:
		return a.printJSON(series)
	case asCSV:
		return a.printCSV(series)
	}
	rows := [][]string{{"METRIC", "OF", "STEP", "POINTS", "MIN", "MEAN", "MAX", "LAST"}}
	for i := range series {
		s := &series[i]
		if len(s.Points) == 0 {
			continue
		}
		low, high, sum := math.Inf(1), math.Inf(-1), 0.0
		for _, p := range s.Points {
			low, high, sum = min(low, p.Mean), max(high, p.Max), sum+p.Mean
		}
		form := unitOf(s.Metric)
		of := s.Subject
		if s.Index != nil {
			of = fmt.Sprintf("GPU %d", *s.Index)
		}
		of += unified(s.Unified)
		rows = append(rows, []string{s.Metric, orDash(of), (time.Duration(s.Step) * time.Second).String(),
			strconv.Itoa(len(s.Points)),
			form(low), form(sum / float64(len(s.Points))), form(high), form(s.Points[len(s.Points)-1].Mean)})
	}
	if len(rows) == 1 {
		fmt.Fprintln(a.err, "berth: nothing was measured then")
		return nil
	}
	return table(a.out, rows)
}

// unitOf writes a metric's figures in its unit.
func unitOf(metric string) func(float64) string {
	switch {
	case strings.HasSuffix(metric, "_percent"):
		return func(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) + "%" }
	case strings.HasSuffix(metric, "_bytes"):
		return func(v float64) string { return money.Bytes(int64(v)) }
	case strings.HasSuffix(metric, "_bytes_per_second"):
		return func(v float64) string { return money.Bytes(int64(v)) + "/s" }
	case strings.HasSuffix(metric, "_celsius"):
		return figureIn(money.Celsius)
	case strings.HasSuffix(metric, "_watts"):
		return figureIn(money.Watt)
	case strings.HasSuffix(metric, "_mhz"):
		return figureIn(money.MHz)
	}
	return func(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }
}

func (a *app) printCSV(series []gpu.Series) error {
	w := csv.NewWriter(a.out)
	_ = w.Write([]string{"time", "metric", "subject", "gpu_index", "mean", "max"}) // Error tells
	for i := range series {
		s := &series[i]
		index := ""
		if s.Index != nil {
			index = strconv.Itoa(*s.Index)
		}
		for _, p := range s.Points {
			_ = w.Write([]string{p.At.UTC().Format(time.RFC3339), s.Metric, s.Subject, index, strconv.FormatFloat(p.Mean, 'g',
				-1, 64), strconv.FormatFloat(p.Max, 'g', -1, 64)})
		}
	}
	w.Flush()
	return w.Error()
}

// metricsText lists what is measured, for the help.
func metricsText() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, m := range gpu.Metrics() {
		fmt.Fprintf(w, "  %s\t%s\n", m.Name, m.Help)
	}
	_ = w.Flush() // into a buffer
	return strings.TrimRight(b.String(), "\n")
}
