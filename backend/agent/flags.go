package agent

import (
	"errors"
	"flag"
	"io"

	"berth/backend/api"
)

// parse reads the flags of a subcommand, with what more registers, and completes the options.
func parse(name string, args []string, stderr io.Writer, more func(*flag.FlagSet)) (Options, error) {
	var o Options
	fs := flag.NewFlagSet("agent "+name, flag.ContinueOnError)
	fs.SetOutput(stderr)
	o.Flags(fs)
	if more != nil {
		more(fs)
	}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, api.Errorf(api.CodeUsage, "%w", err)
	}
	if fs.NArg() > 0 {
		return o, api.Errorf(api.CodeUsage, "unexpected argument %q", fs.Arg(0))
	}
	return o, o.Defaults()
}
