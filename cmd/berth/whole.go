//go:build !front

package main

import (
	"context"

	"github.com/spf13/cobra"

	_ "berth/ui/noquery" // before bubbletea, so that no verb waits for a terminal's answer
)

func (a *app) main(ctx context.Context, args []string) int { return a.run(ctx, args) }

// program returns the path of the program that plays all parts: a copy of this one.
func (a *app) program() (string, error) { return a.home.Program("berth") }

// verbs are those of every build, in the order in which they are listed.
func (a *app) verbs() []verb {
	action := func(name, short string) func() *cobra.Command {
		return func() *cobra.Command { return a.actionCmd(name, short) }
	}
	return []verb{
		{"create", "fleet", a.createCmd},
		{"adopt", "fleet", a.adoptCmd},
		{"ls", "fleet", a.lsCmd},
		{"show", "fleet", a.showCmd},
		{"start", "fleet", action("start", "Start instances")},
		{"stop", "fleet", action("stop", "Stop instances: the compute charge ends, the disk stays")},
		{"restart", "fleet", action("restart", "Restart instances")},
		{"rm", "fleet", a.rmCmd},
		{"setup", "fleet", a.setupCmd},
		{"snapshot", "fleet", a.snapshotCmd},
		{"clone", "fleet", a.cloneCmd},
		{"inventory", "fleet", a.inventoryCmd},
		{"set", "fleet", a.setCmd},
		{"attention", "fleet", a.attentionCmd},
		{"events", "fleet", a.eventsCmd},
		{"ssh", "use", a.sshCmd},
		{"exec", "use", a.execCmd},
		{"cp", "use", a.cpCmd},
		{"sync", "use", a.syncCmd},
		{"forward", "use", a.forwardCmd},
		{"run", "use", a.runCmd},
		{"job", "use", a.jobCmd},
		{"term", "use", a.termCmd},
		{"top", "use", a.topCmd},
		{"history", "use", a.historyCmd},
		{"metrics", "use", a.metricsCmd},
		{"sizes", "know", a.sizesCmd},
		{"images", "know", a.imagesCmd},
		{"image", "know", a.imageCmd},
		{"profile", "know", a.profileCmd},
		{"config", "know", a.configCmd},
		{"doctor", "know", a.doctorCmd},
		{"workspace", "know", a.workspaceCmd},
		{"daemon", "know", a.daemonCmd},
		{"api", "know", a.apiCmd},
		{"completion", "know", a.completionCmd},
		{"version", "know", a.versionCmd},
		{"agent", "", a.agentCmd},
	}
}
