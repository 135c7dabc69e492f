package agent

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"

	"berth/backend/agent/boot"
	"berth/backend/agent/inside"
	"berth/backend/agent/login"
	"berth/backend/agent/process"
	"berth/backend/agent/root"
	"berth/backend/agent/server"
	"berth/backend/agent/setup"
	"berth/backend/agent/shim"
	"berth/backend/agent/supervise"
	"berth/backend/api"
	"berth/backend/base/paths"
	"berth/backend/base/plaintext"
	"berth/gpu/probe/child"
)

// Stdio is what a subcommand reads and writes.
type Stdio struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

const usage = `usage: berth agent SUBCOMMAND [flags]

  run        run the agent in the foreground
  start      make sure that an agent runs, detached; print what it says of itself as JSON
  info       print what the running agent says of itself
  stop       end the agent; with --end also its terminals and commands
  dial       carry connections to the agent over standard input and output
  uninstall  end the agent and remove what it put on this host
  root       do one of the few things that need root; without arguments it lists them
`

// Main runs `berth agent SUBCOMMAND`; args begin with the subcommand. It returns the exit code.
// Failures are one line on standard error.
func Main(args []string, stdio Stdio) int {
	if len(args) == 0 {
		fmt.Fprint(stdio.Err, usage)
		return 2
	}
	sub, rest := args[0], args[1:]
	switch sub {
	case "shim":
		return shim.Main(rest)
	case "probe":
		return child.Main(rest, stdio.In, stdio.Out, stdio.Err, child.Portable()...)
	case "inside":
		return inside.Main(rest, stdio.Out, stdio.Err)
	case "setup-step":
		return setup.Main(rest)
	case "root":
		return root.Main(rest, stdio.Out, stdio.Err)
	case "parent":
		return supervise.Main(rest)
	case "env":
		if len(rest) != 1 || login.PrintEnv(rest[0], stdio.Out) != nil {
			return 1
		}
		return 0
	case "help", "-h", "--help":
		fmt.Fprint(stdio.Out, usage)
		return 0
	}
	run := map[string]func(context.Context, []string, Stdio) error{
		"run": runCommand, "start": startCommand, "info": infoCommand, "stop": stopCommand,
		"dial": dialCommand, "uninstall": uninstallCommand,
	}[sub]
	if run == nil {
		fmt.Fprintf(stdio.Err, "berth: agent: unknown subcommand %q\n%s", sub, usage)
		return 2
	}
	ctx := context.Background()
	err := run(ctx, rest, stdio)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		return 0
	}
	e := api.AsError(err)
	fmt.Fprintf(stdio.Err, "berth: agent %s: %s\n", sub, plaintext.Clean(e.Message))
	return api.ExitCode(err)
}

func printJSON(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

func runCommand(ctx context.Context, args []string, stdio Stdio) error {
	takeover := false
	o, err := parse("run", args, stdio.Err, func(fs *flag.FlagSet) {
		fs.BoolVar(&takeover, "takeover", false, "ask a running older agent to hand over")
	})
	if err != nil {
		return err
	}
	debug.SetGCPercent(50) // memory before speed: it idles most of its life
	sigs := make(chan os.Signal, 8)
	// SIGHUP too: an agent that was started under nohup must not hand its ignored signals to shells.
	signal.Notify(sigs, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	defer signal.Stop(sigs)
	log := slog.New(slog.NewTextHandler(stdio.Err, nil))
	if err := process.StepAside(boot.ServicePrefix); err != nil { // before anything is started
		log.Info("jobs have no limits by this agent's own control group", "err", err)
	}
	a, err := server.New(ctx, server.Config{Options: o, Parts: parts, Takeover: takeover, Log: log})
	if err != nil {
		return err
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case <-done:
				return
			case s := <-sigs:
				a.Signal(s)
			}
		}
	}()
	return a.Serve()
}

func startCommand(ctx context.Context, args []string, stdio Stdio) error {
	replace, arrange, noBoot := false, false, false
	o, err := parse("start", args, stdio.Err, func(fs *flag.FlagSet) {
		fs.BoolVar(&replace, "replace", false, "replace a running agent if this build is newer")
		fs.BoolVar(&arrange, "boot", false, "arrange that it comes back after a reboot, also where it has folders of its own")
		fs.BoolVar(&noBoot, "no-boot", false, "arrange nothing for after a reboot")
	})
	if err != nil {
		return err
	}
	if noBoot {
		if err := ofThisMachine(o.State); err != nil {
			return err
		}
	}
	arrange = !noBoot && (arrange || boot.OwnFolders(o) == "")
	info, err := start(ctx, o, replace, arrange)
	if err != nil {
		return err
	}
	return printJSON(stdio.Out, info)
}

// ofThisMachine refuses a start after a boot with the state folder of another machine: its line came here with a
// copied disk, and that machine's terminals, set-ups and history are not this one's.
func ofThisMachine(state string) error {
	words := strings.Split(filepath.ToSlash(state), "/")
	i := slices.Index(words, "hosts")
	if i < 0 || i+1 == len(words) || words[i+1] == paths.MachineID() || !machineID().MatchString(words[i+1]) {
		return nil
	}
	return api.Errorf(api.CodeConflict, "the folder %s belongs to another machine (%s, this one is %s): "+
		"it was copied from there", state, words[i+1], paths.MachineID()).
		WithHint("Berth starts an agent of this machine's own when it connects")
}

// machineID is the form of paths.MachineID.
var machineID = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-f]{12}$`) })

func infoCommand(ctx context.Context, args []string, stdio Stdio) error {
	o, err := parse("info", args, stdio.Err, nil)
	if err != nil {
		return err
	}
	info, err := askInfo(ctx, o.Socket)
	if err != nil {
		return err
	}
	return printJSON(stdio.Out, info)
}

func stopCommand(ctx context.Context, args []string, stdio Stdio) error {
	var req api.StopRequest
	o, err := parse("stop", args, stdio.Err, func(fs *flag.FlagSet) {
		fs.BoolVar(&req.End, "end", false, "also end terminals and commands")
		fs.Float64Var(&req.GraceSeconds, "grace", 0, "seconds between asking and forcing")
	})
	if err != nil {
		return err
	}
	c := NewClient(o.Socket)
	defer c.Close()
	return c.Stop(ctx, req)
}
