package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/backend/base/shellquote"
	"berth/ui/jobword"
	"berth/ui/money"
)

func (a *app) jobCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "job",
		Short:   "The queue of an instance: submit jobs, watch them, end them",
		RunE:    needsVerb,
		Example: "  berth job submit vision -- python train.py\n  berth job ls vision\n  berth job logs vision 14 --follow\n  berth job wait vision 14",
	}
	cmd.AddCommand(a.submitCmd("submit"), a.jobLsCmd(), a.jobShowCmd(), a.jobLogsCmd(), a.jobWaitCmd(),
		a.jobTellCmd("cancel", "End jobs: those that wait at once, those that run after asking them to", jobsLive...),
		a.jobTellCmd("retry", "Run jobs again that are done and did not succeed", jobsAgain...),
		a.jobTellCmd("hold", "Have jobs wait until they are released", api.JobQueued),
		a.jobTellCmd("release", "End a hold", api.JobHeld),
		a.jobTellCmd("pause", "Stop the processes of jobs that run, until they are resumed", api.JobRunning),
		a.jobTellCmd("resume", "Have paused jobs go on", api.JobPaused),
		a.jobPriorityCmd(), a.jobMoveCmd(), a.jobRmCmd(), a.jobUsageCmd())
	for _, verb := range cmd.Commands() {
		a.insideToo(verb)
	}
	return cmd
}

// submitCmd is `berth run` and `berth job submit`.
func (a *app) submitCmd(word string) *cobra.Command {
	var q api.JobRequest
	var begin, notice, logLimit, paramFile, memory string
	var gpus int
	var timeout, gpuMemory string
	var secrets []string
	var service serviceFlags
	var code jobFolder
	var follow, start bool
	cmd := &cobra.Command{
		Use:   word + " NAME -- CMD…",
		Short: "Submit a command as a job: it runs when there is room, whoever is connected then",
		Long: "A job is a command in the instance's queue. It is on the instance's disk once this prints its id, and runs on though this\n" +
			"computer sleeps. The command is run exactly as given, without a shell, with the environment of a login shell there. What it\n" +
			"prints is its log (berth job logs). Two jobs per core run at once; on an instance with GPUs a job that says nothing of them gets\n" +
			"one (--gpus).",
		Example: "  berth run vision -- python train.py\n  berth run vision --gpus 0 --after 14 -- python evaluate.py\n" +
			"  berth run vision --param lr=0.1,0.01 -- python train.py --lr '{lr}'",
		ValidArgsFunction: a.completeNames(1),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return api.Errorf(api.CodeUsage, "%s takes the name of an instance and a command", word).
					WithHint("berth run NAME -- CMD…")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			q.UUID, q.Argv = uuid.NewString(), args[1:]
			if timeout != "" {
				d, err := readSpan(timeout)
				if err != nil {
					return api.Errorf(api.CodeUsage, "--timeout %w", err)
				}
				q.TimeoutSeconds = d.Seconds()
			}
			for _, name := range []string{"array", "begin", "timeout", "signal", "log-limit", "param-file", "gpu-mem", "mem"} {
				if f := cmd.Flags().Lookup(name); f.Changed && f.Value.String() == "" { // a variable that is not set, say
					return api.Errorf(api.CodeUsage, "--%s is empty", name).WithHint("leave it out, or say what it is to be")
				}
			}
			if cmd.Flags().Changed("gpus") {
				q.GPUs = &gpus
			}
			if q.GPUIDs == "index" {
				q.GPUIDs = "" // what is usual is not said: an older agent would not know it
			}
			if gpuMemory != "" {
				if q.GPUMemoryBytes, err = bytesFlag("--gpu-mem", gpuMemory, "12GB"); err != nil {
					return err
				}
			}
			if err := readJobFlags(&q, begin, notice, logLimit, paramFile); err != nil {
				return err
			}
			if err := service.read(&q, cmd.Flags()); err != nil {
				return err
			}
			if err := readCaps(&q, memory, cmd.Flags().Changed("cpus")); err != nil {
				return err
			}
			if follow && a.json {
				return api.Errorf(api.CodeUsage, "--follow prints the job's log, and --json one document: choose one")
			}
			if err = a.asHere(&q); err != nil {
				return err
			}
			if q.Secrets, err = a.readSecrets(cmd.Context(), secrets); err != nil {
				return err
			}
			return a.submit(cmd.Context(), args[0], q, code, start, follow)
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.Name, "name", "", "what it is called in lists; empty: its program")
	f.StringVarP(&q.Workdir, "workdir", "w", "", "directory to run it in")
	f.StringVar(&code.dir, "sync", "", "DIR: run in a copy of this folder of here; what .gitignore and .berthignore name is left out")
	f.StringVar(&code.limit, "sync-limit", "1GB", "refuse a larger folder")
	f.StringArrayVarP(&q.Env, "env", "e", nil, "K=V; may be repeated")
	f.BoolVar(&q.Shell, "shell", false, "CMD is one argument, a script for your shell there")
	f.StringVar(&q.Conda, "conda", "", "conda environment to activate before")
	f.StringVar(&q.Venv, "venv", "", "virtual environment to activate before: its directory")
	f.IntVar(&gpus, "gpus", 0, "how many GPUs it gets, for itself; not said: one, where there are any; 0: it sees none")
	f.StringVar(&gpuMemory, "gpu-mem", "", "share a GPU: so much of its memory is kept for it: 12GB")
	f.StringVar(&q.GPUIDs, "gpu-ids", "index", "how its program sees its GPUs: index (by the order of the PCI bus) or uuid")
	f.BoolVar(&q.Exclusive, "exclusive", false, "no other job runs beside it; it gets all GPUs unless it says how many")
	f.IntVar(&q.CPUs, "cpus", 0, "how many CPUs' time it may use, and threads numerical libraries start; it takes no more places in the queue")
	f.StringVar(&memory, "mem", "", "how much memory it may use: 8GB; what uses more is ended, with the cause oom")
	f.IntVar(&q.Ranks, "ranks", 0, "run it so often at once, one process a GPU, with RANK, WORLD_SIZE and MASTER_PORT")
	f.StringVar(&q.Image, "image", "", "IMG: run it in a container of this image (berth help containers); Docker or Podman is there")
	f.StringVar(&q.Group, "group", "", "group that it belongs to")
	f.IntVar(&q.Priority, "priority", 0, "a higher one goes first")
	f.StringArrayVar(&q.After, "after", nil, "ID[,ID]: begin when these have succeeded; any:ID: have ended")
	f.StringArrayVar(&q.AfterFailure, "after-failure", nil, "ID[,ID]: begin when these have failed")
	f.StringVar(&begin, "begin", "", "not before: 2h, 3d, 18:30, or a time (2006-01-02 15:04, of here)")
	f.BoolVar(&q.Hold, "hold", false, "have it wait until it is released")
	f.StringVar(&timeout, "timeout", "", "end it after so long: 90m, 12h, 3d")
	f.IntVar(&q.Retries, "retries", 0, "run it again so often where it fails")
	f.StringSliceVar(&q.RetryOn, "retry-on", nil,
		"with --retries: for which causes, of exit, signal, oom, xid, gpu_lost, lost, timeout; not said: all but timeout")
	f.StringVar(&notice, "signal", "", "NAME@60s: a signal so long before the time-out, for a checkpoint")
	f.BoolVar(&q.KillLeftovers, "kill-leftovers", false, "end what it leaves running")
	f.StringVar(&logLimit, "log-limit", "", "keep the first MiB and the last so many bytes of its log: 100MB")
	f.StringVar(&q.Array, "array", "", "0-9%4: one job for each index, at most 4 at once")
	f.StringArrayVar(&q.Params, "param", nil, "k=a,b: one job for each value, which stands for {k}; may be repeated")
	f.StringVar(&paramFile, "param-file", "", "CSV file: a line of names, then one for each job")
	f.StringArrayVar(&secrets, "secret", nil, "NAME: a variable of yours, or asked for, whose value is kept nowhere but with the job; may be repeated")
	f.StringArrayVar(&q.Notify, "notify", nil, "NAME: tell it of the job's end; set up on the instance (berth help jobs); may be repeated")
	service.add(f)
	f.BoolVar(&start, "start", false, "start the instance if it is stopped")
	f.BoolVar(&follow, "follow", false, "print its log and exit with its code; ctrl-C leaves it running")
	a.completeAfter(cmd)
	a.jsonFlag(cmd)
	return cmd
}

// readJobFlags reads what has a form of its own.
func readJobFlags(q *api.JobRequest, begin, notice, logLimit, paramFile string) error {
	if begin != "" {
		t, err := comingMoment(begin, time.Now())
		if err != nil {
			return api.Errorf(api.CodeUsage, "--begin %w", err)
		}
		q.Begin = t
	}
	if notice != "" {
		name, before, ok := strings.Cut(notice, "@")
		d, err := time.ParseDuration(before)
		if !ok || err != nil || d <= 0 || name == "" {
			return api.Errorf(api.CodeUsage, "--signal %q: a signal and a time are needed", notice).WithHint("--signal USR1@60s")
		}
		q.Signal, q.SignalSeconds = strings.ToUpper(name), d.Seconds()
	}
	if logLimit != "" {
		n, err := bytesFlag("--log-limit", logLimit, "100MB")
		if err != nil {
			return err
		}
		q.LogLimitBytes = n
	}
	if paramFile != "" {
		b, err := os.ReadFile(paramFile)
		if err != nil {
			return api.Errorf(api.CodeUsage, "--param-file: %w", err)
		}
		q.ParamFile = string(b)
	}
	return nil
}

// bytesFlag reads a number of bytes; example is one for the hint.
func bytesFlag(flag, s, example string) (int64, error) {
	n, err := humanize.ParseBytes(s)
	if err != nil || n == 0 || n > 1<<60 {
		return 0, api.Errorf(api.CodeUsage, "%s %q: a number of bytes is needed", flag, s).WithHint("%s %s", flag, example)
	}
	return int64(n), nil
}

// readSpan reads how long something is: "90s", "2h30m", "3d".
func readSpan(s string) (time.Duration, error) {
	const most = 100 * 365 * 24 * time.Hour
	days, rest, ok := strings.Cut(s, "d")
	if !ok {
		days, rest = "0", s
	} else if rest == "" {
		rest = "0s"
	}
	n, err := strconv.Atoi(days)
	d, err2 := time.ParseDuration(rest)
	if err != nil || err2 != nil || n < 0 || d < 0 || n > int(most.Hours()/24) || d > most {
		return 0, fmt.Errorf("%q is no span of time: say it as 90s, 2h30m or 3d", s)
	}
	return time.Duration(n)*24*time.Hour + d, nil
}

// comingMoment reads a time that is to come: "2h", "18:30" (the next one), or a whole time, of here where it names no
// zone.
func comingMoment(s string, now time.Time) (time.Time, error) {
	if d, err := readSpan(s); err == nil {
		return now.Add(d), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	for _, form := range []string{"2006-01-02 15:04", time.DateTime, "2006-01-02T15:04", "2006-01-02T15:04:05", time.DateOnly} {
		if t, err := time.ParseInLocation(form, s, now.Location()); err == nil {
			return t, nil
		}
	}
	t, err := time.ParseInLocation("15:04", s, now.Location())
	if err != nil {
		return t, fmt.Errorf("%q is no time: say it as 2h, 3d, 18:30, \"2006-01-02 15:04\" or 2006-01-02T15:04:05Z", s)
	}
	y, m, d := now.Date()
	t = time.Date(y, m, d, t.Hour(), t.Minute(), 0, 0, now.Location())
	if !t.After(now) {
		t = time.Date(y, m, d+1, t.Hour(), t.Minute(), 0, 0, now.Location())
	}
	return t, nil
}

// jobFolder is the folder that a job is submitted with (--sync).
type jobFolder struct {
	dir   string // empty: none
	limit string // bytes, in words
}

// submit hands a job over and says what becomes of it.
func (a *app) submit(ctx context.Context, name string, q api.JobRequest, code jobFolder, start, follow bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	if err := a.sendCode(ctx, c, name, code, &q, start); err != nil {
		return err
	}
	var job api.Job
	if err := c.WithQuestions(ctx, func(ctx context.Context) error {
		job, err = c.Agent(name).Jobs().SubmitOrKeep(ctx, q)
		if ctx.Err() == nil && errors.Is(err, &api.Error{Code: api.CodeUnreachable}) {
			// It broke off, and the job may have been taken: said again it is the same one, by its UUID.
			job, err = c.Agent(name).Jobs().SubmitOrKeep(ctx, q)
		}
		return err
	}); err != nil {
		return err
	}
	if job.ID == nil {
		if job, err = a.kept(ctx, c, name, job, start); err != nil {
			return err
		}
	}
	if a.json {
		return a.printJSON(job)
	}
	if len(q.Argv) == 1 && !q.Shell && strings.ContainsAny(q.Argv[0], " \t") {
		fmt.Fprintf(a.err, "berth: %s is taken as the name of a program; --shell runs it as a script\n",
			plaintext.Text(shellquote.Word(q.Argv[0])))
	}
	if follow {
		fmt.Fprintf(a.err, "berth: job %s on %s; ctrl-C stops watching, not the job\n", jobID(&job), name)
		if job.ID != nil && (job.State == api.JobQueued || job.State == api.JobHeld) {
			fmt.Fprintln(a.err, "berth: "+plaintext.Text(standing(&job, time.Now())))
		}
		a.warnOf(&job)
		return a.follow(ctx, c, name, &job)
	}
	fmt.Fprintln(a.out, jobID(&job))
	fmt.Fprintln(a.err, "berth: "+plaintext.Text(standing(&job, time.Now())+unsaidGPUs(&q, &job)))
	a.warnOf(&job)
	return nil
}

// unsaidGPUs says what a job gets that said nothing of GPUs; "" where there are none.
func unsaidGPUs(q *api.JobRequest, job *api.Job) string {
	n := job.Requested.GPUs
	switch {
	case q.GPUs != nil || n == nil || q.Service != nil || q.GPUMemoryBytes > 0:
		return ""
	case *n == 0:
		return "; it gets no GPU (--gpus N)"
	}
	return fmt.Sprintf("; it gets %s (--gpus 0: none)", english.Plural(*n, "GPU", ""))
}

// standing says in a line where a job stands.
func standing(j *api.Job, now time.Time) string {
	switch {
	case j.State == api.JobQueued || j.State == api.JobHeld:
		s := j.Reason
		if s == "" {
			s = "it is about to start"
		}
		if at := jobword.Moment(j.EstimatedStartAt, now); at != "" {
			s += ", about " + at
		}
		return s
	case j.State == api.JobPreparing:
		return "it is being started"
	case !j.State.Done():
		return "it is " + string(j.State)
	}
	return jobword.Outcome(j)
}

// follow prints a job's log to its end and takes its exit code.
func (a *app) follow(ctx context.Context, c *api.WorkspaceClient, name string, job *api.Job) error {
	since := time.Now()
	if job.ID == nil {
		fmt.Fprintln(a.err, "berth: "+plaintext.Text(standing(job, time.Now())))
		now, err := a.handedOver(ctx, c, name, job.UUID)
		if err != nil {
			return err
		}
		if job = &now; job.ID == nil {
			return a.waitFor(ctx, c, name, []string{job.UUID}, since)
		}
	}
	id := *job.ID
	if err := a.printLog(ctx, c, name, id, api.LogOptions{Follow: true}); err != nil {
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			fmt.Fprintf(a.err, "berth: job %s goes on; berth job logs %s --follow watches it again\n", id, a.jobWords(name, id))
		}
		return err
	}
	return a.waitFor(ctx, c, name, []string{id}, since)
}

// linePause is how long after a line broke the next try is made.
const linePause = 2 * time.Second

// printLog prints a log. Who follows it goes on where it was when the line breaks.
func (a *app) printLog(ctx context.Context, c *api.WorkspaceClient, name, id string, o api.LogOptions) error {
	said := false
	for {
		err := c.WithQuestions(ctx, func(ctx context.Context) error {
			return c.Agent(name).Jobs().Log(ctx, id, o, func(p api.JobLogPart, b []byte) error {
				if p.Run != o.Run && o.Run != 0 {
					o.From = 0 // it was started again
				}
				if gap := p.At - o.From; len(b) > 0 && gap > 0 && o.Tail == 0 {
					fmt.Fprintf(a.err, "berth: %s of the log are cut here (--log-limit)\n", money.Bytes(gap))
				}
				if _, err := a.out.Write(b); err != nil {
					return err
				}
				if len(b) > 0 {
					o.From, o.Tail = p.At+int64(len(b)), 0
				}
				o.Run, said = p.Run, false
				return nil
			})
		})
		if err == nil || !o.Follow || ctx.Err() != nil || !passes(err) {
			return err
		}
		if !said {
			fmt.Fprintf(a.err, "berth: %s; trying again\n", plaintext.Text(err.Error()))
			said = true
		}
		select {
		case <-time.After(linePause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
