//go:build !front

package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/backend/transport/forward"
	"berth/backend/transport/sshconfig"
	"berth/gpu"
	"berth/ui"
	"berth/ui/jobword"
)

// dashboard opens the dashboard; without a terminal it prints help and fails.
func (a *app) dashboard(cmd *cobra.Command) error { return a.dashboardOn(cmd, "") }

// dashboardOn opens the dashboard, on the figures of an instance if one is named.
func (a *app) dashboardOn(cmd *cobra.Command, top string) error {
	if !terminal(a.in) || !terminal(a.out) {
		cmd.SetOut(a.err)
		_ = cmd.Help() // the error says what matters
		return api.Errorf(api.CodeUsage, "the dashboard needs a terminal").WithHint("berth ls lists the fleet without one")
	}
	if err := a.setup(); err != nil {
		return err
	}
	if top != "" {
		c, err := a.client()
		if err != nil {
			return err
		}
		in, err := c.Instance(cmd.Context(), top)
		if err != nil {
			return err
		}
		top = in.ID
	}
	a.onScreen = true
	u := a.conf.UI
	d := a.conf.Defaults
	var bell func(string, *api.Job, int) string
	if u.JobBell {
		bell = func(name string, j *api.Job, more int) string { return jobword.Bell(name, j, more, os.Getenv) }
	}
	return ui.Run(cmd.Context(), ui.Options{
		NewClient: a.newClient,
		Config: ui.Config{Columns: u.Columns, Sort: u.Sort, MineOnly: u.Mine, Theme: u.Theme, ASCII: u.ASCII, Mouse: u.Mouse,
			ReadOnly: u.ReadOnly, Escape: u.DetachKey, Notify: u.Notify, JobBell: bell,
			Defaults: ui.Defaults{Backend: d.Backend, Size: d.Size, Image: d.Image}, Commands: commands(cmd.Root())},
		SSHHosts:  func() []string { return sshconfig.Names("") },
		LocalGPUs: gpu.Present(),
		Seen:      filepath.Join(a.home.State, "queues-seen.json"),
		Place:     forward.PlaceHere(os.Getenv, a.home.Run, false),
		Top:       top,
	})
}

// commands lists what the command line has, for the palette.
func commands(of *cobra.Command) []ui.Command {
	var out []ui.Command
	for _, c := range of.Commands() {
		if c.Hidden {
			continue
		}
		if c.Runnable() {
			_, path, _ := strings.Cut(c.CommandPath(), " ")
			out = append(out, ui.Command{Path: path, Desc: c.Short})
		}
		out = append(out, commands(c)...)
	}
	return out
}
