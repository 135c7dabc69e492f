//go:build !front

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/backend/service/daemon"
	"berth/backend/service/daemon/connect"
	"berth/backend/service/workspace"
	"berth/backend/transport/dial"
)

func (a *app) daemonCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "daemon", Short: "The background process of this home, started on demand", Args: noArgs,
		RunE: needsVerb}
	status := &cobra.Command{Use: "status", Short: "Whether it runs, and what it does", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.daemonStatus(cmd.Context()) }}
	a.jsonFlag(status)
	stop := &cobra.Command{Use: "stop", Short: "End it; what it was doing goes on at the next call", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.daemonStop(cmd.Context()) }}
	logs := &cobra.Command{Use: "logs", Short: "Print its log", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := a.findHome(); err != nil {
				return err
			}
			f, err := os.Open(a.home.Log())
			if errors.Is(err, os.ErrNotExist) {
				return nil // no daemon has run: there is nothing to print
			}
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = io.Copy(a.out, f)
			return err
		}}
	run := &cobra.Command{Use: "run", Short: "Run it here (clients start it by themselves)", Args: noArgs, Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.daemonRun(cmd.Context()) }}
	cmd.AddCommand(status, stop, logs, run)
	return cmd
}

func (a *app) daemonStatus(ctx context.Context) error {
	c, err := a.existing()
	if err != nil {
		return err
	}
	defer c.Close()
	info, err := c.Daemon().Info(ctx)
	if err != nil {
		return api.AsError(err).WithHint("that is no fault: the next command that needs it starts it")
	}
	if a.json {
		return a.printJSON(info)
	}
	return table(a.out, [][]string{
		{"pid", fmt.Sprint(info.PID)}, {"version", info.Version},
		{"since", info.StartedAt.Local().Format("2006-01-02 15:04:05")},
		{"home", info.Home}, {"instances", fmt.Sprint(info.Instances)}, {"operations under way", fmt.Sprint(info.Operations)},
		{"requests under way", fmt.Sprint(info.Clients)}, {"log", info.LogPath},
	})
}

func (a *app) daemonStop(ctx context.Context) error {
	if err := a.findHome(); err != nil {
		return err
	}
	ran, err := (&connect.Connector{Home: a.home, Existing: true}).Stop(ctx)
	if err == nil && !ran {
		fmt.Fprintln(a.err, "no daemon of this home runs")
	}
	return err
}

// daemonRun is the daemon. Started by a client, it reports on the descriptor named by ReadyEnv.
func (a *app) daemonRun(ctx context.Context) error {
	report := func(string) {}
	if fd, err := strconv.Atoi(os.Getenv(connect.ReadyEnv)); err == nil {
		f := os.NewFile(uintptr(fd), "ready")
		_ = os.Unsetenv(connect.ReadyEnv) // not for its children
		report = func(s string) {
			_, _ = io.WriteString(f, s) // the client may have gone
			_ = f.Close()
		}
	}
	err := a.serve(ctx, func() { report("ok") })
	if err != nil {
		b, _ := json.Marshal(api.ErrorDocument{Error: api.AsError(err)}) // strings only
		report(string(b))
	}
	return err
}

func (a *app) serve(ctx context.Context, ready func()) error {
	if err := a.setup(); err != nil {
		return err
	}
	if err := a.home.Prepare(); err != nil {
		return api.Errorf(api.CodeStore, "%w", err)
	}
	logfile, err := daemon.OpenLog(a.home.Log())
	if err != nil {
		return err
	}
	defer logfile.Close()
	log := slog.New(slog.NewTextHandler(logfile, nil))
	err = daemon.Serve(ctx, daemon.Config{
		Home:     a.home,
		Idle:     time.Duration(a.conf.Daemon.Idle),
		Settings: a.conf.Settings(),
		Service:  a.conf.Service(),
		Defaults: workspace.Defaults{Backend: a.conf.Defaults.Backend, Size: a.conf.Defaults.Size,
			Image: a.conf.Defaults.Image},
		Fault: faultHook(os.Getenv("BERTH_TEST_FAULT")),
		Limits: workspace.Limits{Call: time.Duration(a.conf.Limits.Call), Prepare: time.Duration(a.conf.Limits.Prepare),
			Machine: time.Duration(a.conf.Limits.Machine),
			Agent:   time.Duration(a.conf.Limits.Agent), Setup: time.Duration(a.conf.Limits.Setup),
			Gentle: time.Duration(a.conf.Limits.Gentle)},
		AnswerWithin: time.Duration(a.conf.Limits.Question),
		Profiles:     a.setupPlan,
		Engine:       engineProgram,
		Hook:         a.conf.Attention.Hook,
		Env:          callerEnv(os.Environ()),
		Log:          log,
		NewDialer: func(state func(string, bool, *api.AgentStatus)) daemon.Dialer {
			return dial.New(dial.Options{Home: a.home, Log: log, State: state, AgentBinary: binaries(a.home).Find,
				Silence: time.Duration(a.conf.Limits.Silence)})
		},
		Ready: ready,
	})
	if err != nil {
		log.Error("ended", "error", err)
	}
	return err
}
