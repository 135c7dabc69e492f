package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/ui/money"
)

func (a *app) showCmd() *cobra.Command {
	var refresh, console bool
	cmd := &cobra.Command{
		Use:               "show NAME",
		Short:             "All details of one instance",
		Args:              exactArgs("NAME"),
		ValidArgsFunction: a.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			if console {
				text, err := c.Console(ctx, args[0])
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(map[string]string{"console": text})
				}
				_, err = fmt.Fprintln(a.out, strings.TrimRight(plaintext.Text(text), "\n"))
				return err
			}
			get := c.Instance
			if refresh {
				get = c.Refresh
			}
			var in api.Instance
			err = c.WithQuestions(ctx, func(ctx context.Context) error {
				in, err = get(ctx, args[0])
				return err
			})
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(in)
			}
			return a.printInstance(&in)
		},
	}
	cmd.Flags().BoolVar(&refresh, "refresh", false, "ask the provider now")
	cmd.Flags().BoolVar(&console, "console", false, "print the last output of its console instead")
	a.jsonFlag(cmd)
	return cmd
}

// printInstance prints all that is known of an instance for people.
func (a *app) printInstance(in *api.Instance) error {
	now := time.Now()
	var rows [][]string
	add := func(k, v string) {
		if v != "" && v != dash {
			rows = append(rows, []string{k, v})
		}
	}
	add("name", in.Name)
	state := string(in.State)
	if in.StateReason != "" {
		state += ": " + in.StateReason
	}
	add("state", state+" (since "+in.StateSince.Local().Format("2006-01-02 15:04:05")+")")
	if op := in.Operation; op != nil {
		for _, s := range op.Steps {
			add("  "+op.Kind, strings.TrimSpace(fmt.Sprintf("%-9s %s%s %s", s.State, s.Title, stepTime(&s, now), s.Message)))
			for _, p := range s.Parts {
				add("    "+s.Name, strings.TrimSpace(fmt.Sprintf("%-9s %s%s %s", p.State, p.Title,
					stepTime(&api.Step{StartedAt: p.StartedAt, EndedAt: p.EndedAt}, now), p.Message)))
			}
		}
	}
	add("backend", in.Backend)
	if in.Adopted {
		add("adopted", "yes: berth rm only forgets it")
	}
	add("account", in.Account)
	add("id", in.ID)
	add("provider id", in.ProviderID)
	add("size", fmt.Sprintf("%s (%d vCPUs, %s memory, %s disk)", orDash(in.Size), in.VCPUs, money.Size(in.MemoryBytes),
		money.Size(in.DiskBytes)))
	add("GPUs", gpusText(in.GPUs))
	add("image", in.Image)
	add("profiles", strings.Join(in.Profiles, ", "))
	add("subnet", in.Subnet)
	add("region", in.Region)
	add("owner", in.Owner)
	add("assigned to", in.AssignedTo)
	add("address", in.Address)
	if in.Port != 0 {
		add("port", fmt.Sprint(in.Port))
	}
	add("user", in.User)
	add("working directory", in.Workdir)
	if a := in.Agent; a != nil {
		add("agent", strings.Join(slices.DeleteFunc([]string{a.State, a.Version, a.Reason},
			func(s string) bool { return s == "" }), ", "))
		add("after a reboot", a.AfterReboot)
		if d := time.Duration(a.ClockAhead * float64(time.Second)); d != 0 {
			add("clock", api.ClockText(d)+" of this computer's")
		}
		add("environment", environmentText(&a.Environment))
	}
	add("created", in.CreatedAt.Local().Format("2006-01-02 15:04:05"))
	if in.State == api.StateRunning {
		add("idle", ago(in.IdleSince, now))
	}
	add("seen", seenText(in.ObservedAt, now))
	add("price running", money.PerHour(in.RunningUSDPerHour))
	add("price stopped", money.PerHour(in.StoppedUSDPerHour))
	if c := in.CostTodayUSD; c != nil && (*c > 0 || in.PriceUSDPerHour == nil || *in.PriceUSDPerHour > 0) {
		add("cost today", money.Maybe(c))
	}
	for _, k := range slices.Sorted(maps.Keys(in.Tags)) {
		if !strings.HasPrefix(k, "berth-") {
			add("tag "+k, in.Tags[k])
		}
	}
	for _, n := range in.Notes {
		add("note", n)
	}
	for _, k := range slices.Sorted(maps.Keys(in.Capabilities.Why)) {
		add("no "+k, in.Capabilities.Why[k])
	}
	return table(a.out, rows)
}

// environmentText says where the environment comes from that commands run with.
func environmentText(e *api.ShellEnvironment) string {
	if e.CapturedAt.IsZero() {
		return ""
	}
	how := map[string]string{api.ShellInteractive: "of " + e.Shell + " as in a terminal", api.ShellLogin: "of " + e.Shell +
		" as a login shell only"}[e.How]
	s := cmp.Or(how, "a plain one") + ", captured " + e.CapturedAt.Local().Format("2006-01-02 15:04:05")
	if e.Error != "" {
		s += ": " + e.Error
	}
	return s
}

// seenText says how old the figures are.
func seenText(t *time.Time, now time.Time) string {
	s := ago(t, now)
	if s == dash || s == "now" {
		return s
	}
	return s + " ago"
}

// stepTime says how long a step took, or has taken so far.
func stepTime(s *api.Step, now time.Time) string {
	if s.StartedAt == nil {
		return ""
	}
	end := now
	if s.EndedAt != nil {
		end = *s.EndedAt
	}
	return " (" + seconds(max(0, end.Sub(*s.StartedAt))) + ")"
}
