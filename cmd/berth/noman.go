//go:build !man

package main

import "github.com/spf13/cobra"

// extra are the verbs of builds with special tags: none here.
func (a *app) extra(*cobra.Command) []*cobra.Command { return nil }
