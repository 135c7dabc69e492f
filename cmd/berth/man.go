//go:build man

package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// extra are the verbs of builds with special tags. The generator of manual pages is one: its libraries
// cost every start of the program.
func (a *app) extra(root *cobra.Command) []*cobra.Command { return []*cobra.Command{a.manCmd(root)} }

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
