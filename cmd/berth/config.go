package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"berth/backend/service/config"
)

// configValue is one line of `berth config show --json`.
type configValue struct {
	Key    string `json:"key"`
	Value  any    `json:"value"`
	Origin string `json:"origin"`
	Help   string `json:"help"`
}

func (a *app) configCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "The configuration and where each value comes from", Args: noArgs,
		RunE: needsVerb}
	show := &cobra.Command{
		Use: "show", Short: "Print each effective value and its origin", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := a.setup(); err != nil {
				return err
			}
			return a.printKeys(a.conf)
		},
	}
	a.jsonFlag(show)
	path := &cobra.Command{
		Use: "path", Short: "Print where the file stands, or would", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := a.findHome(); err != nil {
				return err
			}
			_, err := fmt.Fprintln(a.out, a.home.ConfigFile())
			return err
		},
	}
	keys := &cobra.Command{
		Use: "keys", Short: "Print the keys that there are, with their defaults; it reads no file", Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return a.printKeys(config.Default()) },
	}
	a.jsonFlag(keys)
	cmd.AddCommand(show, keys, path)
	return cmd
}

// printKeys prints every key of a configuration with its value.
func (a *app) printKeys(c *config.Config) error {
	keys := c.Keys()
	if a.json {
		list := make([]configValue, 0, len(keys))
		for _, k := range keys {
			list = append(list, configValue{k.Name, k.Value(), c.Origin(k.Name), k.Help})
		}
		return a.printJSON(list)
	}
	rows := [][]string{{"KEY", "VALUE", "FROM", "WHAT IT IS"}}
	for _, k := range keys {
		rows = append(rows, []string{k.Name, orDash(k.String()), c.Origin(k.Name), k.Help})
	}
	return table(a.out, rows)
}
