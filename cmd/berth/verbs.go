package main

import "github.com/spf13/cobra"

// verb is a verb of the program, which is built when it is needed: all of them are most of a short verb's own work.
type verb struct {
	name  string
	group string // of the list in berth --help; empty: it is not shown
	make  func() *cobra.Command
}

// runCmd is berth run, with or without the name of an instance.
func (a *app) runCmd() *cobra.Command { return a.insideToo(a.submitCmd("run")) }

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
