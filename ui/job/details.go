package job

import (
	"fmt"
	"strings"
	"time"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/ui/draw"
	"berth/ui/jobword"
	"berth/ui/money"
	"berth/ui/text"
	"berth/ui/theme"
)

// details writes all that is known of the job.
func (s *Job) details(p *draw.Page) {
	t, j := s.e.Theme, s.j
	const label = 14
	put := func(name, value string) {
		for _, line := range plaintext.Lines(value) {
			for _, x := range text.Fold(line, max(10, p.Width()-label-2)) {
				l := p.Line(theme.Ground).Space(1).Cell(t.Dim, name, label, false)
				l.Text(t.Text, x)
				name = ""
			}
		}
	}
	when := func(at time.Time) string {
		if at.IsZero() {
			return ""
		}
		return at.Local().Format("2006-01-02 15:04:05")
	}
	put("id", s.job)
	put("name", j.Name)
	put("command", Command(j))
	put("directory", j.Workdir)
	put("state", jobword.State(j.State))
	put("cause", j.Cause)
	put("by", j.By)
	if j.ExitCode != nil {
		put("exit code", fmt.Sprint(*j.ExitCode))
	}
	put("signal", j.Signal)
	put("message", j.Message)
	put("hint", j.Hint)
	put("warnings", strings.Join(j.Warnings, "\n"))
	if j.State != api.JobRunning { // of a service it is why it is not well
		put("waits", j.Reason)
	}
	put("service", jobword.Service(j))
	if x := j.Progress(); !j.State.Done() {
		put("progress", jobword.Progress(&x, s.e.Clock()))
		put("read from", progressFrom[x.From])
	}
	put("starts about", when(j.EstimatedStartAt))
	if e := j.Elements; e != nil {
		put("elements", fmt.Sprintf("%s: %d wait, %d run, %d succeeded, %d failed, %d cancelled", j.Array, e.Waiting, e.Running,
			e.Succeeded, e.Failed, e.Cancelled))
	}
	put("submitted", strings.TrimSuffix(when(j.SubmittedAt)+" by "+j.SubmittedBy, " by "))
	put("started", when(j.StartedAt))
	put("ended", when(j.EndedAt))
	if j.Attempt > 0 {
		put("run", fmt.Sprint(j.Attempt))
	}
	put("after", strings.Join(j.After, ", "))
	put("group", j.Group)
	if j.Priority != 0 {
		put("priority", fmt.Sprint(j.Priority))
	}
	put("image", j.Requested.Image)
	put("GPUs", jobword.GPUs(j))
	if d := j.Requested.TimeoutSeconds; d > 0 {
		put("time limit", (time.Duration(d * float64(time.Second))).String())
	}
	if j.Requested.Retries > 0 {
		put("retries", strings.TrimSuffix(fmt.Sprintf("%d on %s", j.Requested.Retries,
			strings.Join(j.Requested.RetryOn, ", ")), " on "))
	}
	if n := j.Requested.CPUs; n > 0 {
		put("CPUs", fmt.Sprintf("at most %d", n))
	}
	if n := j.Requested.MemoryBytes; n > 0 {
		put("memory", "at most "+money.Bytes(n))
	}
	if j.State.Done() && j.CPUSeconds > 0 {
		put("CPU time", (time.Duration(j.CPUSeconds * float64(time.Second))).Round(time.Millisecond).String())
		put("peak memory", money.Bytes(j.PeakMemoryBytes))
	}
	put("used", jobword.GPUUsed(j))
	put("log", j.LogPath)
	if j.LogBytes > 0 {
		put("log size", money.Bytes(j.LogBytes))
	}
	if j.LogCutBytes > 0 {
		put("log cut", money.Bytes(j.LogCutBytes))
	}
}

// progressFrom says what a progress is read from.
var progressFrom = map[api.ProgressFrom]string{api.FromOutput: "what it prints",
	api.FromHistory: "how long the same command took before", api.FromTimeLimit: "its time limit"}
