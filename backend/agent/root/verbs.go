package root

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"berth/backend/api"
	"berth/backend/base/plaintext"
)

// action is what a verb does, after its arguments were found good. Its output goes to out.
type action func(ctx context.Context, out io.Writer) error

// verb is one thing that is done as root. parse checks the arguments and does nothing else.
type verb struct {
	name, args, help string
	parse            func(args []string) (action, error)
}

// verbs is the closed list, by name.
func verbs() []verb {
	return []verb{
		{"cgroup-make", "", "make control groups below which the calling user can limit what is its own", parseCgroupMake},
		{"check", "", "do nothing; its success tells that root can be had", parseCheck},
		{"clock", "TIME", "put the clock forward to TIME (RFC 3339)", parseClock},
		{"hostkey", "new|use", "make another host key for sshd and print its public half; take it into use", parseHostKey},
		{"restart", "", "restart the machine", parseRestart},
		{"setup-step", "FOLDER STEP ATTEMPT check|run", "run a step of the calling user's set-up, or its check", parseStep},
		{"signal", "SIGNAL PID STARTED [PID STARTED …]", "signal processes that started at that moment (RFC 3339)",
			parseSignal},
	}
}

// usage lists the verbs.
func usage() string {
	var b strings.Builder
	b.WriteString("usage: berth agent root VERB, as root: all that Berth does with its rights\n\n")
	for _, v := range verbs() {
		fmt.Fprintf(&b, "  %s\n      %s\n", strings.TrimSpace(v.name+" "+v.args), v.help)
	}
	return b.String()
}

// Main is `berth agent root VERB …`; args begin with the verb. It returns the exit code. Failures are one
// line on standard error, which Caller understands.
func Main(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage())
		return 2
	}
	if len(args) == 1 && (args[0] == "help" || args[0] == "-h" || args[0] == "--help") {
		fmt.Fprint(stdout, usage())
		return 0
	}
	act, err := parse(args)
	if err == nil && os.Geteuid() != 0 {
		err = api.Errorf(api.CodeForbidden, "only root may do this")
	}
	if err == nil {
		err = act(context.Background(), stdout)
	}
	if err == nil {
		return 0
	}
	e := api.AsError(err)
	fmt.Fprintf(stderr, "%s%s: %s\n", prefix(args[0]), e.Code, plaintext.Clean(strings.TrimSpace(e.Message)))
	return api.ExitCode(err)
}

// prefix begins the line that says why a verb failed.
func prefix(verb string) string { return "berth: root " + plaintext.Clean(verb) + ": " }

// parse finds a verb and checks its arguments. It does nothing else.
func parse(args []string) (action, error) {
	for _, v := range verbs() {
		if v.name != args[0] {
			continue
		}
		act, err := v.parse(args[1:])
		if err != nil {
			return nil, err
		}
		return act, nil
	}
	return nil, api.Errorf(api.CodeUsage, "%.60q is nothing that Berth does as root", args[0])
}

// wrong is the error for arguments that are not a verb's.
func wrong(format string, a ...any) error { return api.Errorf(api.CodeUsage, format, a...) }

func parseCheck(args []string) (action, error) {
	if len(args) != 0 {
		return nil, wrong("check takes no arguments")
	}
	return func(context.Context, io.Writer) error { return nil }, nil
}
