package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"berth/assets"
	"berth/backend"
	"berth/backend/api"
	"berth/backend/base/paths"
	"berth/backend/base/plaintext"
	"berth/backend/service/config"
	"berth/backend/service/daemon/connect"
)

// app is what the verbs share.
type app struct {
	in       *os.File
	out      io.Writer
	err      io.Writer
	json     bool
	exit     int  // the exit code of a verb that ended without an error of Berth
	onScreen bool // the dashboard has the terminal
	errCode  int  // replaces Berth's own exit code where set (exec)
	silenced bool // the error was printed already
	args     []string
	home     paths.Home
	conf     *config.Config
	conn     *api.WorkspaceClient
}

func newApp() *app { return &app{in: os.Stdin, out: os.Stdout, err: os.Stderr} }

// interrupted is the exit code of a verb that the user has ended.
const interrupted = 130

// run parses and runs one command line and returns its exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root(a.alone(args)...)
	root.SetArgs(args)
	a.args = args
	err := root.ExecuteContext(ctx)
	if a.conn != nil {
		a.conn.Close()
	}
	if err == nil {
		return a.exit
	}
	if !a.silenced {
		a.report(err)
	}
	switch {
	case errors.Is(err, api.ErrInterrupted):
		return interrupted
	case a.errCode != 0:
		return a.errCode
	case errors.Is(err, context.Canceled):
		return interrupted
	}
	return api.ExitCode(err)
}

// report prints an error for people on stderr, and with --json as a document on stdout, too.
func (a *app) report(err error) {
	e := api.AsError(err)
	if errors.Is(err, context.Canceled) && !errors.As(err, new(*api.Error)) {
		return // the user pressed ctrl-C and knows
	}
	if a.json {
		b, _ := json.Marshal(api.ErrorDocument{Error: e}) // strings only
		fmt.Fprintf(jsonOut(a.out), "%s\n", b)
	}
	if e.Hint != "" {
		fmt.Fprintf(a.err, "berth: %s\nberth: %s\n", plaintext.Text(e.Message), plaintext.Text(e.Hint))
		return
	}
	fmt.Fprintf(a.err, "berth: %s\n", plaintext.Text(e.Message))
}

// root builds the command tree, or as much of it as the named verbs need.
func (a *app) root(only ...string) *cobra.Command {
	root := &cobra.Command{
		Use:           "berth",
		Short:         "A fleet of GPU workstations in one terminal",
		Long:          "Berth gives you a fleet of GPU workstations in one terminal.\n\nWithout a verb it opens the dashboard. berth help TOPIC explains: " + strings.Join(assets.HelpTopics(), ", ") + ".",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
	}
	printVersion := root.Flags().Bool("version", false, "print the version")
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		if *printVersion {
			return a.version()
		}
		return a.dashboard(cmd)
	}
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if cmd == root && len(a.args) > 0 && !strings.HasPrefix(a.args[0], "-") { // the flag is of a verb that is not there
			return noArgs(cmd, a.args)
		}
		what, _, _ := strings.Cut(err.Error(), ": strconv.") // how it is read is nobody's business
		e := api.Errorf(api.CodeUsage, "%s", what)
		if strings.HasSuffix(cmd.Use, "-- CMD…") && !slices.Contains(a.args, "--") {
			return e.WithHint("-- goes before the command: %s NAME -- CMD…", cmd.CommandPath())
		}
		return e.WithHint("%s --help shows how it is called", cmd.CommandPath())
	})
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { // the library's own errors carry no exit code
		err := cmd.ValidateRequiredFlags()
		if err == nil {
			err = cmd.ValidateFlagGroups()
		}
		if err != nil {
			return api.Errorf(api.CodeUsage, "%s", flagWords(err.Error())).WithHint("%s --help shows how it is called",
				cmd.CommandPath())
		}
		return nil
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.CompletionOptions.DisableDefaultCmd = true
	root.PersistentFlags().SortFlags = false
	groups := []*cobra.Group{{ID: "fleet", Title: "The fleet:"}, {ID: "use", Title: "Using an instance:"},
		{ID: "know", Title: "Knowing more:"}}
	root.AddGroup(groups...)
	for _, v := range a.verbs() {
		if len(only) == 0 || slices.Contains(only, v.name) {
			c := v.make()
			c.GroupID = v.group
			root.AddCommand(c)
		}
	}
	if len(only) == 0 {
		root.AddCommand(a.extra(root)...)
	}
	root.SetHelpCommand(a.helpCmd(root))
	root.SetHelpFunc(a.verbHelp)
	return root
}

// flagWords says in plain words what cobra says of flags that don't go together, or are missing.
func flagWords(said string) string {
	_, rest, ok := strings.Cut(said, "[")
	group, _, ok2 := strings.Cut(rest, "]")
	names := strings.Fields(group)
	if !ok || !ok2 || len(names) < 2 {
		return said
	}
	for i := range names {
		names[i] = "--" + names[i]
	}
	switch last := len(names) - 1; {
	case strings.HasPrefix(said, "if any flags"):
		return strings.Join(names[:last], ", ") + " and " + names[last] + " can't be given together"
	case strings.HasPrefix(said, "at least one"):
		return "one of " + strings.Join(names[:last], ", ") + " and " + names[last] + " is needed"
	}
	return said
}

// noArgs refuses arguments with the words of the contract.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		if cmd.HasSubCommands() && cmd.HasParent() {
			cmd.SuggestionsMinimumDistance = cmd.Root().SuggestionsMinimumDistance
			return api.Errorf(api.CodeUsage, "%s has no verb %q", cmd.CommandPath(), args[0]).
				WithHint("%s", suggestion(cmd, args[0]))
		}
		if cmd.HasParent() {
			return api.Errorf(api.CodeUsage, "%s takes no argument, got %q", cmd.CommandPath(), args[0])
		}
		return api.Errorf(api.CodeUsage, "there is no verb %q", args[0]).WithHint("%s", suggestion(cmd, args[0]))
	}
	return nil
}

func suggestion(cmd *cobra.Command, arg string) string {
	if s := cmd.SuggestionsFor(arg); len(s) > 0 {
		path := cmd.CommandPath() + " "
		return "did you mean: " + path + strings.Join(s, ", "+path)
	}
	return cmd.CommandPath() + " --help lists the verbs"
}

// exactArgs wants n arguments, described by names.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		return api.Errorf(api.CodeUsage, "%s takes %s, got %d arguments", cmd.CommandPath(), strings.Join(names, " "),
			len(args)).WithHint("%s --help shows how it is called", cmd.CommandPath())
	}
}

// atLeastOne wants one or more names.
func atLeastOne(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return api.Errorf(api.CodeUsage, "%s takes the name of an instance, or several", cmd.CommandPath()).
			WithHint("berth ls lists them")
	}
	return nil
}

// findHome finds the home. What needs no configuration stops here, so that it can be done while that is broken.
func (a *app) findHome() error {
	h, err := paths.Find()
	if err != nil {
		return api.Errorf(api.CodeFailed, "%w", err)
	}
	a.home = h
	return nil
}

// setup finds the home and reads the configuration, once.
func (a *app) setup() error {
	if a.conf != nil {
		return nil
	}
	if err := a.findHome(); err != nil {
		return err
	}
	conf, err := config.Load(a.home.ConfigFile(), os.Getenv)
	if err == nil {
		a.conf = conf
	}
	return err
}

// client returns the client of the workspace; the daemon is started when it is first used.
func (a *app) client() (*api.WorkspaceClient, error) {
	if a.conn != nil {
		return a.conn, nil
	}
	if err := a.setup(); err != nil {
		return nil, err
	}
	a.conn = a.newClient(a.answer())
	return a.conn, nil
}

// warn prints what is no error, and reports whether it did: in the dashboard it would spoil the screen, and the next
// verb says it.
func (a *app) warn(text string) bool {
	if !a.onScreen {
		fmt.Fprintf(a.err, "berth: %s\n", plaintext.Text(text))
	}
	return !a.onScreen
}

// newClient returns a client whose questions go to answer, which may be nil. setup must have succeeded.
func (a *app) newClient(answer func(context.Context, api.Question) (api.Answer, error)) *api.WorkspaceClient {
	connector := &connect.Connector{Home: a.home, Program: a.program, Args: []string{"daemon", "run"},
		Service: a.conf.Service(), Warn: a.warn}
	return &api.WorkspaceClient{Dial: connector.Dial, Env: callerEnv(os.Environ()), Answer: answer,
		Silent: connector.Silent}
}

// existing returns a client of a daemon that runs already; it starts none.
func (a *app) existing() (*api.WorkspaceClient, error) {
	if err := a.findHome(); err != nil {
		return nil, err
	}
	connector := &connect.Connector{Home: a.home, Existing: true}
	return &api.WorkspaceClient{Dial: func(ctx context.Context) (net.Conn, error) { return connector.Dial(ctx) },
		Silent: connector.Silent}, nil
}

// callerEnv picks the variables that work done for this caller may need.
func callerEnv(environ []string) map[string]string {
	out := map[string]string{}
	for _, kv := range environ {
		if k, v, _ := strings.Cut(kv, "="); backend.Carried(k) {
			out[k] = v
		}
	}
	return out
}

// terminal reports whether a stream is a terminal.
func terminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// jsonFlag adds --json.
func (a *app) jsonFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
}

// printJSON prints one document.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(jsonOut(a.out))
	enc.SetEscapeHTML(false)
	if terminal(a.out) {
		enc.SetIndent("", "  ")
	}
	return enc.Encode(v)
}
