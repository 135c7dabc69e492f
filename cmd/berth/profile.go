//go:build !front

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/backend/base/paths"
	"berth/backend/base/plaintext"
	"berth/backend/machine/profile"
)

func (a *app) profileCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "profile", Short: "Set-up profiles: what an instance can be given",
		Args: noArgs,
		RunE: needsVerb,
	}
	cmd.AddCommand(a.profileLs(), a.profileShow(), a.profileLint())
	return cmd
}

// profiles reads the built-in profiles and the user's; no daemon is needed.
func (a *app) profiles() (*profile.Set, error) {
	h, err := paths.Find()
	if err != nil {
		return nil, api.Errorf(api.CodeFailed, "%w", err)
	}
	return profile.Load(profile.Dir(h.Config)), nil
}

func (a *app) profileLs() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls", Short: "List the profiles", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.profiles()
			if err != nil {
				return err
			}
			for _, p := range s.Problems() {
				fmt.Fprintf(a.err, "berth: %s\n", plaintext.Text(p.String()))
			}
			list := s.Profiles()
			if a.json {
				return a.printJSON(list)
			}
			rows := [][]string{{"PROFILE", "NEEDS", "VERSIONS", "ORIGIN", ""}}
			for _, p := range list {
				title := p.Title
				if len(p.Errors) > 0 {
					title = "! can't be used: " + p.Errors[0]
				}
				rows = append(rows, []string{p.Name, orDash(strings.Join(p.Needs, ",")), versionsText(p.Variables), p.Origin,
					title})
			}
			return a.listing(rows)
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

// versionsText lists the values of the variable version, the default first.
func versionsText(vars []api.Variable) string {
	for _, v := range vars {
		if v.Name != "version" {
			continue
		}
		out := []string{v.Default}
		for _, x := range v.Values {
			if x != v.Default {
				out = append(out, x)
			}
		}
		return strings.Join(out, ",")
	}
	return dash
}

func (a *app) profileShow() *cobra.Command {
	var scripts bool
	cmd := &cobra.Command{
		Use: "show NAME[=VERSION]…", Short: "What profiles do and promise, with all that they need",
		Example: "  berth profile show pytorch\n  berth profile show cuda=12.4 --scripts",
		Args:    cobra.ArbitraryArgs,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			s, err := a.profiles()
			if err != nil {
				return nil, cobra.ShellCompDirectiveError
			}
			return s.Names(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return exactArgs("NAME")(cmd, args)
			}
			s, err := a.profiles()
			if err != nil {
				return err
			}
			var names []string
			for _, arg := range args {
				names = append(names, strings.Split(arg, ",")...)
			}
			if len(names) == 1 && !strings.Contains(names[0], "=") {
				p, err := s.Profile(names[0])
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(p)
				}
				if err := a.printProfile(p); err != nil {
					return err
				}
			}
			c, err := s.Compose(names, profile.Facts{})
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(c)
			}
			return a.printComposed(&c, scripts)
		},
	}
	cmd.Flags().BoolVar(&scripts, "scripts", false, "print the scripts too")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) printProfile(p api.Profile) error {
	rows := [][]string{{"name", p.Name}, {"title", p.Title}}
	add := func(k, v string) {
		if v != "" {
			rows = append(rows, []string{k, v})
		}
	}
	add("", p.Description)
	add("origin", p.Origin)
	for _, e := range p.Errors {
		add("! can't be used", e)
	}
	add("needs", strings.Join(p.Needs, ", "))
	add("excludes", strings.Join(p.Conflicts, ", "))
	add("for", strings.TrimSpace(strings.Join(p.Arch, ", ")+"  "+strings.Join(p.OS, ", ")))
	for _, v := range p.Variables {
		text := v.Help
		if v.Required {
			text += "; must be given"
		} else {
			text += "; " + v.Default
		}
		if len(v.Values) > 0 {
			text += " (of " + strings.Join(v.Values, ", ") + ")"
		}
		name := p.Name + ":" + v.Name + "="
		if v.Name == "version" {
			name = p.Name + "="
		}
		add(name, text)
	}
	if err := table(a.out, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintln(a.out)
	return err
}

func (a *app) printComposed(c *profile.Composed, scripts bool) error {
	rows := [][]string{{"STEP", "AS", "LIMIT", ""}}
	for _, s := range c.Steps {
		as, limit, title := "user", "1h", s.Title
		if s.Root {
			as = "root"
		}
		if s.LimitSeconds > 0 {
			limit = fmt.Sprintf("%gm", s.LimitSeconds/60)
		}
		if s.Reboot {
			title += "; then the machine restarts"
		}
		rows = append(rows, []string{s.Name, as, limit, title})
	}
	if err := table(a.out, rows); err != nil {
		return err
	}
	if len(c.Promises) > 0 {
		fmt.Fprintln(a.out)
		rows = [][]string{{"PROMISES", "VERSION", "BY"}}
		for _, p := range c.Promises {
			rows = append(rows, []string{p.Component, orDash(p.Version), p.Profile})
		}
		if err := table(a.out, rows); err != nil {
			return err
		}
	}
	if scripts {
		for _, s := range c.Steps {
			fmt.Fprintf(a.out, "\n# %s: %s\n", plaintext.Text(s.Name), plaintext.Text(s.Title))
			if s.Check != "" {
				fmt.Fprintf(a.out, "# nothing to do if:\n%s\n# else:\n", plaintext.Text(strings.TrimSpace(s.Check)))
			}
			fmt.Fprintln(a.out, plaintext.Text(strings.TrimSpace(s.Script)))
		}
	}
	return nil
}

func (a *app) profileLint() *cobra.Command {
	cmd := &cobra.Command{
		Use: "lint [FILE…]", Short: "Check profiles: all, or those in the files",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.profiles()
			if err != nil {
				return err
			}
			problems := []profile.Problem{}
			if len(args) == 0 {
				problems = append(problems, s.Lint()...)
			}
			for _, f := range args {
				ps, err := s.LintFile(f)
				if err != nil {
					return err
				}
				problems = append(problems, ps...)
			}
			if a.json {
				if err := a.printJSON(problems); err != nil {
					return err
				}
			} else {
				fmt.Fprint(a.out, plaintext.Text(profile.Format(problems)))
			}
			bad := 0
			for _, p := range problems {
				if !p.Warning {
					bad++
				}
			}
			if bad > 0 {
				a.exit = 1
			}
			if len(problems) > 0 && !a.json {
				fmt.Fprintf(a.err, "berth: problems found: %d, of which %d keep a profile from being used\n", len(problems), bad)
			}
			return nil
		},
	}
	a.jsonFlag(cmd)
	return cmd
}
