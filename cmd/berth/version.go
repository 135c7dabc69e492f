package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"berth/backend/base/version"
)

func (a *app) versionCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return a.version() },
	}
	a.jsonFlag(cmd)
	return cmd
}

// version prints which build this is.
func (a *app) version() error {
	v := version.Current()
	if a.json {
		return a.printJSON(map[string]any{"version": v.Number, "built": v.Built, "revision": version.Revision(),
			"go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH, "capability": version.Capability})
	}
	_, err := fmt.Fprintf(a.out, "berth %s (%s/%s, %s)\n", v.Number, runtime.GOOS, runtime.GOARCH, runtime.Version())
	return err
}
