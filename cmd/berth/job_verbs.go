package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/backend/base/shellquote"
	"berth/ui/jobword"
	"berth/ui/money"
)

func (a *app) jobLsCmd() *cobra.Command {
	var q api.JobQuery
	var since string
	var states []string
	var all, asCSV bool
	cmd := &cobra.Command{
		Use: "ls NAME", Short: "List the jobs of an instance, newest first", Args: exactArgs("NAME"),
		Long: "ls lists the newest jobs first; with --state queued or held those that wait by their turn, the next one first.\n" +
			"Services are listed with --services only.",
		Example:           "  berth job ls vision\n  berth job ls vision --state failed --since 24h\n  berth job ls vision --text train.py --all",
		ValidArgsFunction: a.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if since != "" {
				var err error
				if q.Since, err = moment(since, time.Now()); err != nil {
					return api.Errorf(api.CodeUsage, "--since %w", err)
				}
			}
			for _, s := range states {
				q.States = append(q.States, api.JobState(s))
			}
			q.Next = len(q.States) > 0 && q.Text == "" && q.Array == "" && since == "" && !q.Services &&
				!slices.ContainsFunc(q.States, func(s api.JobState) bool { return s != api.JobQueued && s != api.JobHeld })
			if asCSV && a.json {
				return api.Errorf(api.CodeUsage, "--csv and --json exclude each other")
			}
			if asCSV {
				return a.jobCSV(cmd.Context(), args[0], q, all)
			}
			return a.jobLs(cmd.Context(), args[0], q, all)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&states, "state", nil, "only those in these states")
	f.StringVar(&since, "since", "", "only what was submitted, or has ended, since: 90m, 24h, or a time")
	f.StringVar(&q.Text, "text", "", "only those with this in name, command, group or user")
	f.BoolVar(&q.Services, "services", false, "the services, which else are left out")
	f.StringVar(&q.Array, "array", "", "the elements of this array")
	f.BoolVar(&all, "all", false, "all there are, not only the newest 100")
	f.BoolVar(&asCSV, "csv", false, "print them as CSV, with a line of names")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) jobLs(ctx context.Context, name string, q api.JobQuery, all bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	jobs := []api.Job{}
	more, err := eachPage(ctx, c, name, q, all, func(page []api.Job) error {
		jobs = append(jobs, page...)
		return nil
	})
	if err != nil {
		return err
	}
	if a.json {
		withCost(jobs, priceOf(ctx, c, name), time.Now())
		return a.printJSON(jobs)
	}
	if len(jobs) == 0 {
		what := "jobs"
		if q.Services {
			what = "services"
		}
		fmt.Fprintln(a.err, "berth: no "+what)
		return nil
	}
	rows := [][]string{{"ID", "NAME", "STATE", "SINCE", "WHAT"}}
	now := time.Now()
	for i := range jobs {
		rows = append(rows, jobRow(&jobs[i], now))
	}
	if more {
		hint := "berth: there are more; --all prints them"
		if len(q.States) == 0 && !slices.ContainsFunc(jobs, func(j api.Job) bool { return j.State != api.JobQueued }) {
			hint += ", --state running what runs, --state queued what starts next"
		}
		fmt.Fprintln(a.err, hint)
	}
	return listing(a.out, rows)
}

// eachPage hands over the newest jobs, or page by page all, and says whether there are more.
func eachPage(ctx context.Context, c *api.WorkspaceClient, name string, q api.JobQuery, all bool,
	each func([]api.Job) error) (more bool, err error) {
	err = c.WithQuestions(ctx, func(ctx context.Context) error {
		for {
			page, err := c.Agent(name).Jobs().List(ctx, q)
			if err == nil {
				err = each(page.Jobs)
			}
			if err != nil {
				return err
			}
			if q.Page, more = page.Next, page.Next != ""; !more || !all {
				return nil
			}
		}
	})
	return more, err
}

// nameWidth is as much of a job's name as a list shows.
const nameWidth = 40

func jobRow(j *api.Job, now time.Time) []string {
	since, what := j.SubmittedAt, ""
	switch {
	case j.State.Done():
		since, what = j.EndedAt, strings.TrimPrefix(jobword.Outcome(j), jobword.State(j.State))
		what = strings.TrimPrefix(what, ": ")
	case j.State == api.JobQueued || j.State == api.JobHeld:
		what = standing(j, now)
	default:
		if !j.StartedAt.IsZero() {
			since = j.StartedAt
		}
		p := j.Progress()
		what = jobword.Progress(&p, now)
		if s := jobword.Service(j); s != "" {
			what = s
		}
		if g := jobword.OnGPUs(j); g != "" {
			what = strings.TrimSuffix(g+"; "+what, "; ")
		}
		if len(j.Left) > 0 {
			what = fmt.Sprintf("%d left: %s", len(j.Left), strings.Join(j.Left, ", "))
		}
	}
	if t := j.Elements; t != nil {
		s := fmt.Sprintf("%d of %d done", t.Succeeded+t.Failed+t.Cancelled, t.All)
		if t.Failed > 0 {
			s += fmt.Sprintf(", %d failed", t.Failed)
		}
		if t.Running > 0 {
			s += fmt.Sprintf(", %d run", t.Running)
		}
		what = strings.TrimSuffix(s+"; "+what, "; ")
	}
	return []string{jobword.ID(j), ansi.Truncate(plaintext.Text(j.Name), nameWidth, "…"), jobword.State(j.State),
		humanize.RelTime(since, now, "ago", "from now"), plaintext.Text(what)}
}

func (a *app) jobShowCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show NAME ID", Short: "All details of a job, with the end of the log of one that failed",
		Args: exactArgs("NAME", "ID"), ValidArgsFunction: a.completeJobs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			jobs := make([]api.Job, 1)
			j := &jobs[0]
			if err := c.WithQuestions(cmd.Context(), func(ctx context.Context) error {
				*j, err = c.Agent(args[0]).Jobs().Get(ctx, args[1])
				return err
			}); err != nil {
				return err
			}
			withCost(jobs, priceOf(cmd.Context(), c, args[0]), time.Now())
			if a.json {
				return a.printJSON(j)
			}
			return a.printJob(j)
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) printJob(j *api.Job) error {
	rows := [][]string{{"id", jobID(j)}, {"name", plaintext.Text(j.Name)},
		{"command", plaintext.Text(shellquote.Line(j.Command...))}, {"state", plaintext.Text(stateWords(j, time.Now()))}}
	if s := jobword.Service(j); s != "" {
		rows = append(rows, []string{"service", s})
	}
	if j.Cause != "" {
		rows = append(rows, []string{"cause", j.Cause})
	}
	if len(j.After) > 0 {
		rows = append(rows, []string{"after", strings.Join(j.After, ", ")})
	}
	if t := j.Elements; t != nil {
		rows = append(rows, []string{"elements", fmt.Sprintf("%s: %d wait, %d run, %d succeeded, %d failed, %d cancelled", j.Array,
			t.Waiting, t.Running, t.Succeeded, t.Failed, t.Cancelled)})
	}
	if j.Requested.Image != "" {
		rows = append(rows, []string{"image", plaintext.Text(j.Requested.Image)})
	}
	rows = append(rows, codeRows(j.Code)...)
	rows = append(rows, []string{"directory", plaintext.Text(j.Workdir)}, []string{"submitted", clock(j.SubmittedAt)})
	if !j.StartedAt.IsZero() {
		at := clock(j.StartedAt)
		if j.Attempt > 0 { // an array has none of its own
			at += fmt.Sprintf(" (run %d)", j.Attempt)
		}
		rows = append(rows, []string{"started", at})
	}
	if g := jobword.GPUs(j); g != "" {
		rows = append(rows, []string{"GPUs", g})
	}
	if s := jobword.Limits(j); s != "" {
		rows = append(rows, []string{"limits", s})
	}
	for i := range j.Attempts {
		rows = append(rows, []string{fmt.Sprintf("run %d", j.Attempts[i].Attempt), attemptText(&j.Attempts[i])})
	}
	if p := j.Progress(); p.Percent != nil {
		rows = append(rows, []string{"progress", plaintext.Text(jobword.Progress(&p, time.Now()))})
	}
	if !j.EndedAt.IsZero() {
		rows = append(rows, []string{"ended", clock(j.EndedAt)})
	}
	if j.State.Done() && j.Attempt > 0 {
		used := fmt.Sprintf("%.1f s of CPU", j.CPUSeconds)
		if j.PeakMemoryBytes > 0 {
			used += fmt.Sprintf(", at most %s of memory", money.Bytes(j.PeakMemoryBytes))
		}
		if g := jobword.GPUUsed(j); g != "" {
			used += ", " + g
		}
		rows = append(rows, []string{"used", used})
	}
	if j.CostUSD != nil && *j.CostUSD > 0 {
		rows = append(rows, []string{"cost", money.USD(*j.CostUSD)})
	}
	if len(j.Secrets) > 0 {
		rows = append(rows, []string{"secrets", plaintext.Text(strings.Join(j.Secrets, ", "))})
	}
	if len(j.Notify) > 0 {
		rows = append(rows, []string{"tells", strings.Join(j.Notify, ", ")})
	}
	if j.LogPath != "" {
		rows = append(rows, []string{"log", fmt.Sprintf("%s (%s)", plaintext.Text(j.LogPath), money.Bytes(j.LogBytes))})
	}
	if j.Hint != "" {
		rows = append(rows, []string{"hint", plaintext.Text(j.Hint)})
	}
	for _, w := range j.Warnings {
		rows = append(rows, []string{"warning", plaintext.Text(w)})
	}
	if err := table(a.out, rows); err != nil || j.LastLines == "" {
		return err
	}
	_, err := fmt.Fprintf(a.out, "\n%s\n", strings.TrimRight(plaintext.Text(j.LastLines), "\n"))
	return err
}

// stateWords is a job's state, with what there is to say of it.
func stateWords(j *api.Job, now time.Time) string {
	s := jobword.State(j.State)
	switch {
	case j.State.Done():
		return jobword.Outcome(j)
	case j.State == api.JobQueued || j.State == api.JobHeld:
		return s + ": " + standing(j, now)
	case len(j.Left) > 0:
		s += fmt.Sprintf(": %d left: %s", len(j.Left), strings.Join(j.Left, ", "))
	}
	if !j.Supervised {
		s += "; nothing watches it any more: how it ends is not known then"
	}
	return s
}

// attemptText says how an earlier run of a job ended.
func attemptText(a *api.JobAttempt) string {
	end := "how it ended is not known"
	switch {
	case a.Signal != "":
		end = "signal " + a.Signal
	case a.ExitCode != nil:
		end = fmt.Sprintf("exit code %d", *a.ExitCode)
	case a.StartedAt.IsZero():
		end = "it was not begun"
	}
	if !a.StartedAt.IsZero() && a.EndedAt.After(a.StartedAt) {
		end += ", after " + a.EndedAt.Sub(a.StartedAt).Round(time.Second).String()
	}
	if !a.StartedAt.IsZero() {
		end = clock(a.StartedAt) + ": " + end
	}
	return end + fmt.Sprintf(" (--run %d of job logs)", a.Attempt)
}

func clock(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

func (a *app) jobLogsCmd() *cobra.Command {
	var o api.LogOptions
	cmd := &cobra.Command{
		Use: "logs NAME ID", Short: "Print what a job has printed", Args: exactArgs("NAME", "ID"),
		Example:           "  berth job logs vision 14 --follow\n  berth job logs vision 14 --tail 20",
		ValidArgsFunction: a.completeJobs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Tail < 0 || o.Run < 0 {
				return api.Errorf(api.CodeUsage, "--tail and --run are 1 or more")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.printLog(cmd.Context(), c, args[0], args[1], o)
		},
	}
	cmd.Flags().BoolVarP(&o.Follow, "follow", "f", false, "go on as it prints more, over disconnections")
	cmd.Flags().IntVar(&o.Tail, "tail", 0, "only the last lines; 0: all")
	cmd.Flags().IntVar(&o.Run, "run", 0, "of this run, where it was retried; 0: the newest")
	return cmd
}

func (a *app) jobWaitCmd() *cobra.Command {
	return &cobra.Command{
		Use: "wait NAME ID…", Short: "Wait until jobs are done; exit with the code of the first that did not succeed",
		Long: "wait returns when all the jobs are done. Its exit code is 0 if all succeeded, else that of the first that did not: the job's own\n" +
			"code (128+N where signal N ended it), 130 where it was cancelled, 124 where its time was over, 125 where it was lost.",
		Args:              jobArgs,
		ValidArgsFunction: a.completeJobs(-1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.waitFor(cmd.Context(), c, args[0], args[1:], time.Now())
		},
	}
}

// waitFor waits until all the jobs are done, and takes the code of the first that did not succeed. The user waits since
// a time.
func (a *app) waitFor(ctx context.Context, c *api.WorkspaceClient, name string, ids []string, since time.Time) error {
	for _, id := range ids {
		j, err := a.waitJob(ctx, c, name, id)
		if err != nil {
			return err
		}
		a.ring(name, &j, since)
		since = time.Now()
		if j.State == api.JobSucceeded {
			continue
		}
		fmt.Fprintf(a.err, "berth: job %s on %s: %s\n", id, name, plaintext.Text(jobword.Outcome(&j)))
		if a.exit == 0 {
			a.exit = j.WaitCode()
		}
	}
	return nil
}

func (a *app) waitJob(ctx context.Context, c *api.WorkspaceClient, name, id string) (api.Job, error) {
	return a.until(ctx, c, name, id, func(j *api.Job) bool { return j.State.Done() })
}

// passes reports whether an error is one of the line, or of an agent that makes way for a newer one: asked again later
// there is an answer.
func passes(err error) bool {
	code := api.AsError(err).Code
	return code == api.CodeUnreachable || code == api.CodeMoved
}

// until waits, over disconnections, until a job is as is says, and returns it.
func (a *app) until(ctx context.Context, c *api.WorkspaceClient, name, id string, is func(*api.Job) bool) (j api.Job,
	err error) {
	said := false
	for seq := int64(-1); ; seq = j.Seq {
		err := c.WithQuestions(ctx, func(ctx context.Context) (err error) {
			j, err = c.Agent(name).Jobs().Wait(ctx, id, seq)
			return err
		})
		switch {
		case err == nil && is(&j):
			return j, nil
		case err == nil:
			said = false
			continue
		case ctx.Err() != nil || !passes(err):
			return j, err
		}
		if !said {
			fmt.Fprintf(a.err, "berth: %s; trying again\n", plaintext.Text(err.Error()))
			said = true
		}
		select {
		case <-time.After(linePause):
		case <-ctx.Done():
			return j, ctx.Err()
		}
	}
}
