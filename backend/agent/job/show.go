package job

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"berth/backend/agent/joblog"
	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/queue"
	"berth/queue/plan"
)

// lastLines and lastBytes are how much of the log of a failure is shown with the job.
const (
	lastLines = 20
	lastBytes = 16 << 10
)

// counts are how many jobs run and wait.
func (l *loop) counts(ctx context.Context) (n api.JobCounts, err error) {
	_, err = l.do(ctx, &ask{look: func(p *plan.Planner) { n.Running, n.Waiting = p.Counts() }})
	return n, explain(err)
}

// demand is what the queue has and wants of GPUs.
func (l *loop) demand(ctx context.Context) (d plan.Demand, err error) {
	_, err = l.do(ctx, &ask{look: func(p *plan.Planner) { d = p.Demand() }})
	return d, err
}

// shown are jobs as clients see them: with why they wait.
func (l *loop) shown(ctx context.Context, jobs []queue.Job) ([]api.Job, error) {
	var waiting []queue.ID
	for _, j := range jobs {
		if j.State.Waiting() {
			waiting = append(waiting, j.ID)
		}
	}
	reasons := map[queue.ID]plan.Reason{}
	if len(waiting) > 0 {
		if _, err := l.do(ctx, &ask{look: func(p *plan.Planner) {
			for i, r := range p.Reasons(l.now(), waiting) {
				reasons[waiting[i]] = r
			}
		}}); err != nil {
			return nil, explain(err)
		}
	}
	out, looked := make([]api.Job, len(jobs)), 0
	for i := range jobs {
		out[i] = document(&jobs[i])
		if j := &jobs[i]; j.Attempt > 0 {
			dir := l.runDir(j.ID, j.Attempt)
			if size, _, err := joblog.Newest(dir); err == nil {
				out[i].LogPath, out[i].LogBytes = joblog.Path(dir), size
			}
		}
		if j := &jobs[i]; j.State.Active() && len(j.GPUs) > 0 {
			u := l.usages.of(j.ID, j.Attempt, l.runDir(j.ID, j.Attempt))
			out[i].PeakGPUMemoryBytes, out[i].GPUEnergyJoules = u.PeakMemory, u.Joules
		}
		if jobs[i].Spec.Service != nil {
			out[i].Health, out[i].Reason = l.healths.of(&jobs[i])
		} else if jobs[i].State.Active() && looked < api.MostProgress {
			looked++
			out[i].SetProgress(l.progress(&jobs[i]))
		}
		if r, ok := reasons[jobs[i].ID]; ok {
			out[i].Reason, out[i].EstimatedStartAt = r.Text, r.StartsAt
			for _, d := range r.WaitsFor {
				out[i].WaitingFor = append(out[i].WaitingFor, d.ID.String())
			}
		}
	}
	return out, nil
}

// one is a job with what its log's end and size are.
func (l *loop) one(ctx context.Context, id queue.ID) (api.Job, error) {
	job, err := l.job(ctx, id)
	if err != nil {
		return api.Job{}, err
	}
	all, err := l.shown(ctx, []queue.Job{job})
	if err != nil {
		return api.Job{}, err
	}
	v := all[0]
	if job.Attempt == 0 {
		return v, nil
	}
	v.Hint = hintOf(job.Cause, job.Spec.Memory, "", nil)
	v.Attempts = l.attempts(id, job.Attempt)
	dir := l.runDir(id, job.Attempt)
	log, err := joblog.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return v, nil
	}
	if err != nil {
		return v, err
	}
	defer log.Close()
	size, cut, err := log.Size()
	if err != nil {
		return v, err
	}
	v.LogPath, v.LogBytes, v.LogCutBytes = joblog.Path(dir), size, cut.Bytes()
	if v.State.Done() && v.State != api.JobSucceeded {
		b, err := log.Last(lastLines, lastBytes)
		if err != nil {
			return v, err
		}
		v.LastLines = plaintext.Text(string(b))
		if b, err = log.Last(hintLines, hintBytes); err == nil {
			v.Hint = hintOf(job.Cause, job.Spec.Memory, job.Beside, b)
			if v.Message == "" && job.Spec.Ranks > 0 {
				v.Message = failedRank(b)
			}
		}
	}
	return v, nil
}

// document is a job as the API has it.
func document(j *queue.Job) api.Job {
	id := j.ID.String()
	s := j.Spec.Of(j.ID)
	v := api.Job{ID: &id, UUID: s.UUID, Name: s.Name, Command: s.Argv, State: api.JobState(j.State),
		ExitCode: j.ExitCode, Signal: j.Signal, Cause: string(j.Cause), By: j.By, Message: j.Message, Warnings: j.Warnings,
		Attempt: j.Attempt, Supervised: j.Supervised || !j.State.Active(), Left: j.Left, Priority: j.Priority, Order: j.Order,
		Group: s.Group,
		Requested: api.JobRequested{TimeoutSeconds: s.Timeout.Seconds(), Retries: s.Retries,
			CPUs: s.CPUs, MemoryBytes: s.Memory, RetryOn: words(s.RetryOn)},
		SubmittedBy: s.User, SubmittedAt: j.SubmittedAt, StartedAt: j.StartedAt, EndedAt: j.EndedAt, Workdir: s.Workdir,
		CPUSeconds: j.CPU.Seconds(), PeakMemoryBytes: j.PeakMemory,
		PeakGPUMemoryBytes: j.PeakGPUMemory, GPUEnergyJoules: j.GPUEnergy, Seq: j.Seq}
	if s.Request.GPUs >= 0 {
		v.Requested.GPUs = &s.Request.GPUs
	}
	v.Requested.GPUMemoryBytes, v.Requested.Exclusive = s.Request.GPUMemory, s.Request.Exclusive
	v.Requested.GPUIDs, v.Requested.Ranks, v.Requested.Image = gpuIDs(&s), s.Ranks, s.Image
	v.Service = serviceOf(&s)
	v.GPUSeconds = gpuSeconds(j, time.Now())
	for _, g := range j.GPUs {
		v.GPUs, v.GPUUUIDs = append(v.GPUs, g.Index), append(v.GPUUUIDs, g.UUID)
	}
	if j.ID.Element {
		v.UUID = "" // the array's
		v.ArrayID, v.ArrayIndex = &j.ID.Number, &j.ID.Index
	}
	v.Code, v.Secrets = codeOf(j), s.Secrets
	v.Notify, v.Warnings = append(slices.Clip(s.Notify), j.Ruled...), append(slices.Clip(v.Warnings), untold(j)...)
	for _, d := range s.After {
		v.After = append(v.After, d.String())
	}
	if s.Array != nil && !j.ID.Element {
		v.Array, v.Elements = s.Array.String(), tally(j)
	}
	return v
}

// gpuSeconds is how long a job's newest run had its GPUs, times their number. It has them while it is paused, too.
func gpuSeconds(j *queue.Job, now time.Time) float64 {
	until := now
	if j.State.Done() || !j.EndedAt.IsZero() {
		until = j.EndedAt
	}
	if j.StartedAt.IsZero() || len(j.GPUs) == 0 {
		return 0
	}
	return max(until.Sub(j.StartedAt).Seconds(), 0) * float64(len(j.GPUs))
}

// tally counts an array's elements.
func tally(j *queue.Job) *api.Tally {
	t := api.Tally{All: j.Spec.Array.Len(), Succeeded: j.Tally.Succeeded, Cancelled: j.Tally.Cancelled,
		Failed: j.Tally.Failed + j.Tally.TimedOut + j.Tally.Lost}
	begun := 0
	for _, r := range j.Begun {
		begun += r.Len()
	}
	if j.State.Waiting() {
		t.Waiting = t.All - begun
	}
	t.Running = t.All - t.Waiting - j.Tally.Done()
	return &t
}

// waitLimit is how long a request waits for a change.
const waitLimit = 25 * time.Second

// wait returns a job when its change number is not seq, or after a while.
func (l *loop) wait(ctx context.Context, id queue.ID, seq int64) (api.Job, error) {
	limit, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	for {
		changed := l.next()
		job, err := l.job(ctx, id)
		if err != nil || job.Seq != seq {
			break
		}
		select {
		case <-changed:
			continue
		case <-l.gone:
			return api.Job{}, explain(errLeaves)
		case <-limit.Done():
		}
		break
	}
	return l.one(ctx, id)
}
