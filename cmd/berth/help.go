package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

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
			page, ok := assets.HelpPage(args[0])
			if cmd, rest, err := root.Find(args); err == nil && cmd != root && len(rest) == 0 {
				if err := cmd.Help(); err != nil || !ok || len(args) > 1 {
					return err
				}
				fmt.Fprintln(a.out)
				return printPage(a.out, page, colour(a.out), textWidth(a.out)) // a verb with a page of its own
			}
			if !ok {
				return api.Errorf(api.CodeUsage, "there is no verb and no help page %q", args[0]).
					WithHint("%s", likeTopic(root, args[0]))
			}
			return printPage(a.out, page, colour(a.out), textWidth(a.out))
		},
	}
}

// likeTopic names the help pages and verbs that word may mean, or all pages.
func likeTopic(root *cobra.Command, word string) string {
	topics := &cobra.Command{Use: "berth", SuggestionsMinimumDistance: root.SuggestionsMinimumDistance}
	for _, name := range assets.HelpTopics() {
		topics.AddCommand(&cobra.Command{Use: name, Run: func(*cobra.Command, []string) {}})
	}
	like := append(topics.SuggestionsFor(word), root.SuggestionsFor(word)...)
	if len(like) == 0 {
		return "pages: " + strings.Join(assets.HelpTopics(), ", ")
	}
	slices.Sort(like)
	return "did you mean: berth help " + strings.Join(slices.Compact(like), ", berth help ")
}
