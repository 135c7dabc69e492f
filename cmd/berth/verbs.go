package main

import "github.com/spf13/cobra"

// verb is a verb of the program, which is built when it is needed: all of them are most of a short verb's own work.
type verb struct {
	name  string
	group string // of the list in berth --help; empty: it is not shown
	make  func() *cobra.Command
}

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
		{"run", "use", func() *cobra.Command { return a.insideToo(a.submitCmd("run")) }},
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

// alone is the verb that a command line names first, if that is all that is needed to run it.
func (a *app) alone(args []string) []string {
	if len(args) == 0 {
		return nil
	}
	for _, v := range a.verbs() {
		if v.name == args[0] {
			return args[:1]
		}
	}
	return nil
}
