package inside

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"

	"berth/backend/api"
	"berth/backend/base/plaintext"
)

const usage = `usage: berth run [flags] -- CMD…

Submits a command as a job to this instance: it runs when there is room, in this folder and with the
conda or virtual environment that is active. It prints the job's id. berth job ls, show, logs, wait and
cancel are for this instance's jobs (berth job --help); the other verbs are on your own computer.

`

// list is a flag that may be repeated.
type list []string

// String implements flag.Value.
func (l *list) String() string { return strings.Join(*l, " ") }

// Set implements flag.Value.
func (l *list) Set(s string) error {
	*l = append(*l, s)
	return nil
}

// Main is the `berth` of an instance on which nobody has installed Berth. It returns the exit code.
func Main(args []string, out, stderr io.Writer) int {
	var err error
	code := 0
	if len(args) > 0 && args[0] == "job" {
		code, err = job(context.Background(), args[1:], out, stderr) // ctrl-C ends this program
	} else {
		err = run(args, out, stderr)
	}
	switch {
	case err == nil:
		return code
	case errors.Is(err, flag.ErrHelp):
		return 0
	}
	e := api.AsError(err)
	fmt.Fprintf(stderr, "berth: %s\n", plaintext.Text(e.Message))
	if e.Hint != "" {
		fmt.Fprintf(stderr, "berth: %s\n", plaintext.Text(e.Hint))
	}
	return api.ExitCode(err)
}

func run(args []string, out, stderr io.Writer) error {
	var q api.JobRequest
	var env, after list
	fs := flag.NewFlagSet("run", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprint(stderr, usage)
		fs.PrintDefaults()
	}
	fs.StringVar(&q.Name, "name", "", "what it is called in lists")
	fs.StringVar(&q.Workdir, "workdir", "", "directory to run it in")
	fs.Var(&env, "env", "K=V; may be repeated")
	fs.BoolVar(&q.Shell, "shell", false, "CMD is one argument, a script for your shell")
	fs.StringVar(&q.Conda, "conda", "", "conda environment to activate before")
	fs.StringVar(&q.Venv, "venv", "", "virtual environment to activate before: its directory")
	gpus := fs.Int("gpus", -1, "how many GPUs it gets; not said: one, where there are any")
	fs.BoolVar(&q.Exclusive, "exclusive", false, "no other job runs beside it")
	fs.StringVar(&q.Group, "group", "", "group that it belongs to")
	fs.IntVar(&q.Priority, "priority", 0, "a higher one goes first")
	fs.Var(&after, "after", "ID[,ID]: begin when these have succeeded")
	fs.BoolVar(&q.Hold, "hold", false, "have it wait until it is released")
	timeout := fs.Duration("timeout", 0, "end it after so long")
	fs.IntVar(&q.Retries, "retries", 0, "run it again so often where it fails")
	fs.StringVar(&q.Array, "array", "", "0-9%4: one job for each index, at most 4 at once")
	if len(args) == 0 || args[0] != "run" {
		fs.Usage()
		return api.Errorf(api.CodeUsage, "the berth of an instance has two verbs: run and job")
	}
	if err := fs.Parse(args[1:]); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return api.Errorf(api.CodeUsage, "%w", err)
	}
	if fs.NArg() == 0 {
		return api.Errorf(api.CodeUsage, "run takes a command").WithHint("berth run -- CMD…")
	}
	if !Is() {
		return errNotInside()
	}
	if *gpus >= 0 {
		q.GPUs = gpus
	}
	q.UUID, q.Argv, q.Env, q.After, q.TimeoutSeconds = uuid.NewString(), fs.Args(), env, after, timeout.Seconds()
	if err := Place(&q); err != nil {
		return err
	}
	return submit(q, out, stderr)
}

func errNotInside() error {
	return api.Errorf(api.CodeUsage, "this is no terminal of an instance: %s is not set", api.AgentVariable)
}

func submit(q api.JobRequest, out, stderr io.Writer) error {
	c := Client()
	defer c.Close()
	job, err := c.Jobs().Submit(context.Background(), q) // ctrl-C ends this program
	if errors.Is(err, &api.Error{Code: api.CodeUnreachable}) {
		job, err = c.Jobs().Submit(context.Background(), q) // it broke off: by its UUID it is the same one
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(out, *job.ID)
	if job.Reason != "" {
		fmt.Fprintf(stderr, "berth: %s\n", plaintext.Text(job.Reason))
	}
	return nil
}
