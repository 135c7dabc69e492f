package main

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/backend/base/shellquote"
	"berth/ui/attach"
)

func (a *app) sshCmd() *cobra.Command {
	var q api.TerminalRequest
	cmd := &cobra.Command{
		Use:   "ssh NAME",
		Short: "Open a shell on an instance, or attach to the one you left",
		Long: "ssh attaches to your last detached terminal on the instance, or opens one. The shell goes on when the line drops or you detach\n" +
			"(enter ~ .  or  ctrl-] d); exit ends it.",
		Args:              exactArgs("NAME"),
		ValidArgsFunction: a.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.attach(cmd.Context(), args[0], q)
		},
	}
	cmd.Flags().BoolVar(&q.New, "new", false, "open a further terminal")
	cmd.Flags().BoolVar(&q.Shared, "shared", false, "mirror a terminal that is attached elsewhere")
	cmd.MarkFlagsMutuallyExclusive("new", "shared")
	return cmd
}

// attach gives the user's terminal to one on the instance.
func (a *app) attach(ctx context.Context, name string, q api.TerminalRequest) error {
	if !terminal(a.in) || !terminal(a.out) {
		return api.Errorf(api.CodeUsage, "berth ssh needs a terminal").
			WithHint("berth exec %s -- CMD runs a command without one", name)
	}
	if err := a.setup(); err != nil {
		return err
	}
	ask := &asker{usual: a.answer()}
	res, err := attach.Run(ctx, a.newClient(ask.answer), name, q, attach.Terminal{In: a.in, Out: os.Stdout,
		Escape: a.conf.UI.DetachKey, Asker: ask.divert})
	if err != nil {
		return err
	}
	called := shellquote.Word(plaintext.Text(name))
	switch {
	case res.Detached && res.HungUp:
		fmt.Fprintf(a.err, "Left. The shell ended with its line: there is no agent on %s to keep it.\n", plaintext.Text(name))
		return nil
	case res.Detached && res.Away:
		return api.Errorf(api.CodeUnreachable, "you left while the line to %s was away: whether the shell goes on is not known",
			name).WithHint("berth ssh %s tries again", called)
	case res.Detached:
		fmt.Fprintf(a.err, "Detached; the terminal goes on. berth ssh %s comes back to it.\n", called)
		return nil
	}
	if res.Signal != "" || res.Reason != "" { // no shell says so itself
		fmt.Fprintf(a.err, "On %s %s.\n", plaintext.Text(name), res)
	}
	a.exit = res.Code
	return nil
}

// asker brings questions to whoever reads the terminal: the usual one, or the shell that has it.
type asker struct {
	mu        sync.Mutex
	usual, to func(context.Context, api.Question) (api.Answer, error)
}

func (a *asker) divert(to func(context.Context, api.Question) (api.Answer, error)) {
	a.mu.Lock()
	a.to = to
	a.mu.Unlock()
}

func (a *asker) answer(ctx context.Context, q api.Question) (api.Answer, error) {
	a.mu.Lock()
	f := a.to
	a.mu.Unlock()
	if f == nil {
		f = a.usual
	}
	if f == nil { // standard error is no terminal: nobody would see the question
		return api.Answer{Refused: true}, nil
	}
	return f(ctx, q)
}

func (a *app) termCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "term", Short: "The persistent terminals of an instance", Args: noArgs, RunE: needsVerb}
	ls := &cobra.Command{
		Use: "ls NAME", Short: "List the terminals", Args: exactArgs("NAME"), ValidArgsFunction: a.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.termLs(cmd.Context(), args[0]) },
	}
	a.jsonFlag(ls)
	at := &cobra.Command{
		Use: "attach NAME TERM", Short: "Attach to one terminal", Args: exactArgs("NAME", "TERM"),
		ValidArgsFunction: a.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.attach(cmd.Context(), args[0], api.TerminalRequest{ID: args[1]})
		},
	}
	kill := &cobra.Command{
		Use: "kill NAME TERM", Short: "End a terminal and what runs in it", Args: exactArgs("NAME", "TERM"),
		ValidArgsFunction: a.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return c.WithQuestions(cmd.Context(), func(ctx context.Context) error {
				return c.Agent(args[0]).KillTerminal(ctx, args[1])
			})
		},
	}
	cmd.AddCommand(ls, at, kill)
	return cmd
}

func (a *app) termLs(ctx context.Context, name string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var list []api.Terminal
	err = c.WithQuestions(ctx, func(ctx context.Context) error {
		list, err = c.Agent(name).Terminals(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(list)
	}
	rows := [][]string{{"TERM", "COMMAND", "TITLE", "ATTACHED", "STARTED", "ACTIVE"}}
	for _, t := range list {
		rows = append(rows, []string{t.ID, t.Command, orDash(t.Title), fmt.Sprint(t.Attached),
			t.StartedAt.Local().Format("2006-01-02 15:04"), t.LastActivity.Local().Format("15:04:05")})
	}
	return table(a.out, rows)
}

// needsVerb is the RunE of a command that only groups others.
func needsVerb(cmd *cobra.Command, _ []string) error {
	return api.Errorf(api.CodeUsage, "%s needs a verb", cmd.CommandPath()).
		WithHint("%s --help lists them", cmd.CommandPath())
}
