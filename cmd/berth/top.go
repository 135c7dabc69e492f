//go:build !front

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/gpu"
	"berth/ui/money"
)

func (a *app) topCmd() *cobra.Command {
	var once, watch bool
	var every time.Duration
	var search api.ProcessSearch
	cmd := &cobra.Command{
		Use:   "top NAME",
		Short: "GPUs, processes, CPU, memory and disks of an instance, live",
		Long: "top opens the dashboard on one instance's figures. With --once, or without a terminal, it prints them and ends;\n" +
			"with --watch it prints them again and again (with --json a document a line).\n\n" +
			"The processes are those of its terminals and commands, those on GPUs, and those that use most. --filter and --pid\n" +
			"print only what they name, of all processes.",
		Example:           "  berth top vision\n  berth top vision --once --json\n  berth top vision --watch --json --every 5s\n  berth top vision --once --filter \"ann python\"",
		Args:              exactArgs("NAME"),
		ValidArgsFunction: a.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if every < time.Second {
				return api.Errorf(api.CodeUsage, "--every %s: at least 1s", every)
			}
			if once && watch {
				return api.Errorf(api.CodeUsage, "--once and --watch exclude each other")
			}
			if !once && !watch && !a.json && search.Filter == "" && len(search.PIDs) == 0 && terminal(a.in) && terminal(a.out) {
				return a.dashboardOn(cmd, args[0])
			}
			return a.top(cmd.Context(), args[0], watch, every, search)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "print the figures once")
	cmd.Flags().BoolVar(&watch, "watch", false, "print the figures again and again")
	cmd.Flags().DurationVar(&every, "every", time.Second, "how often --watch prints them")
	cmd.Flags().StringVar(&search.Filter, "filter", "",
		"only processes in whose line all of these words are; one with ! before it must not be there")
	cmd.Flags().IntSliceVar(&search.PIDs, "pid", nil, "only these processes")
	a.jsonFlag(cmd)
	return cmd
}

// top prints an instance's figures once, or until it is interrupted.
func (a *app) top(ctx context.Context, name string, watch bool, every time.Duration, search api.ProcessSearch) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	limit := topProcesses
	if search.Filter != "" || len(search.PIDs) > 0 {
		limit = math.MaxInt
	}
	match := search.Match()
	only := func(s *gpu.Sample) {
		s.Processes = slices.DeleteFunc(s.Processes, func(p gpu.Process) bool { return !match(&p) })
	}
	return c.WithQuestions(ctx, func(ctx context.Context) error {
		if !watch {
			s, err := c.Agent(name).Figures(ctx, search)
			if err != nil {
				return err
			}
			only(&s)
			if a.json {
				return a.printJSON(s)
			}
			return a.printSample(name, &s, limit)
		}
		enc := json.NewEncoder(jsonOut(a.out))
		return c.Agent(name).WatchFigures(ctx, every, search, func(s gpu.Sample) error {
			only(&s)
			if a.json {
				return enc.Encode(s)
			}
			if err := a.printSample(name, &s, limit); err != nil {
				return err
			}
			_, err := fmt.Fprintln(a.out)
			return err
		})
	})
}

// figure writes a figure that may be missing.
func figure[T int64 | float64](v *T, form func(T) string) string {
	if v == nil {
		return dash
	}
	return form(*v)
}

func percent(v float64) string { return strconv.FormatFloat(v, 'f', 0, 64) + money.Percent }

// figureIn writes figures in a unit of package money.
func figureIn(unit string) func(float64) string {
	return func(v float64) string { return money.Figure(&v, unit) }
}

// of writes "used/total".
func of[T int64 | float64](used, total *T, form func(T) string) string {
	if used == nil || total == nil {
		return figure(used, form)
	}
	return form(*used) + "/" + form(*total)
}

// unified marks memory that is the host's.
func unified(yes bool) string {
	if yes {
		return " (unified)"
	}
	return ""
}

// printSample prints a sample, with at most limit processes that are on no GPU and not of the instance.
func (a *app) printSample(name string, s *gpu.Sample, limit int) error {
	head := fmt.Sprintf("%s  %s", name, s.SampledAt.Local().Format(time.TimeOnly))
	head += fmt.Sprintf("  CPU %s  load %s  memory %s", figure(s.CPU, percent),
		figure(s.Load1, func(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }),
		of(s.MemoryUsed, s.MemoryTotal, money.Bytes))
	if s.SwapTotal != nil && *s.SwapTotal > 0 {
		head += "  swap " + of(s.SwapUsed, s.SwapTotal, money.Bytes)
	}
	fmt.Fprintln(a.out, plaintext.Text(head))
	if s.GPUError != "" {
		why := s.GPUError
		if s.GPUsStaleSince != nil {
			why = "figures of " + s.GPUsStaleSince.Local().Format(time.TimeOnly) + ": " + why
		}
		fmt.Fprintln(a.out, plaintext.Text("GPUs: "+why))
	}
	var tables [][][]string
	if len(s.GPUs) > 0 {
		rows := [][]string{{"GPU", "NAME", "UTIL", "MEMORY", "TEMP", "POWER", "SM CLOCK", "HELD BACK"}}
		for i := range s.GPUs {
			g := &s.GPUs[i]
			if g.Error != "" {
				rows = append(rows, []string{strconv.Itoa(g.Index), g.Name, dash, dash, dash, dash, dash, g.Error})
				continue
			}
			rows = append(rows, []string{strconv.Itoa(g.Index), g.Name, figure(g.Utilization, percent),
				of(g.MemoryUsed, g.MemoryTotal, money.Bytes) + unified(g.Unified), money.Figure(g.Temperature, money.Celsius),
				money.FigureOf(g.Power, g.PowerLimit, money.Watt), money.Figure(g.SMClock, money.MHz),
				orDash(strings.Join(slices.DeleteFunc(slices.Clone(g.Throttle), func(r string) bool { return r == "idle" }),
					", "))})
		}
		tables = append(tables, rows)
	}
	if rows := processRows(s.Processes, limit); len(rows) > 1 {
		tables = append(tables, rows)
	}
	disks := [][]string{{"DISK", "FILE SYSTEM", "USED", "AVAILABLE", "FULL", "FILES", "FULL IN"}}
	for i := range s.Disks {
		d := &s.Disks[i]
		full := figure(d.FullIn, func(v float64) string {
			return (time.Duration(v) * time.Second).Round(time.Minute).String()
		})
		if d.StaleSince != nil {
			full = "does not answer since " + d.StaleSince.Local().Format(time.TimeOnly)
		}
		disks = append(disks, []string{d.Mount, d.Filesystem, of(d.Used, d.Total, money.Bytes),
			figure(d.Available, money.Bytes),
			figure(d.UsedPercent, percent), figure(d.InodesUsed, percent), full})
	}
	tables = append(tables, disks)
	for _, rows := range tables {
		fmt.Fprintln(a.out)
		if err := table(a.out, rows); err != nil {
			return err
		}
	}
	for _, f := range s.Attention {
		fmt.Fprintln(a.out, plaintext.Text("\n"+f.Severity+": "+f.Subject+": "+f.Text+"\n  "+f.Advice))
	}
	return nil
}

const (
	// topProcesses is how many processes are printed that are on no GPU and not of the instance, where nothing is
	// searched for.
	topProcesses = 10
	// commandWidth is how much is printed of a command line.
	commandWidth = 80
)

func processRows(list []gpu.Process, limit int) [][]string {
	rows := [][]string{{"PID", "USER", "GPU", "GPU MEMORY", "SM", "CPU", "MEMORY", "OF", "COMMAND"}}
	others := 0
	for i := range list {
		p := &list[i]
		on := dash
		if p.GPUIndex != nil {
			on = strconv.Itoa(*p.GPUIndex)
		} else if p.Owner.Kind == "" { // what belongs to the instance is always printed
			if others++; others > limit {
				continue
			}
		}
		command := p.Command
		if r := []rune(command); len(r) > commandWidth {
			command = string(r[:commandWidth-1]) + "…"
		}
		if p.Note != "" {
			command += " (" + p.Note + ")"
		}
		rows = append(rows, []string{strconv.Itoa(p.PID), p.User, on, figure(p.GPUMemory, money.Bytes), figure(p.SM, percent),
			figure(p.CPU, percent), figure(p.Memory, money.Bytes),
			orDash(strings.TrimSpace(p.Owner.Kind + " " + p.Owner.ID)), command})
	}
	return rows
}
