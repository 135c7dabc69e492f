package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"berth/backend/agent/container"
)

// Main plays the program; args begin with its word. It returns the exit code: for a run that of the container.
func Main(args []string, out, errs io.Writer) int {
	if len(args) == 1 && args[0] == container.WordVersion {
		fmt.Fprintln(out, container.Protocol)
		return 0
	}
	if len(args) < 2 {
		fmt.Fprintln(errs, "berth: only the agent starts this")
		return 2
	}
	spec, err := container.ParseSpec(args[1])
	if err != nil {
		fmt.Fprintln(errs, "berth:", err)
		return 2
	}
	ctx := context.Background()
	switch args[0] {
	case container.WordRun:
		return run(ctx, spec, args[2:], os.Args[1:len(os.Args)-len(args)])
	case container.WordCheck:
		err = json.NewEncoder(out).Encode(check(ctx, spec, os.Getenv))
	case container.WordRemove:
		err = remove(ctx, spec, os.Getenv)
	default:
		err = fmt.Errorf("%q is nothing that this does", args[0])
	}
	if err != nil {
		fmt.Fprintln(errs, "berth:", err)
		return 1
	}
	return 0
}

// check says whether a container could be run.
func check(ctx context.Context, spec container.Spec, getenv func(string) string) (a container.Answer) {
	say := func(err error) container.Answer {
		a.Problem = err.Error()
		var p *problem
		if errors.As(err, &p) {
			a.Hint, a.Usage = p.hint, p.usage
		}
		return a
	}
	if _, err := named(spec.Image); err != nil {
		return say(err)
	}
	e, err := find(ctx, spec.Host, getenv)
	if err != nil {
		return say(err)
	}
	defer e.Close()
	a.Host, a.Engine = e.host, e.kind
	if _, err := e.devices(ctx, spec); err != nil {
		return say(err)
	}
	return a
}
