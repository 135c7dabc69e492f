//go:build !front

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/backend/agent/lease"
	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/backend/base/version"
	"berth/backend/machine/profile"
	"berth/backend/service/daemon/connect"
	"berth/gpu"
)

func (a *app) doctorCmd() *cobra.Command {
	var remove string
	var force bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check this machine, the backends and every instance", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if remove != "" {
				c, err := a.client()
				if err != nil {
					return err
				}
				if err := c.Daemon().RemoveOrphan(cmd.Context(), remove, force); err != nil {
					return err
				}
				fmt.Fprintln(a.err, plaintext.Text(removed(remove, force)))
				return nil
			}
			if force {
				return api.Errorf(api.CodeUsage, "--force goes with --remove")
			}
			return a.doctor(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&remove, "remove", "", "remove the leftover with this id")
	cmd.Flags().BoolVar(&force, "force", false,
		"with --remove, of a machine that was forgotten: only keep it in mind no longer")
	a.jsonFlag(cmd)
	return cmd
}

// removed says what was done about a leftover.
func removed(id string, force bool) string {
	switch {
	case !strings.HasPrefix(id, "left:"):
		return id + " is removed"
	case force:
		return id + " is no longer kept in mind; nothing was done on that machine"
	}
	return id + " is removed: nothing of this home is on that machine any more"
}

// daemonCheck says which daemon serves. One that is older than this program does so while it is in use.
func daemonCheck(i *api.Info) api.Check {
	c := api.Check{Area: "daemon", Name: "daemon", Status: "ok",
		Message: fmt.Sprintf("pid %d, version %s, log %s", i.PID, i.Version, i.LogPath)}
	if own := version.Current(); own.Newer(version.Version{Number: i.Version, Built: i.Built}) {
		c.Status = "warn"
		c.Message += "; this program is " + own.Number + ", and the daemon stays until nothing goes through it"
		c.Fix = "berth daemon stop ends it and what goes through it; operations go on"
	}
	return c
}

func (a *app) doctor(ctx context.Context) error {
	checks := a.localChecks(ctx)
	c, err := a.client()
	if err == nil {
		var info api.Info
		if info, err = c.Daemon().Info(ctx); err == nil {
			checks = append(checks, daemonCheck(&info))
			for _, d := range connect.FindDraining(a.home) {
				checks = append(checks, api.Check{Area: "daemon", Name: "older daemon", Status: "info",
					Message: fmt.Sprintf("pid %d, version %s, has made way at %s; it carries what ran then to its end (byte streams: %d)",
						d.PID, d.Number, d.Since.Local().Format("2006-01-02 15:04:05"), d.Streams)})
			}
			var more []api.Check
			more, err = c.Daemon().Doctor(ctx)
			checks = append(checks, more...)
		}
	}
	if e := api.AsError(err); err != nil && !said(checks, e) {
		checks = append(checks, api.Check{Area: "daemon", Name: "daemon", Status: "fail", Message: e.Message, Fix: e.Hint})
	}
	failed := 0
	for _, k := range checks {
		if k.Status == "fail" {
			failed++
		}
	}
	if a.json {
		if err := a.printJSON(checks); err != nil {
			return err
		}
	} else {
		rows := [][]string{{"", "AREA", "CHECK", "RESULT"}}
		for _, k := range together(checks) {
			msg := k.Message
			if k.Fix != "" {
				msg += "  -> " + k.Fix
			}
			rows = append(rows, []string{k.Status, k.Area, k.Name, msg})
		}
		if err := table(a.out, rows); err != nil {
			return err
		}
	}
	if failed > 0 {
		a.exit = 1
	}
	return nil
}

// said reports whether what went wrong is among the checks already: the daemon fails for what is wrong with this host.
func said(checks []api.Check, e *api.Error) bool {
	return slices.ContainsFunc(checks, func(c api.Check) bool {
		return c.Status == "fail" && (c.Message == e.Message || c.Name == "state" && e.Code == api.CodeStore)
	})
}

// together makes one check of those that say the same of several instances.
func together(checks []api.Check) []api.Check {
	var out []api.Check
	at := map[api.Check]int{}
	for _, c := range checks {
		same := c
		same.Name = ""
		if i, ok := at[same]; ok {
			out[i].Name += ", " + c.Name
			continue
		}
		at[same] = len(out)
		out = append(out, c)
	}
	return out
}

// localChecks looks at this machine without the daemon.
func (a *app) localChecks(ctx context.Context) []api.Check {
	out := []api.Check{{Area: "host", Name: "system", Status: "ok", Message: fmt.Sprintf("%s/%s, %d CPUs, %s",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())}}
	if err := a.setup(); err != nil {
		e := api.AsError(err)
		return append(out, api.Check{Area: "host", Name: "configuration", Status: "fail", Message: e.Message, Fix: e.Hint})
	}
	out = append(out, stateChecks(a.home)...)
	if a.home.Network != "" {
		out = append(out, api.Check{Area: "host", Name: "home", Status: "info", Message: a.home.Network +
			"; the state is kept on the local disk instead: " + a.home.State})
	}
	out = append(out, profileChecks(profile.Load(profile.Dir(a.home.Config)))...)
	out = append(out, buildCheck())
	out = append(out, gpuChecks(ctx)...)
	out = append(out,
		programCheck("ssh", "host names and Match blocks of ~/.ssh/config are resolved by the ssh program where it is there; without it by a library that knows less"), agentCheck(ctx, a))
	return out
}

// profileChecks says what is wrong with the set-up profiles.
func profileChecks(s *profile.Set) (out []api.Check) {
	for _, p := range s.Lint() {
		c := api.Check{Area: "host", Name: "profiles", Status: "fail", Message: p.String(),
			Fix: "mend it; until then what it is for can't be set up"}
		if p.Warning {
			c.Status, c.Fix = "warn", ""
		}
		out = append(out, c)
	}
	return out
}

// buildCheck says what a build without a C compiler lacks.
func buildCheck() api.Check {
	c := api.Check{Area: "host", Name: "build", Status: "ok", Message: "with cgo"}
	if bi, ok := debug.ReadBuildInfo(); ok {
		for _, s := range bi.Settings {
			if s.Key == "CGO_ENABLED" && s.Value == "0" {
				c.Status, c.Message = "info", "without cgo (no C compiler, or a release build): users and hosts are looked up in files and DNS only, not through LDAP or SSSD"
			}
		}
	}
	return c
}

// gpuChecks says which GPUs this computer has, and through which folder its users share them.
func gpuChecks(ctx context.Context) []api.Check {
	c := api.Check{Area: "host", Name: "GPUs", Status: "info"}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	gpus, err := gpu.Detect(ctx)
	switch {
	case err == nil && len(gpus) == 0:
		c.Message = "none on this computer"
	case err != nil:
		c.Status, c.Message = "warn", err.Error()
	default:
		c.Status, c.Message = "ok", fmt.Sprintf("%d: %s", len(gpus), gpus[0].Name)
		sharing := lease.Look(lease.Candidates(os.Getenv))
		return []api.Check{c, sharing.Check("host", "shared GPUs")}
	}
	return []api.Check{c}
}

func programCheck(name, why string) api.Check {
	path, err := exec.LookPath(name)
	if err != nil {
		return api.Check{Area: "host", Name: name, Status: "warn", Message: "not found: " + why}
	}
	return api.Check{Area: "host", Name: name, Status: "ok", Message: path}
}

// agentCheck says which agents this build can put on other hosts.
func agentCheck(ctx context.Context, a *app) api.Check {
	c := api.Check{Area: "host", Name: "agents", Status: "ok"}
	var says []string
	for _, arch := range []string{"amd64", "arm64"} {
		how, err := binaries(a.home).Explain(ctx, "linux", arch)
		if err != nil {
			c.Status, how = "warn", "none: "+strings.ReplaceAll(err.Error(), "\n", ", ")
			c.Fix = "use a release build, which carries agents; on such hosts exec and ssh work over plain SSH"
		}
		says = append(says, "linux/"+arch+": "+how)
	}
	c.Message = strings.Join(says, "; ")
	return c
}
