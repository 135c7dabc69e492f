package main

import (
	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/gpu"
	"berth/ui"
)

// dashboard opens the dashboard; without a terminal it prints help and fails.
func (a *app) dashboard(cmd *cobra.Command) error {
	if !terminal(a.in) || !terminal(a.out) {
		cmd.SetOut(a.err)
		_ = cmd.Help() // the error says what matters
		return api.Errorf(api.CodeUsage, "the dashboard needs a terminal").WithHint("berth ls lists the fleet without one")
	}
	if err := a.setup(); err != nil {
		return err
	}
	u := a.conf.UI
	d := a.conf.Defaults
	return ui.Run(cmd.Context(), ui.Options{
		NewClient: a.newClient,
		Config: ui.Config{Columns: u.Columns, Sort: u.Sort, MineOnly: u.Mine, Theme: u.Theme, ASCII: u.ASCII, Mouse: u.Mouse, ReadOnly: u.ReadOnly, Escape: u.DetachKey,
			Defaults: ui.Defaults{Backend: d.Backend, Size: d.Size, Image: d.Image}},
		LocalGPUs: gpu.Present(),
	})
}
