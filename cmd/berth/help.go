package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"berth/assets"
	"berth/backend/api"
)

// helpCmd shows a verb's help or a help page.
func (a *app) helpCmd(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [VERB|TOPIC]", Short: "Help on a verb or a topic",
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return assets.HelpTopics(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return root.Help()
			}
			if cmd, rest, err := root.Find(args); err == nil && cmd != root && len(rest) == 0 {
				return cmd.Help()
			}
			page, ok := assets.HelpPage(args[0])
			if !ok {
				return api.Errorf(api.CodeUsage, "there is no verb and no help page %q", args[0]).WithHint("pages: %v", assets.HelpTopics())
			}
			_, err := fmt.Fprintln(a.out, page)
			return err
		},
	}
}

// manCmd writes the manual pages.
func (a *app) manCmd(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "Write the manual pages into a folder", Hidden: true, Args: exactArgs("DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := filepath.Clean(args[0])
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			return doc.GenManTree(root, &doc.GenManHeader{Title: "BERTH", Section: "1", Source: "Berth", Manual: "Berth"}, dir)
		},
	}
}
