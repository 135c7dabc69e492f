package inside

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"berth/backend/api"
	"berth/backend/base/plaintext"
)

const jobUsage = `usage: berth job ls [--all]                             this instance's jobs, newest first
       berth job show ID                              all of a job, as JSON
       berth job logs ID [--follow] [--tail N]        what it has printed
       berth job wait ID…                             until they are done; ends as the first that failed
       berth job cancel ID…                           ends them

The other verbs are on your own computer (berth job retry NAME ID …).

`

// again is how long after the agent could not be asked it is asked again.
const again = 2 * time.Second

// jobs is one call of berth job.
type jobs struct {
	c           *api.AgentClient
	out, stderr io.Writer
	code        int // to exit with
}

// job runs a verb on this instance's jobs, and returns what to exit with.
func job(ctx context.Context, args []string, out, stderr io.Writer) (code int, err error) {
	fs := flag.NewFlagSet("job", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	all := fs.Bool("all", false, "")
	_ = fs.Bool("json", true, "") // what show prints
	var o api.LogOptions
	fs.BoolVar(&o.Follow, "follow", false, "")
	fs.BoolVar(&o.Follow, "f", false, "")
	fs.IntVar(&o.Tail, "tail", 0, "")
	fs.IntVar(&o.Run, "run", 0, "")
	verb, ids := "", []string{}
	for rest := args; ; rest = fs.Args()[1:] { // flags stand anywhere
		if err := fs.Parse(rest); errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stderr, jobUsage)
			return 0, nil
		} else if err != nil {
			return 0, api.Errorf(api.CodeUsage, "%w", err).WithHint("berth job --help")
		}
		if fs.NArg() == 0 {
			break
		}
		if verb == "" {
			verb = fs.Arg(0)
		} else {
			ids = append(ids, fs.Arg(0))
		}
	}
	do := map[string]func(j *jobs, ctx context.Context, ids []string) error{
		"ls":     func(j *jobs, ctx context.Context, _ []string) error { return j.ls(ctx, *all) },
		"show":   (*jobs).show,
		"logs":   func(j *jobs, ctx context.Context, ids []string) error { return j.logs(ctx, ids[0], o) },
		"wait":   (*jobs).wait,
		"cancel": (*jobs).cancel,
	}[verb]
	switch {
	case do == nil:
		fmt.Fprint(stderr, jobUsage)
		return 0, api.Errorf(api.CodeUsage, "the berth of an instance has no job %.30q: ls, show, logs, wait and cancel", verb)
	case verb == "ls" && len(ids) > 0, (verb == "show" || verb == "logs") && len(ids) != 1, verb != "ls" && len(ids) == 0:
		return 0, api.Errorf(api.CodeUsage, "wrong number of jobs for job %s", verb).WithHint("berth job --help")
	case !Is():
		return 0, errNotInside()
	}
	j := &jobs{c: Client(), out: out, stderr: stderr}
	defer j.c.Close()
	err = do(j, ctx, ids)
	return j.code, err
}

func (j *jobs) ls(ctx context.Context, all bool) error {
	w := tabwriter.NewWriter(j.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tNAME\tSTATE\tWHAT")
	var q api.JobQuery
	for {
		page, err := j.c.Jobs().List(ctx, q)
		if err != nil {
			return err
		}
		for i := range page.Jobs {
			x := &page.Jobs[i]
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", *x.ID, plaintext.Text(x.Name), strings.ReplaceAll(string(x.State), "_", " "),
				plaintext.Text(what(x)))
		}
		if q.Page = page.Next; q.Page == "" || !all {
			break
		}
	}
	if q.Page != "" {
		fmt.Fprintln(j.stderr, "berth: there are more; --all prints them")
	}
	return w.Flush()
}

// what says in a few words what there is to say of a job.
func what(x *api.Job) string {
	switch {
	case x.Elements != nil:
		return fmt.Sprintf("%d of %d done, %d run", x.Elements.Succeeded+x.Elements.Failed+x.Elements.Cancelled, x.Elements.All,
			x.Elements.Running)
	case x.Message != "":
		return x.Message
	case x.Signal != "":
		return "signal " + x.Signal
	case x.State == api.JobFailed && x.ExitCode != nil:
		return fmt.Sprintf("exit code %d", *x.ExitCode)
	case !x.State.Done() && x.ProgressPercent != nil:
		return fmt.Sprintf("%.0f%%", *x.ProgressPercent)
	}
	return x.Reason
}

func (j *jobs) show(ctx context.Context, ids []string) error {
	x, err := j.c.Jobs().Get(ctx, ids[0])
	if err != nil {
		return err
	}
	enc := json.NewEncoder(j.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(x)
}

func (j *jobs) cancel(ctx context.Context, ids []string) error {
	for _, id := range ids {
		if _, err := j.c.Jobs().Do(ctx, id, "cancel"); err != nil {
			return err
		}
	}
	return nil
}

// wait waits until all are done. The code is that of the first that did not succeed.
func (j *jobs) wait(ctx context.Context, ids []string) error {
	for _, id := range ids {
		for seq := int64(-1); ; {
			x, err := j.c.Jobs().Wait(ctx, id, seq)
			if j.away(ctx, err) {
				continue
			}
			if err != nil {
				return err
			}
			if seq = x.Seq; !x.State.Done() {
				continue
			}
			if j.code == 0 {
				j.code = x.WaitCode()
			}
			if x.State != api.JobSucceeded {
				fmt.Fprintf(j.stderr, "berth: job %s: %s %s\n", id, strings.ReplaceAll(string(x.State), "_", " "),
					plaintext.Text(what(&x)))
			}
			break
		}
	}
	return nil
}

// logs prints a log. Who follows it goes on where it was when the agent is replaced.
func (j *jobs) logs(ctx context.Context, id string, o api.LogOptions) error {
	if o.Tail < 0 || o.Run < 0 {
		return api.Errorf(api.CodeUsage, "--tail and --run are 1 or more")
	}
	for {
		err := j.c.Jobs().Log(ctx, id, o, func(p api.JobLogPart, b []byte) error {
			if p.Run != o.Run && o.Run != 0 {
				o.From = 0 // it was started again
			}
			if _, err := j.out.Write(b); err != nil {
				return err
			}
			if len(b) > 0 {
				o.From, o.Tail = p.At+int64(len(b)), 0
			}
			o.Run = p.Run
			return nil
		})
		if !o.Follow || !j.away(ctx, err) {
			return err
		}
	}
}

// away waits a moment where the agent can't be asked, as while it is replaced.
func (j *jobs) away(ctx context.Context, err error) bool {
	if !errors.Is(err, &api.Error{Code: api.CodeUnreachable}) {
		return false
	}
	select {
	case <-time.After(again):
		return true
	case <-ctx.Done():
		return false
	}
}
