package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"berth/assets"
)

func (a *app) apiCmd() *cobra.Command {
	var socket bool
	cmd := &cobra.Command{
		Use: "api", Short: "Print the OpenAPI description of Berth's service",
		Long: "Everything that Berth does can be asked for by HTTP on a unix socket that only you can open; package berth/backend/api is the Go client.\n\n" +
			"  curl --unix-socket \"$(berth api --socket)\" http://berth/v1/instances",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if socket {
				c, err := a.client()
				if err != nil {
					return err
				}
				if _, err := c.Daemon().Info(cmd.Context()); err != nil { // and so the daemon runs
					return err
				}
				_, err = fmt.Fprintln(a.out, a.home.DaemonSocket())
				return err
			}
			_, err := a.out.Write(assets.OpenAPI)
			return err
		},
	}
	cmd.Flags().BoolVar(&socket, "socket", false, "start the daemon and print the path of its socket")
	return cmd
}
