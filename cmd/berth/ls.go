package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/ui/jobword"
	"berth/ui/money"
)

func (a *app) lsCmd() *cobra.Command {
	var o api.ListOptions
	var state string
	var watch bool
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the fleet",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.State = api.State(state)
			if state != "" && !slices.Contains(api.States, o.State) {
				return api.Errorf(api.CodeUsage, "--state %q is not a state", state).WithHint("one of %v", api.States)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if watch {
				return a.watch(cmd.Context(), c, o)
			}
			list, err := c.Instances(cmd.Context(), o)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(list)
			}
			if len(list) == 0 && (o.Mine || o.Backend != "" || o.State != "") {
				fmt.Fprintln(a.err, "No instance is like that. berth ls lists all.")
				return nil
			}
			return a.printFleet(list)
		},
	}
	cmd.Flags().BoolVar(&o.Mine, "mine", false, "only what I made or what is assigned to me")
	cmd.Flags().StringVar(&o.Backend, "backend", "", "only this backend")
	cmd.Flags().StringVar(&state, "state", "", "only this state")
	cmd.Flags().BoolVar(&watch, "watch", false, "go on showing changes until interrupted")
	a.jsonFlag(cmd)
	a.completeBackend(cmd)
	_ = cmd.RegisterFlagCompletionFunc("state", func(*cobra.Command, []string, string) ([]string,
		cobra.ShellCompDirective) {
		var out []string
		for _, s := range api.States {
			out = append(out, string(s))
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}

// printFleet prints the fleet for people.
func (a *app) printFleet(list []api.Instance) error {
	if len(list) == 0 {
		on := "on this computer"
		if b := a.conf.Defaults.Backend; b != "local" {
			on = "on backend " + b
		}
		fmt.Fprintf(a.err, "No instances. berth create NAME makes one %s; berth adopt NAME user@host takes one in.\n",
			plaintext.Text(on))
		return nil
	}
	now := time.Now()
	rows := [][]string{{"NAME", "STATE", "BACKEND", "SIZE", "GPUS", "OWNER", "PRICE", "TODAY", "IDLE", "SEEN"}}
	for i := range list {
		rows = append(rows, fleetRow(&list[i], now))
	}
	rows = withJobs(rows, list)
	var b strings.Builder
	if err := table(&b, rows); err != nil {
		return err
	}
	text := b.String()
	if colour(a.out) {
		text = colourStates(text, list)
	}
	_, err := fmt.Fprint(a.out, text)
	return err
}

func fleetRow(in *api.Instance, now time.Time) []string {
	idle := dash
	if in.State == api.StateRunning {
		idle = ago(in.IdleSince, now)
	}
	state := string(in.State)
	if in.State.Changing() {
		state += " " + span(now.Sub(in.StateSince))
	}
	return []string{in.Name, state, in.Backend, orDash(in.Size), gpusText(in.GPUs), orDash(in.Owner),
		money.PerHour(in.PriceUSDPerHour), money.Maybe(in.CostTodayUSD), idle, ago(in.ObservedAt, now)}
}

// withJobs puts how many jobs run and wait before the owner, where an instance has any.
func withJobs(rows [][]string, list []api.Instance) [][]string {
	const at = 5
	if !slices.ContainsFunc(list, func(in api.Instance) bool { return jobword.Of(&in) != api.JobCounts{} }) {
		return rows
	}
	rows[0] = slices.Insert(rows[0], at, "JOBS")
	for i := range list {
		rows[i+1] = slices.Insert(rows[i+1], at, orDash(jobword.Counts(jobword.Of(&list[i]))))
	}
	return rows
}

// colourStates colours the state's word in each line. The word stays: colour says nothing alone.
func colourStates(text string, list []api.Instance) string {
	lines := strings.SplitAfter(text, "\n")
	for i := range list {
		s := string(list[i].State)
		if i+1 < len(lines) {
			lines[i+1] = strings.Replace(lines[i+1], " "+s, " "+stateSGR(list[i].State)+s+"\x1b[0m", 1)
		}
	}
	return "\x1b[1m" + strings.TrimSuffix(lines[0], "\n") + "\x1b[0m\n" + strings.Join(lines[1:], "")
}

func stateSGR(s api.State) string {
	switch {
	case s == api.StateRunning:
		return "\x1b[32m"
	case s.Changing():
		return "\x1b[36m"
	case s == api.StateStopped:
		return "\x1b[2m"
	}
	return "\x1b[31m"
}

// watchLine is what a line of --watch says of an instance: its name and its state.
func watchLine(in *api.Instance) string {
	return plaintext.Text(in.Name) + "  " + string(in.State)
}

// watch prints the fleet, then each change: with --json a document a line (removed instances as
// {"removed":id}), else a line a change.
func (a *app) watch(ctx context.Context, c *api.WorkspaceClient, o api.ListOptions) error {
	wants := func(in *api.Instance) bool {
		return (!o.Mine || in.Mine) && (o.Backend == "" || in.Backend == o.Backend) && (o.State == "" || in.State == o.State)
	}
	names := map[string]string{}
	said := map[string]string{} // by id, what was printed last: most changes are not of what a line shows
	enc := json.NewEncoder(jsonOut(a.out))
	var first []api.Instance
	started := false
	for {
		err := c.Watch(ctx, func(ch api.Change) error {
			for i := range ch.Snapshot {
				in := &ch.Snapshot[i]
				names[in.ID] = in.Name
				if !wants(in) {
					continue
				}
				if a.json && !started {
					if err := enc.Encode(in); err != nil {
						return err
					}
				}
				said[in.ID] = watchLine(in)
				first = append(first, *in)
			}
			if ch.Complete && !started {
				started = true
				if !a.json {
					if err := a.printFleet(first); err != nil {
						return err
					}
				}
				first = nil
			}
			switch {
			case ch.Instance != nil:
				names[ch.Instance.ID] = ch.Instance.Name
				if !wants(ch.Instance) {
					return nil
				}
				if a.json {
					return enc.Encode(ch.Instance)
				}
				line := watchLine(ch.Instance)
				if said[ch.Instance.ID] == line {
					return nil
				}
				said[ch.Instance.ID] = line
				_, err := fmt.Fprintf(a.out, "%s  %s\n", time.Now().Format(time.TimeOnly), line)
				return err
			case ch.Removed != "":
				if a.json {
					return enc.Encode(map[string]string{"removed": ch.Removed, "name": names[ch.Removed]})
				}
				_, err := fmt.Fprintf(a.out, "%s  %s  deleted\n", time.Now().Format(time.TimeOnly),
					plaintext.Text(names[ch.Removed]))
				return err
			}
			return nil
		})
		if ctx.Err() != nil {
			return nil // the user has seen enough
		}
		if err != nil && api.AsError(err).Code != api.CodeUnreachable {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond): // the next daemon
		}
	}
}
