package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"berth/backend/api"
)

func (a *app) execCmd() *cobra.Command {
	var dir string
	var env []string
	cmd := &cobra.Command{
		Use:   "exec NAME -- CMD…",
		Short: "Run a command on an instance, with its output, input, signals and exit code",
		Long: "exec runs a command exactly as given, without a shell, in the instance's working directory and with its login environment.\n" +
			"It exits with the command's own code, or 128+N for signal N. Where Berth itself failed, it exits with Berth's code and the last\n" +
			"line of stderr begins with \"berth:\"; --berth-error-code replaces that code.",
		Example:           "  berth exec vision -- nvidia-smi\n  berth exec vision -- sh -c 'ls *.py | wc -l'\n  tar c . | berth exec vision -- tar x",
		ValidArgsFunction: a.completeNames(1),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return api.Errorf(api.CodeUsage, "exec takes the name of an instance and a command").WithHint("berth exec NAME -- CMD…")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.exec(cmd.Context(), args[0], api.ExecRequest{Argv: args[1:], Dir: dir, Env: env})
		},
	}
	cmd.Flags().StringVarP(&dir, "workdir", "w", "", "directory to run it in")
	cmd.Flags().StringArrayVarP(&env, "env", "e", nil, "K=V; may be repeated")
	cmd.Flags().IntVar(&a.errCode, "berth-error-code", 0, "exit code where Berth itself failed")
	return cmd
}

func (a *app) exec(ctx context.Context, name string, q api.ExecRequest) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	signals, stop := passSignals()
	defer stop()
	// The signals belong to the command now: an interrupt must not end this client first.
	ctx = context.WithoutCancel(ctx)
	var s *api.Stream
	err = c.WithQuestions(ctx, func(ctx context.Context) error {
		s, err = c.OpenStream(ctx, "/v1/instances/"+escape(name)+"/exec", q)
		return err
	})
	if err != nil {
		return err
	}
	x, err := s.Run(ctx, api.StreamIO{Stdin: a.in, Stdout: a.out, Stderr: a.err, Signals: signals})
	if err != nil {
		if errors.Is(err, syscall.EPIPE) { // whoever read our output has gone, as in | head
			a.exit = 128 + int(syscall.SIGPIPE)
			return nil
		}
		if e := api.AsError(err); e.Code == api.CodeUnreachable && e.Hint == "" {
			return e.WithHint("the command was told to end (SIGHUP); run it again, or run it in berth ssh %s, which outlives the line", name)
		}
		return err
	}
	a.exit = x.Code
	return nil
}

// passSignals catches the signals that belong to the remote command. Their names come without SIG.
func passSignals() (<-chan string, func()) {
	got := make(chan os.Signal, 8)
	signal.Notify(got, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	names := make(chan string)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case g := <-got:
				s, ok := g.(syscall.Signal)
				if !ok {
					continue
				}
				name := unix.SignalName(s)
				select {
				case names <- name[len("SIG"):]:
				case <-done:
					return
				}
			}
		}
	}()
	return names, func() {
		signal.Stop(got)
		close(done)
	}
}
