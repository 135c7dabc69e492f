package main

import (
	"github.com/spf13/cobra"

	"berth/backend/api"
)

// dashboard opens the dashboard; without a terminal it prints help and fails.
func (a *app) dashboard(cmd *cobra.Command) error {
	if !terminal(a.in) || !terminal(a.out) {
		cmd.SetOut(a.err)
		_ = cmd.Help()
		return api.Errorf(api.CodeUsage, "the dashboard needs a terminal").WithHint("berth ls lists the fleet without one")
	}
	return nil
}
